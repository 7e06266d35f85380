"""What a data URI holds, and what its parameter wants of it. Looking into bytes is left to `codecs` and `engine`."""

import re
from collections.abc import Mapping
from typing import Any, Protocol

import pybase64

from stepscope.dialects.aime.parameters import NAMES, Attribute, Bounds, Limits, Parameter, Type
from stepscope.dialects.aime.validation import MediaUnfit, Unfit, bounded

_HEAD = re.compile(r"data:[\w.+-]+/[\w.+-]+(;[\w.+=-]+)*;base64,")
FORMATS = {"jpg": "jpeg", "tif": "tiff"}
"""Other names of formats."""

Properties = Mapping[str, Any]
"""What a medium is like, by attribute. A tuple of texts holds all the names that fit."""


class Workshop(Protocol):
    """Measures and converts media of one type. May take long. Raises `ValueError` with a text for the client."""

    def measure(self, data: bytes) -> Properties:
        """Return what a medium is like."""

    def convert(self, data: bytes, wanted: Properties, *, crop: bool) -> tuple[bytes, str]:
        """Return the medium as wanted, and the name of its format. What isn't named stays as it is."""


class Media:
    """Fits media to their parameters, within what the server allows at all."""

    def __init__(self, workshops: Mapping[Type, Workshop], limits: Mapping[str, Limits]) -> None:
        self._workshops = workshops
        self._limits = limits

    def fit(self, parameter: Parameter, uri: str) -> str:
        """Return a data URI that the parameter takes: the given one if it fits. Raises `MediaUnfit`."""
        data = read_uri(uri)
        workshop = self._workshops[_type_of(parameter)]
        try:
            measured = workshop.measure(data)
            check_allowed(self._limits.get(_type_of(parameter).value, {}), measured)
            changes = wanted_changes(parameter, measured)
            if not changes:
                return uri
            converted, name = workshop.convert(data, changes, crop=parameter.crop)
        except (ValueError, Unfit) as fault:
            raise MediaUnfit(str(fault)) from None
        return write_uri(_type_of(parameter), name, converted)


def _type_of(parameter: Parameter) -> Type:
    return Type.IMAGE if parameter.type is Type.IMAGE_LIST else parameter.type


def read_uri(uri: str) -> bytes:
    """Return the bytes of a data URI. The type that it names is often wrong, so nobody looks. Raises `MediaUnfit`."""
    head, comma, body = uri.partition(",")
    if not comma or not _HEAD.fullmatch(head[:200] + comma):
        raise MediaUnfit("it has to be a data URI: data:KIND/FORMAT;base64,DATA")
    try:
        data = pybase64.b64decode(body, validate=True)
    except ValueError:
        raise MediaUnfit("the data isn't base64") from None
    if not data:
        raise MediaUnfit("the data is empty")
    return data


def write_uri(kind: Type, name: str, data: bytes) -> str:
    """Return a data URI."""
    return f"data:{kind.value}/{name};base64,{pybase64.b64encode(data).decode()}"


def check_allowed(limits: Limits, measured: Properties) -> None:
    """Raise `Unfit` when a medium isn't allowed on this server at all."""
    for name, allowed in limits.items():
        if name in measured and not any(_is_alike(name, measured[name], each) for each in allowed):
            raise Unfit(f"{name} {_shown(measured[name])} isn't allowed on this server")


def wanted_changes(parameter: Parameter, measured: Properties) -> dict[str, Any]:
    """Return what has to become different, by attribute. Raises `Unfit` when it mustn't be changed."""
    changes = {}
    for name, attribute in parameter.attributes.items():
        if name in measured:
            change = _wanted(name, attribute, measured[name])
            if change is not None:
                changes[name] = change
    return changes


def _wanted(name: str, attribute: Attribute, value: Any) -> Any:
    """Return the value to convert to, None when it is right as it is."""
    if attribute.supported and not any(_is_alike(name, value, each) for each in attribute.supported):
        if not attribute.auto_convert:
            raise Unfit(
                f"{name} {_shown(value)} isn't one of {', '.join(_shown(each) for each in attribute.supported)}"
            )
        wanted = attribute.default if attribute.default is not None else attribute.supported[0]
        return _canonical(wanted) if name in NAMES else wanted
    if name in NAMES:
        return None
    within = _within_size(attribute, value) if name == "size" else _within(name, attribute, value)
    return None if within == value else within


def _within(name: str, attribute: Attribute, value: Any) -> Any:
    try:
        return bounded(attribute.bounds, value, attribute.auto_convert)
    except Unfit as fault:
        raise Unfit(f"{name}: {fault}") from None


def _within_size(attribute: Attribute, size: tuple[int, int]) -> tuple[int, int]:
    clamped = _clamped(attribute, size)
    if clamped == size or not attribute.keep_aspect_ratio:
        return clamped
    # As large as the ratio allows inside the clamped box.
    scale = min(clamped[0] / size[0], clamped[1] / size[1])
    return _clamped(attribute, (max(1, round(size[0] * scale)), max(1, round(size[1] * scale))))


def _clamped(attribute: Attribute, size: tuple[int, int]) -> tuple[int, int]:
    sides = []
    for place, side in enumerate(("width", "height")):
        bounds = attribute.bounds
        own = Bounds(least=_at(bounds.least, place), most=_at(bounds.most, place), align=_at(bounds.align, place))
        sides.append(
            int(_within(f"size ({side})", Attribute(bounds=own, auto_convert=attribute.auto_convert), size[place]))
        )
    return sides[0], sides[1]


def _at(pair: Any, place: int) -> Any:
    return None if pair is None else pair[place]


def _is_alike(name: str, value: Any, wanted: Any) -> bool:
    if name not in NAMES:
        return bool(value == wanted)
    values = value if isinstance(value, tuple) else (value,)
    return _canonical(wanted) in map(_canonical, values)


def _canonical(name: str) -> str:
    lowered = name.strip().lower()
    return FORMATS.get(lowered, lowered)


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return (" or " if isinstance(value[0], str) else " x ").join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
