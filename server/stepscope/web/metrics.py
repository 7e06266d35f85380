"""Counters for Prometheus, in its text format."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from stepscope.core.ports import Counts, ReadCounts
from stepscope.web.tallies import Tallies

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """What is counted here, and by the other processes where there are some: those carry the label `process`."""

    def __init__(self, read: ReadCounts, tallies: Tallies | None = None) -> None:
        self._read = read
        self._tallies = tallies

    def publish(self) -> None:
        """Tell the other processes what was counted here."""
        if self._tallies is not None:
            self._tallies.put(self._read())

    def render(self) -> bytes:
        """Return the counters as they are now."""
        registry = CollectorRegistry(auto_describe=False)
        if self._tallies is None:
            registry.register(_Counts({"": self._read()}))
        else:
            self.publish()
            registry.register(_Counts(self._tallies.read()))
        return generate_latest(registry)


class _Counts(Collector):
    def __init__(self, counts: dict[str, Counts]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[CounterMetricFamily]:
        families: dict[str, CounterMetricFamily] = {}
        for process, counts in self._counts.items():
            labels = ["process"] if process else []
            for name, (description, value) in counts.items():
                family = families.setdefault(name, CounterMetricFamily(name, description, labels=labels))
                family.add_metric([process] if process else [], value)
        yield from families.values()
