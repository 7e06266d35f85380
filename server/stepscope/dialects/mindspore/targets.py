"""What a path asks for: `/model/NAME[/version/N]:METHOD`, with the two parts in either order.

The path has to be made of these parts alone. A slash before the colon is allowed.
"""

import functools
import re
from dataclasses import dataclass

from stepscope.dialects.mindspore.refusals import Refusal, cut

HIGHEST = 2**32 - 2
"""The highest version number that can be asked for."""
_NUMBER = re.compile(r"\s*([+-]?)([0-9]+)")
_LONGEST_NUMBER = 20
NO_MODEL = "please check url, the keyword:[model] must contain."
NO_METHOD = "please check url, the keyword:[service method] must contain."


@dataclass(frozen=True, slots=True)
class Target:
    """A servable's method; version 0 is the highest there is."""

    servable: str
    version: int
    method: str

    def __str__(self) -> str:
        number = f" version({self.version}) " if self.version else ""
        return f"servable({self.servable}) method({self.method}) {number}"


def owns(path: str) -> bool:
    """Say whether a path is this wire's: it begins like its paths, or has a colon outside of the native API."""
    return path.startswith(("/model/", "/version/")) or path == "/model" or (":" in path and path[:5] != "/api/")


@functools.lru_cache(maxsize=1024)
def read_target(path: str) -> Target:
    """Return what a path asks for. Raises `Refusal`: first for the name, then the version, then the method."""
    place, _, method = path.partition(":")
    parts = place.removesuffix("/").split("/")[1:]
    named = {parts[at]: (parts[at + 1] if at + 1 < len(parts) else "") for at in range(0, len(parts), 2)}
    servable = named.pop("model", "")
    version = named.pop("version", None)
    if not servable or named or len(parts) > 4:
        raise Refusal(NO_MODEL)
    number = 0 if version is None else _number(version)
    if not method:
        raise Refusal(NO_METHOD)
    return Target(servable, number, method)


def _number(text: str) -> int:
    """Read the whole number that a text begins with."""
    match = _NUMBER.match(text)
    if match is None:
        raise Refusal(cut(f"please check url, the keyword:[version] value invalid, request version number {text}"))
    sign, digits = match[1], match[2].lstrip("0") or "0"
    number = int(digits) if len(digits) <= _LONGEST_NUMBER else HIGHEST + 1
    if number > HIGHEST or (sign == "-" and number):
        raise Refusal(cut(f"please check url, version number range failed, request version number {text}"))
    return number
