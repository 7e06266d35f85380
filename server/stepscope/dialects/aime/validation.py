"""Checking what a client sends against what an endpoint declares. All that is wrong is told at once.

With `auto_convert` a parameter takes what it can make something of; without it, only what fits.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, Protocol

import orjson

from stepscope.dialects.aime.chats import read_chat
from stepscope.dialects.aime.endpoints import IMPLICIT
from stepscope.dialects.aime.parameters import MEDIA, Bounds, Parameter, Type
from stepscope.dialects.aime.records import write_json
from stepscope.dialects.aime.refusals import Refusal

Values = Mapping[str, Any]


class Unfit(Exception):
    """A value isn't what its parameter takes; the text says why, without the parameter's name."""


class MediaChecker(Protocol):
    """Looks into media, and converts them. May take long."""

    def fit(self, parameter: Parameter, uri: str) -> str:
        """Return a data URI that a parameter takes. Raises `MediaUnfit`."""


class MediaUnfit(Exception):
    """A medium isn't what its parameter takes; the text says why."""


def validate(declared: Mapping[str, Parameter], given: Values, media: MediaChecker) -> dict[str, Any]:
    """Return the values that a worker gets. Raises `Refusal` with all faults."""
    faults = _unknown(declared, given)
    found: dict[str, Any] = {}
    for parameter in declared.values():
        try:
            value = _resolve(parameter, given.get(parameter.name), media)
        except (Unfit, MediaUnfit) as fault:
            faults.append(f"Parameter {parameter.name}: {fault}")
            continue
        if value is not _LEFT_OUT:
            found[parameter.name] = value
    faults += _clashes(declared, given)
    if faults:
        raise Refusal(faults)
    return found


def holds_media(declared: Mapping[str, Parameter], given: Values) -> bool:
    """Say whether there are media to look into, which takes longer than an event loop may be held up."""
    return any(
        given.get(each.name) and (each.type in (*MEDIA, Type.IMAGE_LIST) or each.media) for each in declared.values()
    )


_LEFT_OUT: Any = object()


def _unknown(declared: Mapping[str, Parameter], given: Values) -> list[str]:
    names = [name for name in given if name not in declared and name not in IMPLICIT]
    return [f"Unknown parameters: {', '.join(names)}"] if names else []


def _clashes(declared: Mapping[str, Parameter], given: Values) -> list[str]:
    chats = [name for name, each in declared.items() if each.type is Type.CHAT_CONTEXT and given.get(name)]
    texts = [name for name, each in declared.items() if each.type is Type.TEXT_CONTEXT and given.get(name)]
    return [f"Parameter {texts[0]} can't be sent together with {chats[0]}"] if chats and texts else []


def _resolve(parameter: Parameter, value: Any, media: MediaChecker) -> Any:
    if value is None:
        if parameter.required:
            raise Unfit("it is required")
        value = parameter.default
    if value is None and parameter.type is Type.SELECTION:
        return _select(parameter, None)
    if value is None:
        return _LEFT_OUT
    if parameter.type in MEDIA:
        return _fit(parameter, value, media)
    if parameter.type is Type.IMAGE_LIST:
        return _fit_images(parameter, value, media)
    if parameter.type is Type.CHAT_CONTEXT:
        return _fit_chat(parameter, value, media)
    return _CHECKS[parameter.type](parameter, value)


def _fit(parameter: Parameter, value: Any, media: MediaChecker) -> str:
    if not isinstance(value, str):
        _wrong("a data URI", value)
    return media.fit(parameter, value)


def _fit_images(parameter: Parameter, value: Any, media: MediaChecker) -> list[str]:
    if not isinstance(value, list):
        _wrong("a list of data URIs", value)
    return [_fit(parameter, each, media) for each in value]


def _fit_chat(parameter: Parameter, value: Any, media: MediaChecker) -> Any:
    if not isinstance(value, str) and parameter.auto_convert and isinstance(value, list):
        value = write_json(value).decode()
    if not isinstance(value, str):
        _wrong("a text that holds a JSON list", value)
    try:
        return read_chat(value, lambda kind, uri: _fit_in_chat(parameter, kind, uri, media))
    except ValueError as fault:
        raise Unfit(str(fault)) from None


def _fit_in_chat(parameter: Parameter, kind: Type, uri: str, media: MediaChecker) -> str:
    settings = parameter.media.get(kind)
    if settings is None:
        raise Unfit(f"{kind.value} isn't supported here")
    return media.fit(settings, uri)


def _string(parameter: Parameter, value: Any) -> str:
    if not isinstance(value, str):
        if not parameter.auto_convert or isinstance(value, dict | list):
            _wrong("a text", value)
        value = write_json(value).decode()
    return _shortened(parameter, value)


def _shortened(parameter: Parameter, value: str) -> str:
    if parameter.max_length is None or len(value) <= parameter.max_length:
        return value
    if not parameter.auto_convert:
        raise Unfit(f"it is longer than {parameter.max_length} characters")
    return value[: parameter.max_length]


def _integer(parameter: Parameter, value: Any) -> int:
    if isinstance(value, str) and parameter.auto_convert:
        value = _parsed(value)
    if isinstance(value, float) and math.isfinite(value) and (parameter.auto_convert or value == int(value)):
        value = int(value)
    if not isinstance(value, int):
        _wrong("a whole number", value)
    return int(bounded(parameter.bounds, int(value), parameter.auto_convert))


def _float(parameter: Parameter, value: Any) -> float:
    if isinstance(value, str) and parameter.auto_convert:
        value = _parsed(value)
    if not isinstance(value, int | float):
        _wrong("a number", value)
    try:
        number = float(value)
    except OverflowError:
        raise Unfit("it is too large") from None
    return float(bounded(parameter.bounds, number, parameter.auto_convert))


def _parsed(text: str) -> Any:
    for kind in (int, float):
        try:
            number = kind(text[:400])
        except ValueError:
            continue
        if math.isfinite(number):
            return number
    return text


def bounded(bounds: Bounds, number: Any, convert: bool) -> Any:
    """Return a number within limits: itself, or with `convert` the nearest. Raises `Unfit`."""
    low, high, align = bounds.least, bounds.most, bounds.align
    if not convert:
        _check_bounds(bounds, number)
        return number
    if low is not None and number < low:
        number = low
    if high is not None and number > high:
        number = high
    if align:
        number -= number % align
        if low is not None and number < low:
            number += align
    return number


def _check_bounds(bounds: Bounds, number: Any) -> None:
    if bounds.least is not None and number < bounds.least:
        raise Unfit(f"{number} is below the minimum of {bounds.least}")
    if bounds.most is not None and number > bounds.most:
        raise Unfit(f"{number} is above the maximum of {bounds.most}")
    if bounds.align and number % bounds.align:
        raise Unfit(f"{number} isn't a multiple of {bounds.align}")


def _bool(parameter: Parameter, value: Any) -> bool:
    if parameter.auto_convert and isinstance(value, int | float):
        return bool(value)
    if parameter.auto_convert and isinstance(value, str):
        value = _WORDS.get(value.strip().lower(), value)
    if not isinstance(value, bool):
        _wrong("true or false", value)
    return value


_WORDS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


def _select(parameter: Parameter, value: Any) -> Any:
    wanted = parameter.default if parameter.default is not None else parameter.supported[0]
    fits = _is_like(value, wanted)
    if fits and value in parameter.supported:
        return value
    if parameter.auto_convert:
        return _converted_choice(parameter, value, wanted)
    if value is None:
        raise Unfit("it is required")
    if not fits:
        _wrong(f"a {type(wanted).__name__}", value)
    raise Unfit(f"{_shown(value)} isn't one of {', '.join(map(str, parameter.supported))}")


def _converted_choice(parameter: Parameter, value: Any, otherwise: Any) -> Any:
    """Return the choice that a value is written like, such as a number in a query."""
    return next((each for each in parameter.supported if str(each) == str(value)), otherwise)


def _is_like(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(wanted, bool)
    if isinstance(wanted, float):
        return isinstance(value, int | float)
    return isinstance(value, type(wanted))


def _json(parameter: Parameter, value: Any) -> Any:
    if not isinstance(value, str):
        if not parameter.auto_convert:
            _wrong("a text that holds JSON", value)
        return value
    if not value.strip():
        return None
    try:
        return orjson.loads(value)
    except ValueError:
        raise Unfit("the text isn't JSON") from None


def _wrong(wanted: str, value: Any) -> NoReturn:
    raise Unfit(f"it has to be {wanted}, not {_shown(value)}")


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return "a list" if isinstance(value, list) else "an object"
    return repr(value[:40]) if isinstance(value, str) else write_json(value).decode()[:40]


_CHECKS: Mapping[Type, Callable[[Parameter, Any], Any]] = {
    Type.STRING: _string,
    Type.TEXT_CONTEXT: _string,
    Type.INTEGER: _integer,
    Type.FLOAT: _float,
    Type.BOOL: _bool,
    Type.SELECTION: _select,
    Type.JSON: _json,
}
