"""The one authentication layer: a key in `Authorization: Bearer`, known by its SHA-256 alone.

Connexion's security middleware calls it for every operation that the contract secures; whatever stands beside
the contract asks it too.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

from connexion.lifecycle import ConnexionRequest
from connexion.security import AbstractSecurityHandler

from stepscope.core.access import ANONYMOUS, Principal
from stepscope.core.errors import CredentialsInvalid, CredentialsMissing
from stepscope.web.context import HEADERS, KEY


class Authenticator:
    """Knows the callers. Without keys, every caller is `anonymous`."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        """Take each caller's name with the SHA-256 of its key, in hex."""
        self._keys = [(bytes.fromhex(digest), Principal(name)) for name, digest in keys.items()]

    @property
    def required(self) -> bool:
        """Whether a key is asked for."""
        return bool(self._keys)

    def authenticate(self, authorization: bytes | None) -> Principal:
        """Return who sends this header. Raises `CredentialsMissing`, `CredentialsInvalid`."""
        if not self._keys:
            return ANONYMOUS
        if not authorization:
            raise CredentialsMissing
        scheme, _, key = authorization.partition(b" ")
        digest = hashlib.sha256(key.strip()).digest()
        found: Principal | None = None
        for known, principal in self._keys:  # all of them, so that the time tells nothing
            if hmac.compare_digest(known, digest):
                found = principal
        if scheme.lower() != b"bearer" or found is None:
            raise CredentialsInvalid
        return found

    def authenticate_page(self, authorization: bytes | None) -> Principal:
        """Return who asks for a page: a browser can send no bearer key, but asks its user for a name and a password.

        The password is the key; the name doesn't matter. Raises as `authenticate` does.
        """
        scheme, _, coded = (authorization or b"").partition(b" ")
        if scheme.lower() == b"basic":
            try:
                authorization = b"Bearer " + base64.b64decode(coded, validate=True).partition(b":")[2]
            except binascii.Error:
                raise CredentialsInvalid from None
        return self.authenticate(authorization)


class BearerHandler(AbstractSecurityHandler):  # type: ignore[misc]
    """Connexion's hook for a security scheme: sets the principal of the request's context."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator

    def get_fn(self, security_scheme: dict[str, object], required_scopes: list[str]) -> object:  # noqa: ARG002
        """Return the function that Connexion calls for a request."""

        def verify(request: ConnexionRequest) -> dict[str, str]:
            scope = request.scope
            principal = self._authenticator.authenticate(scope[HEADERS].get(b"authorization"))
            scope[KEY].principal = principal
            return {"sub": principal.name}

        return verify
