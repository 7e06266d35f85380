"""Endpoints that name a model: their jobs run inside the server, on its own engine."""

from collections.abc import Sequence
from typing import Any

from stepscope.codecs.parameters import Write, input_name, read_inputs, write_outputs
from stepscope.core.jobs import Job
from stepscope.core.predictions import ModelRef, Options
from stepscope.dialects.aime.endpoints import Configuration, Endpoint
from stepscope.dialects.aime.records import kept_result, read_object, write_json
from stepscope.engine.engine import Engine
from stepscope.engine.jobs import Jobs
from stepscope.engine.parts import predict_in_parts
from stepscope.engine.runner import Runner, Tell
from stepscope.engine.shared_predictors import SharedPredictors

OWNER = "aime"
"""The predictors' owner: all clients of an endpoint share one."""
AT_ONCE = 16
"""Jobs of a job type that run side by side: the engine batches them."""


class ModelRuns:
    """Runs the jobs of endpoints with a model. `write` makes features what clients read."""

    def __init__(self, configuration: Configuration, engine: Engine, jobs: Jobs, write: Write) -> None:
        self._endpoints = {each.name: each for each in configuration.endpoints.values() if each.model is not None}
        self._engine = engine
        self._write = write
        self._predictors = SharedPredictors(engine)
        kinds = dict.fromkeys(each.kind for each in self._endpoints.values())
        self._runners: Sequence[Runner] = [Runner(jobs, kind, self._run, at_once=AT_ONCE) for kind in kinds]

    def start(self) -> None:
        """Begin to take jobs."""
        for runner in self._runners:
            runner.start()

    async def stop(self) -> None:
        """Put back what runs."""
        for runner in self._runners:
            await runner.stop()
        await self._predictors.stop()

    async def _run(self, job: Job, payload: bytes, tell: Tell) -> bytes:
        endpoint = self._endpoints[job.group]
        return kept_result(endpoint, await self._outputs(endpoint, read_object(payload), tell))

    async def _outputs(self, endpoint: Endpoint, values: dict[str, Any], tell: Tell) -> dict[str, Any]:
        run = endpoint.model
        assert run is not None, "only these are taken"

        def done(answered: int, total: int) -> None:
            percent = 100.0 * answered / total if total else 100.0
            tell(percent, write_json({"progress": percent, "progress_data": {}}))

        inputs = read_inputs(values.get(input_name(endpoint.input_descriptions, run.input)))
        async with self._predictors.lend(ModelRef(name=run.name, version=run.version), Options(), OWNER) as record:
            options = Options(feature_limit=run.feature_limit)
            prediction = await predict_in_parts(self._engine, record, inputs, options, done)
        outputs = write_outputs(prediction.answers, endpoint.outputs, self._write, run.output)
        return {**values, **outputs}  # an output that is named like a parameter comes back, as from any worker
