"""One job of a worker: its parameters to a model's inputs, the answers to its outputs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stepscope.codecs.parameters import Described, Write, input_name, read_inputs, write_outputs
from stepscope.core.errors import StepscopeError
from stepscope.core.lifecycle import PredictorRecord
from stepscope.core.predictions import ModelRef, Options
from stepscope.engine.catalog import Catalog
from stepscope.engine.engine import Engine
from stepscope.engine.fetch import Fetcher
from stepscope.engine.parts import predict_in_parts

OWNER = "worker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which model a worker runs, and what of a job goes into it and comes out. Empty names leave the choice open."""

    model: ModelRef
    input: str = ""
    output: str = ""
    feature_limit: int = 10


class Predictions:
    """Runs jobs on one model. An async context manager: the model is loaded before the first job is asked for."""

    def __init__(self, engine: Engine, catalog: Catalog, fetcher: Fetcher, asked: Asked, write: Write) -> None:
        self._engine = engine
        self._catalog = catalog
        self._fetcher = fetcher
        self._asked = asked
        self._write = write
        self._record: PredictorRecord | None = None

    async def __aenter__(self) -> "Predictions":
        """Load the model. Raises `ModelNotFound`, `ModelUnavailable`."""
        self._catalog.scan()
        await self._fetcher.start()
        await self._engine.start()
        try:
            self._record, _ = await self._engine.open(self._asked.model, Options(), OWNER)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._engine.stop()
        await self._fetcher.close()

    @property
    def model(self) -> str:
        """The model that was chosen, by name and version."""
        return f"{self._opened.model_name} {self._opened.model_version}"

    def facts(self) -> dict[str, Any]:
        """Return what the server lists of this worker."""
        runtime = self._engine.runtime
        return {
            "gpu_name": "" if self._opened.device.kind == "cpu" else str(self._opened.device),
            "num_gpus": 1,
            "model_label": self.model,
            "framework": runtime.framework_name,
            "framework_version": runtime.framework_version,
        }

    async def run(
        self, parameters: dict[str, Any], inputs: Described, outputs: Described, tell: Callable[[float], None]
    ) -> dict[str, Any]:
        """Return a job's outputs; what it can't do is told in `error`."""
        try:
            value = parameters.get(input_name(inputs, self._asked.input))
            options = Options(feature_limit=self._asked.feature_limit)
            prediction = await predict_in_parts(
                self._engine,
                self._opened,
                read_inputs(value),
                options,
                lambda done, total: tell(100.0 * done / total if total else 100.0),
            )
        except StepscopeError as fault:
            return {"error": str(fault)}
        return write_outputs(prediction.answers, outputs, self._write, self._asked.output)

    @property
    def _opened(self) -> PredictorRecord:
        assert self._record is not None, "used within `async with`"
        return self._record
