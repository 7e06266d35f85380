"""Certificates of CAs that live as long as a test, and clients that show or check them."""

import ssl
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A certificate's file and its key's."""

    certificate: Path
    private_key: Path

    @property
    def section(self) -> dict[str, str]:
        """The configuration of a server with this identity."""
        return {"certificate": str(self.certificate), "private_key": str(self.private_key)}

    @property
    def curl(self) -> list[str]:
        """The options with which curl shows it."""
        return ["--cert", str(self.certificate), "--key", str(self.private_key)]


class Authority:
    """A CA whose certificates lie in a folder; `file` holds its own."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._ca = trustme.CA(organization_name=name)
        self._folder = folder
        self.file = folder / f"{name}.crt"
        self._ca.cert_pem.write_to_path(self.file)

    def issue(
        self,
        name: str,
        *,
        first: datetime = NOW - DAY,
        last: datetime = NOW + DAY,
        kind: trustme.KeyType = trustme.KeyType.ECDSA,
    ) -> Identity:
        """Write a certificate for this machine's names."""
        leaf = self._ca.issue_cert("localhost", "127.0.0.1", not_before=first, not_after=last, key_type=kind)
        identity = Identity(certificate=self._folder / f"{name}.crt", private_key=self._folder / f"{name}.key")
        identity.certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        leaf.private_key_pem.write_to_path(identity.private_key)
        return identity

    def client(self, identity: Identity | None = None) -> ssl.SSLContext:
        """Return a client's side that trusts this CA, and may show an identity."""
        context = ssl.create_default_context(cafile=str(self.file))
        if identity is not None:
            context.load_cert_chain(identity.certificate, identity.private_key)
        return context


def curl(url: str, *options: str) -> tuple[int, str, str]:
    """Run curl; return its exit code, what came and what it told."""
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--max-time", "20", "--noproxy", "*", *options, url],
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done.returncode, done.stdout, done.stderr
