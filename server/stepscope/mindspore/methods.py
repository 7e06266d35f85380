"""Declaring methods. A method's body runs once, with placeholders, and wires stages; it never sees a value."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from stepscope.core.servables import FunctionDeclaration, Method, Source, Stage
from stepscope.mindspore.declarations import Declarations, MethodDeclarations, Placeholder, current
from stepscope.mindspore.models import Model

Body = Callable[..., Any]
NOT_POSITIONAL = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def argmax(scores: Any) -> np.int64:
    """Return the place of the largest number, as if the array were flat: the built-in stage `argmax_cpp`."""
    return np.int64(np.argmax(scores))


BUILT_IN = {"argmax_cpp": argmax}


def register_method(output_names: str | Sequence[str]) -> Callable[[Body], Body]:
    """Register the decorated function as a method, its parameters being the inputs' names. Raises `RuntimeError`."""
    outputs = _output_names(output_names)

    def register(body: Body) -> Body:
        declarations = current()
        name = body.__name__
        if name in declarations.methods:
            raise RuntimeError(f"Method {name} has been registered more than once.")
        inputs = _input_names(name, body)
        method = declarations.method = MethodDeclarations(name)
        try:
            given = [Placeholder(Source(0, place), method) for place in range(len(inputs))]
            sources = _returned(method, body(*given), outputs)
        finally:
            declarations.method = None
        declarations.methods[name] = Method(
            name=name,
            inputs=inputs,
            outputs=tuple(zip(outputs, sources, strict=True)),
            stages=tuple(method.stages),
        )
        return body

    return register


def add_stage(
    stage: Body | Model | str,
    *args: Placeholder,
    outputs_count: int,
    batch_size: int | None = None,
    tag: str | None = None,
) -> Any:
    """Add a stage to the method whose body runs: a function, a model, or `argmax_cpp`. Raises `RuntimeError`.

    Returns a placeholder, or a tuple of them where `outputs_count` is more than one. A function is called for each
    instance, or, with `batch_size`, for lists of at most so many, 0 meaning as many as the models take.
    """
    declarations = current()
    method = declarations.method
    if method is None:
        raise RuntimeError("add_stage should be invoked in the function wrapped by register_method")
    if not isinstance(outputs_count, int) or isinstance(outputs_count, bool) or outputs_count < 1:
        raise RuntimeError(f"Parameter 'outputs_count' should be int and 1 or more, but actually {outputs_count!r}")
    if tag is not None and (not isinstance(tag, str) or not tag):
        raise RuntimeError("Parameter 'tag' should be a str that isn't empty")
    sources = tuple([_source(method, arg) for arg in args])
    if isinstance(stage, Model):
        runs: Any = stage.declaration
    else:
        runs = _function(declarations, stage, len(args), outputs_count, batch_size)
    method.stages.append(Stage(runs=runs, inputs=sources, outputs_count=outputs_count, tag=tag or ""))
    outputs = [Placeholder(Source(len(method.stages), place), method) for place in range(outputs_count)]
    return outputs[0] if outputs_count == 1 else tuple(outputs)


def _function(
    declarations: Declarations, stage: Body | str, inputs_count: int, outputs_count: int, batch_size: int | None
) -> FunctionDeclaration:
    call, short = _callable(stage)
    if batch_size is not None and (not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 0):
        raise RuntimeError(f"Parameter 'batch_size' should be int and 0 or more, but actually {batch_size!r}")
    name = f"{declarations.servable}.{short}"
    before = declarations.functions.get(name)
    if before is not None and before[0].call is call:
        _check_again(name, before, (inputs_count, outputs_count, batch_size))
        if before[0].batch_size == batch_size:
            return before[0]
    expected = _arity(call)
    if batch_size is None and expected is not None and expected != inputs_count:
        raise RuntimeError(
            f"function {short} input args count {expected} not match the count {inputs_count} registered in method"
        )
    function = FunctionDeclaration(name=name, call=call, batch_size=batch_size)
    declarations.functions[name] = (function, inputs_count, outputs_count)
    return function


def _check_again(name: str, before: tuple[FunctionDeclaration, int, int], now: tuple[int, int, int | None]) -> None:
    """A function that is used twice keeps its counts, and stays with single instances or with lists."""
    function, inputs_count, outputs_count = before
    if (inputs_count, outputs_count) != now[:2]:
        was = f"{inputs_count} inputs and {outputs_count} outputs"
        raise RuntimeError(f"Stage function '{name}' was registered with {was}, and now with {now[0]} and {now[1]}")
    if (function.batch_size is None) != (now[2] is None):
        raise RuntimeError(
            f"Failed to add stage function {name}: parameter 'batch_size' in multiple 'add_stage' should be enabled or "
            "disabled consistently"
        )


def _callable(stage: Body | str) -> tuple[Body, str]:
    if isinstance(stage, str):
        if stage not in BUILT_IN:
            raise RuntimeError(f"There is no built-in function {stage!r}; there is {', '.join(BUILT_IN)}")
        return BUILT_IN[stage], stage
    if not callable(stage):
        raise RuntimeError(f"Parameter 'stage' should be a function or a Model, but actually {type(stage)}")
    return stage, getattr(stage, "__name__", type(stage).__name__)


def _arity(call: Body) -> int | None:
    """Return how many inputs a function takes; None when it takes any number, or doesn't say."""
    try:
        parameters = inspect.signature(call).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters):
        return None
    return len(parameters)


def _source(method: MethodDeclarations, arg: object) -> Source:
    if not isinstance(arg, Placeholder) or arg.method is not method:
        raise RuntimeError(
            "Each value of parameter *args is a placeholder for data and must come from the method inputs or the "
            f"outputs of add_stage, but actually {type(arg)}"
        )
    return arg.source


def _output_names(given: str | Sequence[str]) -> tuple[str, ...]:
    names = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, list | tuple) else ()
    if not names or not all(isinstance(name, str) and name for name in names) or len(set(names)) != len(names):
        raise RuntimeError("Parameter 'output_names' should be a str, or a list of distinct ones, none of them empty")
    return names


def _input_names(method: str, body: Body) -> tuple[str, ...]:
    names = []
    for name, parameter in inspect.signature(body).parameters.items():
        if parameter.kind in NOT_POSITIONAL:
            raise RuntimeError(f"'{method}' input {name} cannot be {parameter.kind.name} !")
        names.append(name)
    return tuple(names)


def _returned(method: MethodDeclarations, returned: object, outputs: Sequence[str]) -> list[Source]:
    items = list(returned) if isinstance(returned, tuple | list) else [returned]
    if len(items) != len(outputs):
        raise RuntimeError(f"Method return output size {len(items)} not match registered {len(outputs)}")
    return [_source(method, item) for item in items]
