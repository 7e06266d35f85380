"""A prediction as the native wire answers it, whether its request waited for it or it was a job."""

from dataclasses import dataclass

import msgspec

from stepscope.core.lifecycle import PredictorRecord
from stepscope.core.predictions import Prediction, Summary
from stepscope.dialects.mlmodelscope import tensors
from stepscope.dialects.mlmodelscope import wire as convert
from stepscope_api import models as wire


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer repeats of its request."""

    trace_id: str
    request_id: str
    failures: tensors.Failures = ()
    """Answers of inputs that never got to the engine."""


@dataclass(frozen=True, slots=True)
class Responses:
    """Writes answers, with the versions of the server and the contract."""

    server: str
    contract: str

    def features(
        self, record: PredictorRecord, prediction: Prediction, asked: Asked, summary: Summary | None = None
    ) -> wire.FeaturesResponse:
        """Return an answer for each input."""
        response = wire.FeaturesResponse(
            id=record.id,
            trace_id=wire.TraceId(id=asked.trace_id),
            responses=convert.write_answers(tensors.merged(prediction.answers, asked.failures), asked.request_id),
            duration=convert.write_duration(prediction.duration_s),
            duration_for_inference=convert.write_duration(prediction.inference_s),
            device=prediction.device,
            versions=self.versions(
                prediction.framework_name,
                prediction.framework_version,
                prediction.model_name,
                prediction.model_version,
            ),
            steps=convert.write_steps(prediction),
        )
        if summary is not None:
            response.summary = convert.write_summary(summary)
        return response

    def versions(self, framework: str, framework_version: str, model: str, model_version: str) -> wire.Versions:
        """Return what an answer was made with."""
        return wire.Versions(
            server=self.server,
            contract=self.contract,
            framework=f"{framework} {framework_version}",
            model=f"{model} {model_version}",
        )
