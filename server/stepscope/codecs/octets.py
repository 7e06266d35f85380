"""Base64 text to bytes."""

import binascii

from stepscope.core.errors import Base64Invalid, InputEmpty


def decode(text: str | bytes) -> bytes:
    """Return the bytes of standard base64 (RFC 4648, section 4).

    Strict: padding is needed, and line breaks, the URL alphabet and a `data:` prefix are refused, because what else
    reads the same text might read other bytes. Raises `InputEmpty` or `Base64Invalid`.
    """
    if not text:
        raise InputEmpty
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:  # binascii.Error is one; so is what a non-ASCII str raises
        raise Base64Invalid from None
    if len(text) != (len(data) + 2) // 3 * 4:  # before Python 3.12, strict mode lets padding after a full group pass
        raise Base64Invalid
    return data
