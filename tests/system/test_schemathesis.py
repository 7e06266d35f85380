"""Schemathesis over the whole contract: whatever is sent, the answer is one that the contract promises.

Answers are judged by all of its checks: no 5xx, status, type, headers and body as written down, invalid data and
wrong keys refused, valid data taken. `SCHEMATHESIS_EXAMPLES=500` looks further than a run of every day.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case, Response
from schemathesis.config import SchemathesisConfig

from stepscope.core.tuning import WAYS
from tests.system.live import KEY, Live

CONTRACT = Path(__file__).parents[2] / "generated" / "openapi.yaml"
EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "10"))
SETTINGS = settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

schema = schemathesis.openapi.from_path(
    CONTRACT, config=SchemathesisConfig.from_path(Path(__file__).with_name("schemathesis.toml"))
).exclude(tag=["mindspore", "aime"])  # wires with errors of their own
LINKED = (
    *("predictUrls", "predictImages", "predictTensors", "predictDataset", "resetPredictor", "closePredictor"),
    *("getTrace", "getChromeTrace", "getTraceSummary"),
    *("getJob", "streamJobEvents", "getJobResult", "cancelJob"),
)


class Known:
    """Puts the names of what there is where a request gives a name of its own, so that it gets beyond `404`."""

    def __init__(self, client: httpx2.Client) -> None:
        self._client = client

    def model(self, case: Case) -> None:
        names = {"model_name": "lenet", "model_version": "*", "framework_name": "PyTorch", "framework_version": "*"}
        for name, value in names.items():
            _put(case.body, name, value, longest=128)

    def job(self, case: Case) -> None:
        """Make a job's request whole: its inputs are those that its kind names, and the model one that there is."""
        if case.operation.definition.raw["operationId"] == "submitJob" and isinstance(case.body, dict):
            kind = str(case.body.get("kind"))
            for other in {"urls", "images", "tensors", "dataset", "predictor", "webhook"} - {kind}:
                case.body.pop(other, None)
            if kind not in case.body:
                case.body[kind] = {"category": "vision", "name": "digits"} if kind == "dataset" else []
            case.body["model"] = {"model_name": "lenet"}

    def way(self, case: Case) -> None:
        """Which ways there are depends on the device, and building one takes up to a minute."""
        options = case.body.get("options") if isinstance(case.body, Mapping) else None
        execution = options.get("execution_options") if isinstance(options, Mapping) else None
        if isinstance(execution, Mapping) and str(execution.get("way")) in WAYS:
            _put(execution, "way", "frozen", longest=64)

    def dataset(self, case: Case) -> None:
        if isinstance(case.body, dict):
            _put(case.body.get("dataset"), "category", "vision", longest=128)
            _put(case.body.get("dataset"), "name", "digits", longest=128)

    def predictor(self, case: Case) -> None:
        _put(case.query, "predictor_id", self._open(), longest=256)
        if isinstance(case.body, dict):
            _put(case.body.get("predictor", case.body), "id", self._open(), longest=256)

    def _open(self) -> str:
        return str(self._client.post("/api/predict/open", json={"model_name": "lenet"}).json()["id"])


def _put(holder: Any, name: str, value: str, longest: int) -> None:
    """Replace a valid text; what isn't one stays, because it has to be refused."""
    if isinstance(holder, Mapping) and isinstance(holder.get(name), str) and 1 <= len(holder[name]) <= longest:
        holder[name] = value  # type: ignore[index]


@pytest.fixture(scope="module")
def known(keyed: Live) -> Iterator[Known]:
    with keyed.client(KEY) as client:
        yield Known(client)


@schema.parametrize()
@SETTINGS
def test_operations_keep_the_contract(case: Case, keyed: Live, known: Known) -> None:
    known.predictor(case)
    known.dataset(case)
    known.way(case)
    answer = case.call_and_validate(base_url=keyed.url)
    assert answer.status_code != 504 or _timeout_ms(case) < 1000


def _timeout_ms(case: Case) -> float:
    body: Any = case.body
    return float(body["options"]["execution_options"]["timeout_in_ms"])


def test_links_lead_from_open_to_close(keyed: Live, known: Known) -> None:
    answers: Counter[tuple[str, int]] = Counter()
    closed: set[str] = set()

    class Life(schema.as_state_machine()):  # type: ignore[misc]
        def get_call_kwargs(self, case: Case) -> dict[str, Any]:
            return {"base_url": keyed.url}

        def before_call(self, case: Case) -> None:
            known.model(case)
            known.job(case)
            known.dataset(case)
            known.way(case)

        def after_call(self, response: Response, case: Case) -> None:
            operation = case.operation.definition.raw["operationId"]
            answers[operation, response.status_code] += 1
            used = _predictor(case)
            assert response.status_code != 200 or used not in closed, f"{operation} used a closed predictor"
            if (operation, response.status_code) == ("closePredictor", 200):
                closed.add(used)

    Life.run(settings=settings(SETTINGS, max_examples=6 * EXAMPLES, stateful_step_count=8, phases=[Phase.generate]))
    succeeded = {operation for operation, status in answers if status in (200, 202)}
    assert succeeded == {"openPredictor", "submitJob", *LINKED}


def _predictor(case: Case) -> str:
    body: Any = case.body
    named = body.get("predictor", body) if isinstance(body, dict) else {}
    return str(named.get("id")) if isinstance(named, dict) else ""
