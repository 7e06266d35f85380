"""The one door of this wire: a verb, a path and a body to the bytes that answer them."""

import logging
import time

from stepscope.core.access import RequestContext
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
from stepscope.core.ports import Begin
from stepscope.core.recording import Recorder
from stepscope.core.steps import NAMES, Step
from stepscope.dialects.mindspore import answers
from stepscope.dialects.mindspore.refusals import Kind, Refusal, cut
from stepscope.dialects.mindspore.requests import check_inputs, read_instances, read_json
from stepscope.dialects.mindspore.targets import Target, read_target
from stepscope.engine.servables import Caller, Servables

log = logging.getLogger("stepscope.mindspore")

ONLY_POST = "http message only support POST right now"


class Instances:
    """Answers requests. `wrap_integers` keeps the low 32 bits of integers that don't fit an int32."""

    def __init__(self, servables: Servables, begin: Begin, *, wrap_integers: bool) -> None:
        self._servables = servables
        self._begin = begin
        self._wrap = wrap_integers

    async def answer(self, context: RequestContext, path: str, body: bytes) -> bytes:
        """Return the answer to a POST. Raises `Refusal`: the checks come in the order in which clients know them."""
        came = time.perf_counter()
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
        inputs = check_inputs(instances, method, target)
        recorder = self._trace(context, target, served.version.number)
        if recorder is not None:
            recorder.note(NAMES[Step.DECODE], came, time.perf_counter())
        try:
            caller = Caller(owner=context.principal.name, recorder=recorder)
            outcomes = await self._servables.run(served, method, inputs, caller)
        except StepscopeError as fault:
            raise refusal_of(fault, target) from fault
        return answers.write_outcomes(outcomes)

    def _trace(self, context: RequestContext, target: Target, version: int) -> Recorder | None:
        """Begin to trace a request, if it is one of the samples: this wire has no word for a level."""
        recorder = self._begin(context.trace, None, context.principal.name, context.started)
        if recorder is not None:
            recorder.tags["request_id"] = context.request_id
            recorder.tags |= {"servable": target.servable, "version": version, "method": target.method}
            context.recorder = recorder
        return recorder


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
