"""The one door of this wire: a verb, a path and a body to the bytes that answer them."""

import logging

from stepscope.core.errors import (
    BodyTooLarge,
    DeadlineExceeded,
    ModelUnavailable,
    Overloaded,
    ShuttingDown,
    StepscopeError,
    TooManyInputs,
    TooManyRequests,
)
from stepscope.dialects.mindspore import answers
from stepscope.dialects.mindspore.refusals import Kind, Refusal, cut
from stepscope.dialects.mindspore.requests import check_inputs, read_instances, read_json
from stepscope.dialects.mindspore.targets import Target, read_target
from stepscope.engine.servables import Servables

log = logging.getLogger("stepscope.mindspore")

ONLY_POST = "http message only support POST right now"


class Instances:
    """Answers requests. `wrap_integers` keeps the low 32 bits of integers that don't fit an int32."""

    def __init__(self, servables: Servables, *, wrap_integers: bool) -> None:
        self._servables = servables
        self._wrap = wrap_integers

    async def answer(self, path: str, body: bytes, owner: str) -> bytes:
        """Return the answer to a POST. Raises `Refusal`: the checks come in the order in which clients know them."""
        if not body:
            raise Refusal("http message invalid")
        document = read_json(body)
        target = read_target(path)
        instances = read_instances(document, wrap=self._wrap)
        served = self._servables.find(target.servable, target.version)
        if served is None:
            raise unavailable(target)
        method = served.servable.methods.get(target.method)
        if method is None:
            raise Refusal(cut(f"Request {target}, method is not available"), Kind.NOT_FOUND)
        try:
            ran = await self._servables.run(served, method, check_inputs(instances, method, target), owner)
        except StepscopeError as fault:
            raise refusal_of(fault, target) from fault
        return answers.write_outcomes(ran.outcomes)


def unavailable(target: Target) -> Refusal:
    """Return what is said of a servable or version that isn't there, or can't be loaded."""
    return Refusal(cut(f"Request {target}, servable is not available"), Kind.NOT_FOUND)


def too_large(fault: BodyTooLarge) -> Refusal:
    """Return what is said of a body beyond the limit."""
    return Refusal(f"http message is bigger than {fault.limit_bytes}", Kind.TOO_LARGE)


def refusal_of(fault: StepscopeError, target: Target) -> Refusal:
    """Return an error of the engine as this wire tells it."""
    if isinstance(fault, Overloaded | TooManyRequests | TooManyInputs):
        return Refusal(f"Serving Error: enqueued requests count exceeds the limit {fault.limit}", Kind.OVERLOADED)
    if isinstance(fault, ModelUnavailable):
        log.warning("%s: %s", target, fault)
        return unavailable(target)
    if isinstance(fault, ShuttingDown):
        return Refusal(str(unavailable(target)), Kind.STOPPING)
    if isinstance(fault, DeadlineExceeded):
        return Refusal("Time out", Kind.LATE)
    return Refusal(cut(f"Failed to construct the response: {fault}"), Kind.FAILED)
