"""TLS for every listener: one context, made at the start from files that are checked then.

TLS 1.2 and 1.3 with forward secrecy and authenticated encryption only. Clients are asked for certificates only where
a CA for them is given, and then nothing but that CA is trusted: the system's store is never read.
"""

import logging
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, Self

from stepscope.core.errors import SettingsInvalid

log = logging.getLogger("stepscope.web")

SUITES = "ECDHE+AESGCM:ECDHE+AESCCM:!AESCCM8:ECDHE+CHACHA20"
"""For TLS 1.2; those of TLS 1.3 are all of this kind."""

_EXPIRED, _NOT_YET_VALID = 10, 9
"""OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED and X509_V_ERR_CERT_NOT_YET_VALID."""
_FOREIGN_KEY = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
_WEAK_CERTIFICATE = ("EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK")


class Session(ssl.SSLObject):
    """One connection's TLS: says why before it refuses, and doesn't wait for the other side's farewell.

    An event loop closes a connection as soon as its handshake fails, and the alert that OpenSSL has written stays
    behind. So a failure with an alert is told as "more is needed": the loop then sends what is there, and the
    connection ends when the client closes it or the time for handshakes is over.
    """

    outgoing: ssl.MemoryBIO
    incoming: ssl.MemoryBIO
    _refused = False

    def do_handshake(self) -> None:
        """Go on with the handshake."""
        if not self._refused:
            try:
                super().do_handshake()
                return
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise
            except ssl.SSLError as fault:
                log.debug("a TLS handshake failed: %s", _reason(fault))
                if not self.outgoing.pending:  # what isn't TLS at all gets no answer
                    raise
                self._refused = True
        self.incoming.read()
        raise ssl.SSLWantReadError

    def unwrap(self) -> None:
        """Say that nothing more comes. RFC 8446, section 6.1: no need to wait for the same from the other side."""
        try:
            super().unwrap()
        except ssl.SSLWantReadError:
            return


class ServerContext(ssl.SSLContext):
    """A server's side, as `ssl.SSLContext` has it, with sessions of this module."""

    sslobject_class = Session

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> Session:
        """Start a connection's TLS."""
        started = super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)
        assert isinstance(started, Session)
        started.incoming, started.outgoing = incoming, outgoing
        return started

    @classmethod
    def load(cls, certificate: Path, private_key: Path, client_ca: Path | None = None) -> Self:
        """Read PEM files and check them. With `client_ca` every client needs a certificate of it.

        Raises `SettingsInvalid`.
        """
        context = cls(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(SUITES)
        context.options |= ssl.OP_NO_RENEGOTIATION
        _load_identity(context, certificate, private_key)
        _rehearse(context, certificate)
        if client_ca is not None:
            _load_client_ca(context, client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def _load_identity(context: ssl.SSLContext, certificate: Path, private_key: Path) -> None:
    _check_readable("certificate_chain", certificate)
    _check_readable("private_key", private_key)
    _trusting(certificate)
    try:
        context.load_cert_chain(certificate, private_key, _refuse_password(private_key))
    except ssl.SSLError as fault:
        if fault.reason in _WEAK_CERTIFICATE:
            _fail("certificate_chain", certificate, _reason(fault))
        if fault.reason in _FOREIGN_KEY:
            _fail("private_key", private_key, f"it doesn't belong to the certificate in {certificate}")
        _fail("private_key", private_key, f"it holds no private key that can be used ({_reason(fault)})")


def _refuse_password(private_key: Path) -> Callable[[], str]:
    """OpenSSL would ask the terminal."""

    def refuse() -> NoReturn:
        _fail("private_key", private_key, "it is encrypted, and nobody is there to give its password")

    return refuse


def _load_client_ca(context: ssl.SSLContext, path: Path) -> None:
    _check_readable("root certificate", path)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as fault:
        _fail("root certificate", path, f"it holds no certificate in PEM form ({_reason(fault)})")
    now = time.time()
    roots = [(_seconds(root["notBefore"]), _seconds(root["notAfter"])) for root in context.get_ca_certs()]
    if roots and all(now > last for _, last in roots):
        _fail("root certificate", path, "it has expired")
    if roots and not any(first <= now <= last for first, last in roots):
        _fail("root certificate", path, "it isn't valid yet")


def _rehearse(context: ssl.SSLContext, certificate: Path) -> None:
    """Let a client that trusts just this certificate shake hands in memory: OpenSSL is the judge of its dates."""
    client = _trusting(certificate)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server_side = context.wrap_bio(to_server, to_client, server_side=True)
    client_side = client.wrap_bio(to_client, to_server)
    try:
        for side in (client_side, server_side, client_side):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    except ssl.SSLCertVerificationError as fault:
        if fault.verify_code == _EXPIRED:
            _fail("certificate_chain", certificate, "it has expired")
        if fault.verify_code == _NOT_YET_VALID:
            _fail("certificate_chain", certificate, "it isn't valid yet")
        log.warning("clients that check won't accept the certificate in %s: %s", certificate, fault.verify_message)
    except ssl.SSLError as fault:
        _fail("certificate_chain", certificate, _reason(fault))


def _trusting(certificate: Path) -> ssl.SSLContext:
    """Return a client's side that trusts the certificates in a file, and nothing else."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        client.load_verify_locations(certificate)
    except ssl.SSLError as fault:
        _fail("certificate_chain", certificate, f"it holds no certificate in PEM form ({_reason(fault)})")
    return client


def _check_readable(part: str, path: Path) -> None:
    try:
        path.read_bytes()
    except OSError as fault:
        _fail(part, path, fault.strerror or str(fault))


def _fail(part: str, path: Path, reason: str) -> NoReturn:
    raise SettingsInvalid(f"load {part} from {path} failed: {reason}.")


def _reason(fault: ssl.SSLError) -> str:
    return (fault.reason or str(fault)).lower().replace("_", " ")


def _seconds(date: object) -> int:
    return ssl.cert_time_to_seconds(str(date))
