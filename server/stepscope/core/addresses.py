"""Which URLs and which addresses this server fetches from. Pure rules; `engine/fetch.py` keeps them on the wire.

A client names the URL, so every rule is a refusal by default: against requests that reach the server's own network
(server-side request forgery, OWASP) and against URLs that two parsers read in two ways.
"""

import ipaddress
import re
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urljoin

from yarl import URL

from stepscope.core.errors import SettingsInvalid

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_URL_LENGTH = 8192

# Beyond what `is_global` refuses: it lets multicast, relays and some reserved blocks through, and differs by Python.
_REFUSED_V4 = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "168.63.129.16/32",  # Azure's host agent: a public address that only a virtual machine's host answers
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ),
    )
)
_REFUSED_V6 = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "::/96",  # ::, ::1 and the IPv4-compatible ones
            "64:ff9b::/96",  # NAT64: the other end would be an IPv4 address that nobody checked
            "64:ff9b:1::/48",
            "100::/64",
            "2001::/23",  # Teredo, ORCHID, benchmarking
            "2001:db8::/32",
            "2002::/16",  # 6to4
            "3fff::/20",
            "5f00::/16",
            "fc00::/7",
            "fe80::/10",
            "fec0::/10",
            "ff00::/8",
        ),
    )
)
_UNICAST_V6 = ipaddress.IPv6Network("2000::/3")  # all that IANA has handed out for the public network

_HOST = r"\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253}"
_AUTHORITY = re.compile(rf"(?P<host>{_HOST})(?::(?P<port>[0-9]{{0,5}}))?")
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<rest>[/?].*)?")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")


class AddressRefused(ValueError):
    """A URL or an address breaks a rule. The reason is for the log, never for the client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A URL that may be fetched. `trusted` ones are named by the operator, and may have a private address."""

    url: URL
    trusted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlRules:
    """Schemes and ports that are fetched, and the (host, port) pairs of the operator's own servers."""

    allowed: frozenset[tuple[str, int]] = frozenset()
    schemes: frozenset[str] = frozenset(DEFAULT_PORTS)
    ports: frozenset[int] = frozenset(DEFAULT_PORTS.values())

    @classmethod
    def of(cls, allow_hosts: Iterable[str], schemes: Iterable[str], ports: Sequence[int]) -> "UrlRules":
        """Read an operator's lists. `host` stands for that host at `ports`, `host:port` for this one port.

        Raises `SettingsInvalid` for what isn't a plain host, and for schemes other than http and https.
        """
        if unknown := set(schemes) - set(DEFAULT_PORTS):
            raise SettingsInvalid(f"fetch.schemes: {', '.join(sorted(unknown))}: only http and https are fetched.")
        pairs = (pair for entry in allow_hosts for pair in _allowed_pairs(entry, ports))
        return cls(allowed=frozenset(pairs), schemes=frozenset(schemes), ports=frozenset(ports))

    def check(self, url: str) -> Target:
        """Return where `url` leads, or raise `AddressRefused`. Names are not resolved here."""
        scheme, host, port, rest = _parts(url)
        if scheme not in self.schemes:
            raise AddressRefused(f"the scheme {scheme} isn't fetched")
        trusted = (host, port) in self.allowed
        if not trusted:
            _check_port(port, self.ports)
            _check_public(host)
        _check_reading(url, (scheme, host, port))
        return Target(url=_written(scheme, host, port, rest), trusted=trusted)

    def follow(self, target: Target, location: str) -> Target:
        """Return where a redirect leads, checked as a whole, or raise `AddressRefused`."""
        following = self.check(urljoin(str(target.url), location))
        if target.url.scheme == "https" and following.url.scheme == "http":
            raise AddressRefused("a redirect from https to http")
        return following


def is_public(address: str | IPAddress) -> bool:
    """Say whether an address belongs to the public network. What isn't a plain address doesn't.

    An IPv4 address in IPv6 clothes (::ffff:0:0/96) is judged as the IPv4 address that it dials.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv4Address):
        return _is_public_v4(parsed)
    if parsed.scope_id is not None:
        return False
    if parsed.ipv4_mapped is not None:
        return _is_public_v4(parsed.ipv4_mapped)
    refused = any(parsed in network for network in _REFUSED_V6)
    return parsed in _UNICAST_V6 and parsed.is_global and not parsed.is_multicast and not refused


def redacted(url: str) -> str:
    """Return a URL for the log: no userinfo, query or fragment, where secrets live; printable ASCII, cut short."""
    bare = re.split(r"[?#]", url, maxsplit=1)[0]
    shown = "/".join(part.rpartition("@")[2] for part in re.split(r"[/\\]", bare))
    return ascii(shown[:200])[1:-1]


def _is_public_v4(address: ipaddress.IPv4Address) -> bool:
    refused = any(address in network for network in _REFUSED_V4)
    return address.is_global and not address.is_multicast and not refused


def _parts(url: str) -> tuple[str, str, int, str]:
    """Split a URL by a grammar that is narrower than RFC 3986, so that no parser can read it otherwise."""
    if len(url) > MAX_URL_LENGTH:
        raise AddressRefused(f"longer than {MAX_URL_LENGTH} characters")
    if not url.isprintable() or any(c in url for c in " \\#"):
        raise AddressRefused("a control character, space, backslash or fragment")
    found = _URL.fullmatch(url)
    authority = _AUTHORITY.fullmatch(found["authority"]) if found else None
    if found is None or authority is None:
        raise AddressRefused("not scheme://host[:port][/path][?query]")
    scheme = found["scheme"].lower()
    port = int(authority["port"] or DEFAULT_PORTS.get(scheme, 0))
    return scheme, _canonical_host(authority["host"]), port, found["rest"] or ""


def _canonical_host(host: str) -> str:
    """Return a host in the one spelling that is compared and dialled: lower case, an IPv6 address compressed."""
    if host.startswith("["):
        return _canonical_v6(host[1:-1])
    name = host.lower()
    labels = name.split(".")
    if not all(0 < len(label) <= 63 for label in labels):
        raise AddressRefused("an empty or overlong label in the host")
    # What ends in a number is an IPv4 address to some parsers (WHATWG URL, 3.5): only a.b.c.d is read alike by all.
    if _NUMBER.fullmatch(labels[-1]):
        _check_dotted_quad(name)
    return name


def _canonical_v6(text: str) -> str:
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        raise AddressRefused("not an IPv6 address") from None


def _check_dotted_quad(name: str) -> None:
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        raise AddressRefused("an odd spelling of an IPv4 address") from None


def _check_port(port: int, ports: frozenset[int]) -> None:
    if port not in ports:
        raise AddressRefused(f"port {port}")


def _check_public(host: str) -> None:
    """Refuse what is known without asking anybody: addresses, and the names of this machine (RFC 6761, 6.3)."""
    if host == "localhost" or host.endswith(".localhost"):
        raise AddressRefused("this machine")
    if (":" in host or _NUMBER.fullmatch(host.rpartition(".")[2])) and not is_public(host):
        raise AddressRefused(f"the address {host} isn't public")


def _check_reading(url: str, expected: tuple[str, str, int]) -> None:
    """Refuse a URL that the HTTP client's parser reads in another way, or a host that IDNA would change."""
    try:
        parsed = URL(url)
        again = URL.build(scheme=parsed.scheme, host=parsed.host or "", port=parsed.port)
        seen = {_spelled(parsed), _spelled(again)}
    except ValueError:  # UnicodeError, from IDNA, is one
        raise AddressRefused("not a URL") from None
    if seen != {expected}:
        raise AddressRefused("a URL that parsers read differently")


def _spelled(url: URL) -> tuple[str, str, int]:
    host = url.raw_host or ""
    return url.scheme, _canonical_v6(host) if ":" in host else host, url.port or 0


def _written(scheme: str, host: str, port: int, rest: str) -> URL:
    """Write the URL that is asked for. Path and query stay as they came: signed ones break when re-quoted."""
    name = f"[{host}]" if ":" in host else host
    authority = name if port == DEFAULT_PORTS[scheme] else f"{name}:{port}"
    path = rest if rest.startswith("/") else "/" + rest
    return URL(f"{scheme}://{authority}{quote(path, safe=string.punctuation)}", encoded=True)


def _allowed_pairs(entry: str, ports: Sequence[int]) -> Iterable[tuple[str, int]]:
    found = _AUTHORITY.fullmatch(entry)
    try:
        if found is None or found["port"] == "":
            raise AddressRefused("write host, host:port or [IPv6 address]:port")
        host = _canonical_host(found["host"])
    except AddressRefused as refusal:
        raise SettingsInvalid(f"fetch.allow_hosts: {entry!r}: {refusal}.") from None
    return [(host, int(found["port"]))] if found["port"] else [(host, port) for port in ports]
