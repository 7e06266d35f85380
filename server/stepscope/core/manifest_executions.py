"""The `execution` of a manifest: in which way the model runs, and how far its answers may be from eager fp32."""

from stepscope.core.manifest_nodes import Node
from stepscope.core.manifests import ExecutionSpec
from stepscope.core.tuning import WAYS

_KEYS = ("way", "threads", "tolerance", "compile")
_MOST_THREADS = 1024


def execution_spec(root: Node) -> ExecutionSpec:
    """Read the entry `execution`. Raises `ManifestInvalid`."""
    node = root.node("execution", _KEYS)
    return ExecutionSpec(
        way=node.choice("way", ("", "auto", *WAYS), "").removeprefix("auto"),
        threads=_threads(node),
        tolerance=_tolerance(node),
        compile=node.flag("compile") if node.values.get("compile") is not None else None,
    )


def _threads(node: Node) -> int | None:
    value = node.values.get("threads")
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MOST_THREADS):
        raise node.invalid("threads", f"must be a number of threads, 1 to {_MOST_THREADS}")
    return value


def _tolerance(node: Node) -> float | None:
    if node.values.get("tolerance") is None:
        return None
    numbers = node.numbers("tolerance", 0.0)
    if len(numbers) != 1 or not 0.0 <= numbers[0] < 1.0:
        raise node.invalid("tolerance", "must be a relative difference, 0 or more and below 1")
    return numbers[0]
