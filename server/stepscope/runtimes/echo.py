"""A runtime without a framework: small honest models whose answers are known, for tests and for trying a server out.

A manifest for framework `Echo` chooses by its attributes: `echo` is `inputs` (each input comes back) or `sum` (the
sum of all elements, shape (1,)); `delay_s` is slept in every batch; `fail` is `load`, `predict`, or `negative` (a
batch with a negative element fails). Any way of running may be pinned, and changes nothing.
"""

import time
from collections.abc import Sequence

import numpy as np
import psutil

from stepscope.core.errors import ModelUnavailable
from stepscope.core.frames import arrays_of
from stepscope.core.manifests import Manifest, TensorSpec
from stepscope.core.ports import Inputs, Outputs
from stepscope.core.predictions import DeviceRef, TraceLevel
from stepscope.core.rankings import Ranking, ranked
from stepscope.core.recording import BatchRecord
from stepscope.core.tuning import Choice, Execution


class EchoRuntime:
    """Loads models that answer what they are given."""

    framework_name = "Echo"
    framework_version = "1.0.0"

    def devices(self) -> Sequence[DeviceRef]:
        """List the CPU alone."""
        return [DeviceRef()]

    def load(self, manifest: Manifest, device: DeviceRef) -> "EchoModel":  # noqa: ARG002
        """Make a model as the manifest's attributes say. Raises `ModelUnavailable` when they ask for it."""
        if manifest.attributes.get("fail") == "load":
            raise ModelUnavailable(manifest.name, manifest.version, "its manifest asks for it")
        return EchoModel(manifest)

    def memory_bytes(self, device: DeviceRef) -> int:  # noqa: ARG002
        """Return the resident memory of this process."""
        return int(psutil.Process().memory_info().rss)

    def capacity_bytes(self, device: DeviceRef) -> int:  # noqa: ARG002
        """Bytes that models may take: as many as any test needs."""
        return 2**40


class EchoModel:
    """Answers its inputs or their sum; `batches` are the sizes of the batches it ran."""

    def __init__(self, manifest: Manifest) -> None:
        attributes = manifest.attributes
        self.size_bytes = int(attributes.get("size_bytes", "0"))
        self.execution = _execution(manifest.execution.way)
        self.inputs: Sequence[TensorSpec] = ()
        self.batches: list[int] = []
        self.closed = False
        self._adds = attributes.get("echo") == "sum"
        self._delay_s = float(attributes.get("delay_s", "0"))
        self._fail = attributes.get("fail", "")
        self._output = manifest.output

    def predict(self, batch: Sequence[Inputs]) -> Sequence[Outputs]:
        """Run a batch."""
        if self.closed:
            raise RuntimeError("the model was closed")
        self.batches.append(len(batch))
        time.sleep(self._delay_s)
        arrays = [arrays_of(inputs) for inputs in batch]
        if self._fails(arrays):
            raise RuntimeError("the model fails, as its manifest asks")
        return [self._answer(each) for each in arrays]

    def rank(self, batch: Sequence[Inputs], count: int) -> Sequence[Ranking]:
        """Take what a batch answers for the scores of classes."""
        scores = [outputs[self._output.probabilities_layer].reshape(-1) for outputs in self.predict(batch)]
        return ranked(np.stack(scores), count, softmax=self._output.softmax)

    def trace(
        self, batch: Sequence[Inputs], record: BatchRecord, count: int | None = None
    ) -> Sequence[Outputs] | Sequence[Ranking]:
        """Run a batch, and note it as a call into the model with one layer."""
        started = time.perf_counter()
        answers = self.predict(batch) if count is None else self.rank(batch, count)
        ended = time.perf_counter()
        place = record.mark("echo", TraceLevel.MODEL_TRACE, started, ended)
        tags = {"layer_sequence_index": "0", "layer_type": "Sum" if self._adds else "Identity"}
        record.mark("layer", TraceLevel.FRAMEWORK_TRACE, started, ended, place, tags)
        return answers

    def close(self) -> None:
        """Refuse to run from here on."""
        self.closed = True

    def _fails(self, batch: Sequence[Outputs]) -> bool:
        if self._fail == "negative":
            return any(bool(np.any(np.less(array, 0))) for inputs in batch for array in inputs)
        return self._fail == "predict"

    def _answer(self, inputs: Outputs) -> Outputs:
        if not self._adds:
            return inputs
        total = sum(float(np.asarray(array, dtype=np.float64).sum()) for array in inputs)
        return (np.asarray([total], dtype=np.float32),)


def _execution(way: str) -> Execution:
    if not way:
        return Execution()
    return Execution(choices=(Choice(way=way),), origin="pinned", note="the echo runs alike in every way")
