"""Schemathesis over the whole contract: whatever is sent, the answer is one that the contract promises.

Answers are judged by all of its checks: no 5xx, status, type, headers and body as written down, invalid data and
wrong keys refused, valid data taken. `SCHEMATHESIS_EXAMPLES=500` looks further than a run of every day.
"""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case, Response
from schemathesis.config import SchemathesisConfig

from tests.system.live import KEY, Live

CONTRACT = Path(__file__).parents[2] / "generated" / "openapi.yaml"
EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "15"))
SETTINGS = settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

schema = schemathesis.openapi.from_path(
    CONTRACT, config=SchemathesisConfig.from_path(Path(__file__).with_name("schemathesis.toml"))
)
Json = dict[str, Any]


class Predictors:
    """Puts the id of an open predictor where a request names one, so that requests get beyond `404`."""

    def __init__(self, client: httpx2.Client) -> None:
        self._client = client

    def put_into(self, case: Case) -> None:
        for holder, name in _places(case):
            if 1 <= len(holder[name]) <= 256:
                holder[name] = self._open()

    def _open(self) -> str:
        answer = self._client.post("/api/predict/open", json={"model_name": "lenet"})
        return str(answer.json()["id"])


def _places(case: Case) -> Iterator[tuple[Json, str]]:
    body: Any = case.body
    for holder, name in ((body, "id"), (body, "predictor"), (case.query, "predictor_id")):
        if isinstance(holder, dict) and isinstance(holder.get(name), dict):
            holder, name = holder[name], "id"
        if isinstance(holder, dict) and isinstance(holder.get(name), str):
            yield holder, name


@pytest.fixture(scope="module")
def predictors(keyed: Live) -> Iterator[Predictors]:
    with keyed.client(KEY) as client:
        yield Predictors(client)


@schema.parametrize()
@SETTINGS
def test_operations_keep_the_contract(case: Case, keyed: Live, predictors: Predictors) -> None:
    predictors.put_into(case)
    answer = case.call_and_validate(base_url=keyed.url)
    assert answer.status_code != 504 or _timeout_ms(case) < 1000


def _timeout_ms(case: Case) -> float:
    return float(case.body["options"]["execution_options"]["timeout_in_ms"])


def test_links_lead_from_open_to_close(keyed: Live) -> None:
    answers: Counter[tuple[str, int]] = Counter()

    class Life(schema.include(tag="predict").as_state_machine()):  # type: ignore[misc]
        def get_call_kwargs(self, case: Case) -> dict[str, Any]:
            return {"base_url": keyed.url}

        def after_call(self, response: Response, case: Case) -> None:
            answers[(case.operation.definition.raw["operationId"], response.status_code)] += 1

    Life.run(settings=settings(SETTINGS, max_examples=3 * EXAMPLES, stateful_step_count=8, phases=[Phase.generate]))
    linked = ("Urls", "Images", "Tensors", "Dataset")
    print(answers)
    succeeded = {operation for operation, status in answers if status == 200}
    assert succeeded == {"openPredictor", *(f"predict{kind}" for kind in linked), "resetPredictor", "closePredictor"}
    assert answers["closePredictor", 200] <= answers["openPredictor", 200]
