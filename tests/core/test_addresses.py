"""Every rule of fetching, on URLs and addresses alone."""

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stepscope.core.addresses import AddressRefused, UrlRules, is_public, redacted
from stepscope.core.errors import SettingsInvalid

RULES = UrlRules.of((), ("https", "http"), (80, 443))

HOSTILE = [
    # other schemes, and what only looks like one
    "",
    "example.com/a.png",
    "//example.com/a.png",
    "http:example.com",
    "http:/example.com",
    "http:///a.png",
    "http://",
    "file:///etc/passwd",
    "file://example.com/etc/passwd",
    "ftp://example.com/a.png",
    "gopher://example.com:80/_x",
    "data:image/png;base64,iVBORw0KGgo=",
    "ws://example.com/",
    "unix:///run/docker.sock",
    "javascript:alert(1)",
    "jar:http://example.com!/",
    "view-source:http://example.com/",
    # this machine and its networks
    "http://localhost/",
    "http://LocalHost/",
    "http://a.localhost/",
    "http://127.0.0.1/",
    "http://127.255.255.254/",
    "http://0.0.0.0/",
    "http://10.0.0.1/",
    "http://100.64.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://100.100.100.200/latest/meta-data/",
    "http://168.63.129.16/machine",
    "http://172.16.0.1/",
    "http://192.0.0.192/opc/v1/",
    "http://192.88.99.1/",
    "http://192.168.1.1/",
    "http://198.18.0.1/",
    "http://203.0.113.1/",
    "http://224.0.0.1/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    # odd spellings of IPv4 addresses
    "http://127.1/",
    "http://127.0.1/",
    "http://2130706433/",
    "http://0x7f.1/",
    "http://0x7f000001/",
    "http://0X7F.0x0.0x0.0x1/",
    "http://0177.0.0.1/",
    "http://017700000001/",
    "http://127.0.0.01/",
    "http://127.0.0.0x1/",
    "http://8.8.8.8.8/",
    "http://8.8.8.256/",
    "http://1.2.3.4./",
    "http://0x/",
    # IPv6
    "http://[::]/",
    "http://[::1]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::127.0.0.1]/",
    "http://[64:ff9b:1::1]/",
    "http://[2002:7f00:1::]/",
    "http://[2001:0:7f00:1::]/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fe80::1%eth0]/",
    "http://[fd00:ec2::254]/",
    "http://[ff02::1]/",
    "http://[2001:db8::1]/",
    "http://[::1",
    "http://::1/",
    "http://[1::2::3]/",
    "http://[v1.example]/",
    "http://[example.com]/",
    "http://[2606:4700::1111]x/",
    # userinfo, fragments, backslashes, controls
    "http://user@example.com/",
    "http://user:secret@example.com/",
    "http://example.com:80@127.0.0.1/",
    "http://127.0.0.1:80@example.com/",
    "http://@example.com/",
    "http://example.com/a.png#b",
    "http://example.com#@127.0.0.1/",
    "http://127.0.0.1\\@example.com/",
    "http://example.com\\@127.0.0.1/",
    "http:\\\\example.com\\",
    "http://example.com/\r\nHost: 127.0.0.1",
    "http://example.com/\n",
    "\nhttp://example.com/",
    " http://example.com/",
    "http://example.com /",
    "http://exam\tple.com/",
    "http://example.com/\x00",
    "http://example.com/\x7f",
    "http://example.com/\u2028",
    "http://example.com/\ud800",
    # hosts that change on the way
    "http://\uff45xample.com/",
    "http://①②⑦.⓪.⓪.①/",
    "http://127。0。0。1/",
    "http://localhoﬆ/",
    "http://münchen.de/",
    "http://xn--a/",
    "http://xn--/",
    "http://exa%6dple.com/",
    "http://127.0.0.1%2f.example.com/",
    "http://example.com%00.evil.com/",
    "http://example..com/",
    "http://.example.com/",
    "http://example.com./",
    f"http://{'a' * 64}.com/",
    f"http://{'a.' * 127}com/",
    "http://exam<ple.com/",
    "http://example.com,127.0.0.1/",
    "http://a;b/",
    # ports
    "http://example.com:22/",
    "http://example.com:0/",
    "http://example.com:8080/",
    "http://example.com:65616/",
    "http://example.com:99999/",
    "http://example.com:080800/",
    "http://example.com:-80/",
    "http://example.com:+80/",
    "http://example.com: 80/",
    "http://example.com:\uff18\uff10/",
    "http://example.com:80:80/",
    # size
    "http://example.com/" + "a" * 8192,
]

HARMLESS = [
    "http://example.com",
    "https://example.com/",
    "HTTP://EXAMPLE.com:80/A.png",
    "http://example.com:/a.png",
    "https://example.com:443/a%20b.png?x=1&y=%2F@:",
    "http://example.com:443/",
    "https://my_bucket.s3.example.com/a.png?X-Amz-Signature=0123",
    "https://xn--mnchen-3ya.de/a.png",
    "http://8.8.8.8/",
    "http://[2606:4700:4700::1111]/a.png",
    "http://[::ffff:8.8.8.8]/",
    "http://example.com?x=1",
    "https://example.com/Ä.png",
    "http://0x7f.example.com/",
    "http://1.2.3.4.example.com/",
]


@pytest.mark.parametrize("url", HOSTILE, ids=ascii)
def test_hostile_urls_are_refused(url: str) -> None:
    with pytest.raises(AddressRefused):
        RULES.check(url)


@pytest.mark.parametrize("url", HARMLESS)
def test_harmless_urls_pass_untrusted(url: str) -> None:
    assert not RULES.check(url).trusted


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("HTTP://EXAMPLE.com:80", "http://example.com/"),
        ("https://example.com:80?x=%2F&y=a+b%20c", "https://example.com:80/?x=%2F&y=a+b%20c"),
        ("https://[2606:4700:0::1111]/%zz/../Ä.png", "https://[2606:4700::1111]/%zz/../%C3%84.png"),
    ],
)
def test_urls_are_sent_as_they_came(url: str, sent: str) -> None:
    assert str(RULES.check(url).url) == sent


@given(st.text())
@example("http://[")
@example("http://xn--zzzzzzzzzzz/")
def test_any_text_is_checked_or_refused(text: str) -> None:
    for url in (text, "http://" + text, "http://example.com" + text):
        try:
            RULES.check(url)
        except AddressRefused:
            continue


def test_a_scheme_that_is_not_configured_is_refused() -> None:
    rules = UrlRules.of((), ("https",), (80, 443))
    rules.check("https://example.com/")
    with pytest.raises(AddressRefused):
        rules.check("http://example.com/")


# --- an operator's own hosts ---------------------------------------------------------------------

OWN = UrlRules.of(("files.lan", "127.0.0.1:9000", "[::1]:9000", "Images.LAN:8080"), ("https", "http"), (80, 443))


@pytest.mark.parametrize(
    "url",
    [
        "http://files.lan/a.png",
        "https://FILES.lan/a.png",
        "http://127.0.0.1:9000/",
        "http://[0:0::1]:9000/",
        "http://images.lan:8080/",
    ],
)
def test_allowed_hosts_are_trusted(url: str) -> None:
    assert OWN.check(url).trusted


@pytest.mark.parametrize(
    "url",
    [
        "http://files.lan:9000/",  # `host` alone means the usual ports
        "http://127.0.0.1/",
        "http://127.0.0.1:9001/",
        "http://127.0.0.2:9000/",
        "http://[::ffff:127.0.0.1]:9000/",
        "http://localhost:9000/",
        "http://x@127.0.0.1:9000/",
        "ftp://127.0.0.1:9000/",
        "http://127.0.0.1:9000/#x",
        "http://127.1:9000/",
    ],
)
def test_allowing_a_host_allows_nothing_else(url: str) -> None:
    with pytest.raises(AddressRefused):
        OWN.check(url)


def test_an_allowed_host_is_trusted_at_its_own_port_only() -> None:
    assert not OWN.check("http://images.lan/").trusted
    assert not OWN.check("http://a.files.lan/").trusted


@pytest.mark.parametrize(
    "entry", ["", "*", "*.lan", "http://files.lan", "a@b", "files.lan/", "files.lan:", "10.1", "::1", "a b", "a:1:2"]
)
def test_bad_entries_of_the_allow_list_are_named(entry: str) -> None:
    with pytest.raises(SettingsInvalid, match="allow_hosts"):
        UrlRules.of((entry,), ("https",), (443,))


def test_only_http_and_https_can_be_configured() -> None:
    with pytest.raises(SettingsInvalid, match="ftp"):
        UrlRules.of((), ("https", "ftp"), (443,))


# --- redirects -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/b.png", "https://example.com/b.png"),
        ("c.png", "https://example.com/a/c.png"),
        ("//example.org/", "https://example.org/"),
        ("https://example.org/x", "https://example.org/x"),
    ],
)
def test_redirects_lead_where_they_should(location: str, url: str) -> None:
    assert str(RULES.follow(RULES.check("https://example.com/a/b.png"), location).url) == url


@pytest.mark.parametrize(
    "location",
    [
        "http://example.com/a.png",  # down from https
        "https://127.0.0.1/",
        "//127.0.0.1/",
        "file:///etc/passwd",
        "https://a@example.com/",
        "/a.png#b",
        "\\\\127.0.0.1\\",
        "https://example.com:22/",
    ],
)
def test_redirects_are_checked_whole(location: str) -> None:
    with pytest.raises(AddressRefused):
        RULES.follow(RULES.check("https://example.com/a/b.png"), location)


# --- addresses -----------------------------------------------------------------------------------

REFUSED = [
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
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
        "::/96",
        "::1/128",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
]
MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")

near_networks = st.sampled_from([*REFUSED, MAPPED]).flatmap(
    lambda network: st.one_of(
        st.sampled_from([network[0], network[-1]]),
        st.ip_addresses(network=str(network)),
        st.sampled_from([int(network[0]) - 1, int(network[-1]) + 1])
        .filter(lambda number: 0 <= number < 2 ** network[0].max_prefixlen)
        .map(type(network[0])),
    )
)


def refused_by_the_reference(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and address in MAPPED:
        return refused_by_the_reference(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    listed = any(address.version == network.version and address in network for network in REFUSED)
    return listed or address.is_multicast or not address.is_global


@given(
    st.one_of(st.ip_addresses(), near_networks, st.ip_addresses(v=4).map(lambda a: ipaddress.ip_address(f"::ffff:{a}")))
)
def test_addresses_agree_with_the_reference(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if refused_by_the_reference(address):
        assert not is_public(address)
        assert not is_public(str(address))
    elif address.version == 4 and address != ipaddress.ip_address("168.63.129.16"):
        assert is_public(str(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "2a00:1450:4001::5", "::ffff:8.8.8.8"]
)
def test_public_addresses_pass(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "text", ["", "example.com", "127.1", "8.8.8.8/32", "fe80::1%eth0", "2606:4700::1%1", "[::1]", "4000::1"]
)
def test_what_is_no_public_address_does_not_pass(text: str) -> None:
    assert not is_public(text)


# --- the log -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://user:SECRET@example.com/a?k=1",
        "https://example.com/a?token=SECRET",
        "https://example.com/#SECRET",
        "SECRET@x",
    ],
)
def test_the_log_holds_no_secrets(url: str) -> None:
    assert "SECRET" not in redacted(url)


def test_the_log_holds_one_short_line() -> None:
    assert redacted("http://a/\r\nX: \u202e" + "b" * 9999).isprintable()
    assert len(redacted("b" * 9_999_999)) == 200
