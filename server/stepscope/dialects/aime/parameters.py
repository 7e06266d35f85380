"""The parameters that an endpoint declares: what `INPUTS` says, read and checked once."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stepscope.dialects.aime.tables import Table


class Type(enum.Enum):
    """What a parameter holds."""

    STRING = "string"
    INTEGER = "integer"
    FLOAT = "float"
    BOOL = "bool"
    SELECTION = "selection"
    JSON = "json"
    CHAT_CONTEXT = "chat_context"
    TEXT_CONTEXT = "text_context"
    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"
    IMAGE_LIST = "image_list"


SYNONYMS = {"str": Type.STRING, "int": Type.INTEGER, "boolean": Type.BOOL}
TYPES = {each.value: each for each in Type} | SYNONYMS
MEDIA = (Type.IMAGE, Type.AUDIO, Type.VIDEO)
COMMON = ("type", "required", "default", "auto_convert", "description", "title", "name")
ATTRIBUTES = {
    "image": ("format", "color_space", "size"),
    "audio": ("format", "sample_rate", "sample_bit_depth", "channels", "duration", "audio_bit_rate", "audio_codec"),
    "video": (
        "format",
        "color_space",
        "size",
        "duration",
        "video_bit_rate",
        "video_codec",
        "sample_rate",
        "sample_bit_depth",
        "channels",
        "audio_bit_rate",
        "audio_codec",
    ),
}
NAMES = ("format", "color_space", "audio_codec", "video_codec")
"""Attributes that are texts; the others are numbers."""

Limits = Mapping[str, tuple[Any, ...]]
"""The values that are allowed at all, by attribute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a number has to keep to."""

    least: Any = None
    most: Any = None
    align: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """What one property of a medium has to be. A size's bounds are pairs."""

    supported: tuple[Any, ...] = ()
    default: Any = None
    auto_convert: bool = False
    bounds: Bounds = Bounds()
    keep_aspect_ratio: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter. `media` are the settings of what a chat context may hold, by type."""

    name: str
    type: Type
    required: bool = False
    default: Any = None
    auto_convert: bool = False
    max_length: int | None = None
    bounds: Bounds = Bounds()
    supported: tuple[Any, ...] = ()
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    crop: bool = False
    media: Mapping[Type, "Parameter"] = field(default_factory=dict)


def read_parameter(name: str, table: Table) -> Parameter:
    """Read a parameter. Raises `SettingsInvalid`."""
    kind = _read_type(table)
    table.skip("description", "title", "name")
    common = {
        "name": name,
        "type": kind,
        "required": table.flag("required"),
        "default": table.anything("default"),
        "auto_convert": table.flag("auto_convert"),
    }
    parameter = Parameter(**common, **_read_rest(kind, table))
    table.warn_of_unknown()
    return parameter


def _read_type(table: Table) -> Type:
    named = table.text("type", "string")
    if named not in TYPES:
        raise table.refuse("type", f"{named!r} is unknown; known are {', '.join(TYPES)}")
    return TYPES[named]


def _read_rest(kind: Type, table: Table) -> dict[str, Any]:
    if kind in (Type.STRING, Type.TEXT_CONTEXT, Type.JSON):
        return {"max_length": table.integer("max_length", None)}
    if kind in (Type.INTEGER, Type.FLOAT):
        return {"bounds": read_bounds(table, _is_number)}
    if kind is Type.SELECTION:
        return {"supported": _read_selection(table)}
    if kind is Type.CHAT_CONTEXT:
        return {"max_length": table.integer("max_length", None), "media": _read_supported_media(table)}
    if kind is Type.IMAGE_LIST:
        return _read_medium(Type.IMAGE, table)
    if kind in MEDIA:
        return _read_medium(kind, table)
    return {}


def _read_selection(table: Table) -> tuple[Any, ...]:
    supported = table.anything("supported", [])
    if not isinstance(supported, list) or not supported:
        raise table.refuse("supported", "it has to be a list with something in it")
    return tuple(supported)


def _read_supported_media(table: Table) -> dict[Type, Parameter]:
    found = {}
    named = table.texts("support")
    for each in (*(kind.value for kind in MEDIA), "text"):
        if each not in named:
            table.skip(each)
    for each in named:
        if each == "text":
            continue
        if each not in [kind.value for kind in MEDIA]:
            raise table.refuse("support", f"{each!r} is unknown; known are image, audio, video")
        kind, section = Type(each), table.section(each)
        section.skip(*COMMON)
        found[kind] = Parameter(name=f"{table.path}.{each}", type=kind, **_read_medium(kind, section))
        section.warn_of_unknown()
    return found


def _read_medium(kind: Type, table: Table) -> dict[str, Any]:
    method = table.text("resize_method", "scale")
    if method not in ("scale", "crop"):
        raise table.refuse("resize_method", f"{method!r} is unknown; known are scale, crop")
    table.skip("check_conversion", "input_temp_file", "output_temp_file", "max_length")
    named = [each for each in ATTRIBUTES[kind.value] if each in table.values]
    attributes = {each: _read_attribute(each, table.section(each)) for each in named}
    return {"attributes": attributes, "crop": method == "crop"}


def _read_attribute(name: str, table: Table) -> Attribute:
    supported = table.anything("supported", [])
    if not isinstance(supported, list):
        raise table.refuse("supported", "it has to be a list")
    fits = _fits(name)
    attribute = Attribute(
        supported=tuple(_as_value(name, table, each) for each in supported),
        default=_as_value(name, table, table.anything("default")),
        auto_convert=table.flag("auto_convert"),
        bounds=Bounds() if name in NAMES else read_bounds(table, fits),
        keep_aspect_ratio=table.flag("keep_aspect_ratio"),
    )
    table.warn_of_unknown()
    return attribute


def _as_value(name: str, table: Table, value: Any) -> Any:
    if value is None:
        return None
    if not _fits(name)(value):
        raise table.refuse("supported or default", f"{value!r} is no {name}")
    return tuple(value) if isinstance(value, list) else value


def _fits(name: str) -> Any:
    if name == "size":
        return _is_size
    return (lambda value: isinstance(value, str)) if name in NAMES else _is_number


def read_bounds(table: Table, fits: Any) -> Bounds:
    """Read limits under both of their names. Raises `SettingsInvalid`."""
    values: dict[str, Any] = {}
    for name, keys in (("least", ("minimum", "min")), ("most", ("maximum", "max")), ("align", ("align",))):
        for key in keys:
            value = table.anything(key)
            if value is None:
                continue
            pair = key == "align" and fits is _is_size and _is_number(value)
            if not (fits(value) or pair):
                raise table.refuse(key, f"it has to be {'a pair of numbers' if fits is _is_size else 'a number'}")
            values.setdefault(name, (value, value) if pair else tuple(value) if isinstance(value, list) else value)
    bounds = Bounds(**values)
    _check_bounds(table, bounds)
    return bounds


def _check_bounds(table: Table, bounds: Bounds) -> None:
    least, most, align = (_pair(each) for each in (bounds.least, bounds.most, bounds.align))
    if any(low is not None and high is not None and low > high for low, high in zip(least, most, strict=True)):
        raise table.refuse("minimum", "it is above the maximum")
    if any(each is not None and each <= 0 for each in align):
        raise table.refuse("align", "it has to be above 0")


def _pair(value: Any) -> tuple[Any, Any]:
    return value if isinstance(value, tuple) else (value, value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def _is_size(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(_is_number(each) for each in value)


def read_limits(table: Table) -> dict[str, Limits]:
    """Read what the server allows of media over all endpoints: `INPUTS.image.format = {allowed = [...]}`."""
    found: dict[str, Limits] = {}
    for kind, section in table.sections().items():
        if kind not in ATTRIBUTES:
            continue
        limits = {}
        for name in ATTRIBUTES[kind]:
            if name in section.values:
                attribute = section.section(name)
                allowed = attribute.anything("allowed", [])
                if not isinstance(allowed, list):
                    raise attribute.refuse("allowed", "it has to be a list")
                limits[name] = tuple(_as_value(name, attribute, each) for each in allowed)
                attribute.warn_of_unknown()
        section.warn_of_unknown()
        found[kind] = limits
    return found
