"""Ways of running through a real server: pinned by `open`, shown by the registry, refused where they can't hold."""

import base64
import shutil
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from stepscope.settings import BUILTIN
from tests.system.conftest import SAMPLES
from tests.system.live import serving

Json = dict[str, Any]
IMAGES = [{"id": path.name, "data": base64.b64encode(path.read_bytes()).decode()} for path in SAMPLES]
LABELS = [path.stem.partition("label")[2] for path in SAMPLES]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """A client of a server with lenet, and with a second one that may differ from eager by next to nothing."""
    folder = tmp_path_factory.mktemp("execution")
    shutil.copytree(BUILTIN / "lenet", folder / "models" / "exact")
    manifest = folder / "models" / "exact" / "1.0.0" / "manifest.yaml"
    text = manifest.read_text().replace("name: lenet", "name: exact")
    manifest.write_text(text + "execution: {tolerance: 1.0e-9}\n")
    with (
        serving(folder, "--models", str(folder / "models"), environment={"STEPSCOPE_TUNING__BUDGET_S": "2"}) as live,
        live.client() as client,
    ):
        yield client


def open_in(client: httpx2.Client, way: str, model: str = "lenet") -> httpx2.Response:
    execution = {"way": way, "device_count": {"CPU": 0}}
    body = {"model_name": model, "options": {"execution_options": execution}}
    return client.post("/api/predict/open", json=body)


def opened(client: httpx2.Client, way: str, model: str = "lenet") -> str:
    answer = open_in(client, way, model)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def predicted(client: httpx2.Client, predictor: str) -> list[Json]:
    """Return the best feature of each digit."""
    answer = client.post("/api/predict/images", json={"predictor": {"id": predictor}, "images": IMAGES})
    return [response["features"][0] for response in answer.json()["responses"]]


def running(client: httpx2.Client, model: str = "lenet") -> list[Json]:
    query = {"model_name": model}
    (manifest,) = client.get("/api/registry/models/manifest", params=query).json()["manifests"]
    found: list[Json] = manifest.get("execution", [])
    return found


def close(client: httpx2.Client, predictor: str) -> Json:
    answer: Json = client.post("/api/predict/close", json={"id": predictor}).json()
    return answer


def test_pinned_ways_stand_beside_each_other_and_answer_alike(client: httpx2.Client) -> None:
    ways = ["channels_last", "eager", "frozen", "frozen_channels_last"]
    predictors = {way: opened(client, way) for way in ways}
    told = running(client)
    assert [each["choices"][0]["way"] for each in told] == ways
    assert {(each["device"], each["state"], each["origin"]) for each in told} == {("cpu", "ready", "pinned")}
    wanted = predicted(client, predictors["eager"])
    assert [feature["classification"]["label"] for feature in wanted] == LABELS
    for way in ways:
        given = predicted(client, predictors[way])
        assert [each["classification"] for each in given] == [each["classification"] for each in wanted], way
        assert [each["probability"] for each in given] == pytest.approx([w["probability"] for w in wanted], rel=1e-3)
    assert len(running(client)) == len(ways)
    assert all(close(client, predictor)["freed_bytes"] > 0 for predictor in predictors.values())
    assert running(client) == []


def test_auto_is_measured_and_the_table_is_shown(client: httpx2.Client) -> None:
    predictor = opened(client, "auto")
    deadline = time.monotonic() + 100
    while (told := running(client))[0]["state"] == "tuning":
        assert time.monotonic() < deadline
        assert predicted(client, predictor)
        time.sleep(0.2)
    (execution,) = told
    assert execution["origin"] == "measured"
    first, *others = execution["candidates"]
    assert (first["way"], first["error"], first["timings"][0]["speedup"]) == ("eager", 0, 1)
    assert {"frozen", "channels_last"} <= {each["way"] for each in others}
    chosen = {each["way"] for each in execution["candidates"] if each["verdict"] == "chosen"}
    assert chosen == {choice["way"] for choice in execution["choices"]}
    close(client, predictor)


@pytest.mark.parametrize(
    ("model", "way", "reason"),
    [
        ("lenet", "graphs", "it can't run graphs here: CUDA graphs need a CUDA device"),
        ("lenet", "tf32", "TF32 is a switch of the whole process"),
        ("exact", "bf16", "it can't run bf16 here: its answers differ by"),
    ],
)
def test_a_way_that_can_not_hold_is_refused(client: httpx2.Client, model: str, way: str, reason: str) -> None:
    answer = open_in(client, way, model)
    assert answer.status_code == 503
    assert answer.json()["type"] == "urn:stepscope:problem:model-unavailable"
    assert reason in answer.json()["detail"]
    assert running(client, model) == []
    assert close(client, opened(client, "eager", model))["freed_bytes"] > 0
