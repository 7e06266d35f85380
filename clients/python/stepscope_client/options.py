"""How predictions are made: the keywords that `open` and the predictions share."""

from collections.abc import Mapping
from typing import Any, TypedDict, TypeVar

from pydantic import ValidationError
from stepscope_generated import models as wire

from stepscope_client.errors import ArgumentInvalid

Message = TypeVar("Message")


class Options(TypedDict, total=False):
    """What is given to `open` holds for the predictor; what is given to a prediction holds for it alone."""

    feature_limit: int
    """How many features an answer holds at most, best first; 0 means all, missing means 10."""
    batch_size: int
    """How many inputs may run together, 1 to 4096."""
    trace_level: str
    """How deep the trace looks, from `NO_TRACE` to `FULL_TRACE`."""
    deadline_s: float
    """When the server gives up and answers `DeadlineExceeded` with what it has."""
    device: str
    """`cpu`, `gpu` or `gpu:N`; a server without a GPU takes the CPU for both."""
    way: str
    """How the model runs, such as `eager`, `frozen_channels_last` or `auto`. Counts in `open` alone."""
    request_id: str
    """The caller's name for the request; it comes back in each answer."""


def to_wire(options: Mapping[str, Any]) -> wire.PredictionOptions | None:
    """Return the options as the contract has them. Raises `ArgumentInvalid`, or `TypeError` for an unknown name."""
    unknown = options.keys() - Options.__annotations__.keys()
    if unknown:
        raise TypeError(f"Unknown options: {', '.join(sorted(unknown))}. Known: {', '.join(Options.__annotations__)}.")
    given = {name: value for name, value in options.items() if value is not None}
    if not given:
        return None
    plain = {name: given[name] for name in ("feature_limit", "batch_size", "request_id") if name in given}
    return checked(wire.PredictionOptions, plain | _execution(given))


def checked(kind: type[Message], fields: Mapping[str, Any]) -> Message:
    """Build a message of the contract. Raises `ArgumentInvalid` with the first field that isn't allowed."""
    try:
        return kind(**fields)
    except ValidationError as fault:
        first = fault.errors(include_url=False, include_input=False)[0]
        place = "/".join(str(part) for part in first["loc"])
        raise ArgumentInvalid(f"{place}: {first['msg']}.") from None


def _execution(given: Mapping[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if "trace_level" in given:
        fields["trace_level"] = given["trace_level"]
    if "way" in given:
        fields["way"] = given["way"]
    if "deadline_s" in given:
        fields["timeout_in_ms"] = _milliseconds(given["deadline_s"])
    if "device" in given:
        fields["device_count"] = _device_count(given["device"])
    return {"execution_options": checked(wire.ExecutionOptions, fields)} if fields else {}


def _milliseconds(deadline_s: float) -> wire.Milliseconds:
    # On the wire, 0 means no deadline of the caller's own.
    if not deadline_s > 0:
        raise ArgumentInvalid(f"deadline_s: It is {deadline_s}, and must be more than 0.")
    return wire.Milliseconds(max(1, round(deadline_s * 1000)))


def _device_count(device: str) -> dict[str, int]:
    kind, _, index = device.upper().partition(":")
    if kind not in ("CPU", "GPU") or not (index or "0").isdecimal():
        raise ArgumentInvalid(f"device: It is {device!r}. Known ones: cpu, gpu, gpu:N.")
    return {kind: int(index or 0)}
