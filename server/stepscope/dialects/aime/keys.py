"""Keys, which are kept and compared as digests alone."""

import hashlib
import hmac
from collections.abc import Iterable


def digest(secret: str) -> str:
    """Return what is kept of a secret: its SHA-256 in hex."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def is_among(given: str, known: Iterable[str]) -> bool:
    """Say whether a digest is one of those known; the time that it takes tells nothing about them."""
    found = False
    for each in known:
        found |= hmac.compare_digest(given, each)
    return found
