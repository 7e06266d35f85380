"""Counters for Prometheus, in its text format."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from stepscope.core.ports import ReadCounts

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _Counts(Collector):
    def __init__(self, read: ReadCounts) -> None:
        self._read = read

    def collect(self) -> Iterator[CounterMetricFamily]:
        for name, (description, value) in self._read().items():
            yield CounterMetricFamily(name, description, value=value)


def metrics(read: ReadCounts) -> bytes:
    """Return the counters as they are now."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Counts(read))
    return generate_latest(registry)
