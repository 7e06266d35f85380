"""A real process and its signals: a stop loses nothing, and doesn't take for ever."""

import signal
import threading
import time
from pathlib import Path

import httpx2
import pytest

from tests.web.served import Process, process
from tests.web.servers import write_model

ARRIVED_S = 1.2
"""After this a request has reached the model, on a busy machine too."""

SLEEPY = """
import time
import torch

class Sleepy(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))

    def forward(self, values):
        time.sleep(4)
        return values * self.scale
"""


def repository(folder: Path, delay_s: float) -> Path:
    write_model(folder / "models", "sleepy", echo="sum", delay_s=delay_s)
    return folder / "models"


class Prediction(threading.Thread):
    """A request on its way; `answer` is there when it ended."""

    def __init__(self, served: Process, predictor: str) -> None:
        super().__init__()
        self.served = served
        self.body = {"predictor": {"id": predictor}, "tensors": [{"shape": [2], "data": [1, 2]}]}
        self.answer: httpx2.Response | None = None
        self.start()

    def run(self) -> None:
        try:
            self.answer = self.served.post("/api/predict/tensors", self.body)
        except httpx2.HTTPError:
            self.answer = None


def opened(served: Process) -> str:
    return str(served.post("/api/predict/open", {"model_name": "sleepy"}).json()["id"])


def check_drained(served: Process, number: int) -> None:
    predictor = opened(served)
    under_way = Prediction(served, predictor)
    time.sleep(ARRIVED_S)
    served.signal(number)
    time.sleep(0.3)
    for refused in (served.post("/api/predict/open", {}), served.get("/readyz")):
        assert refused.status_code == 503
        assert refused.headers["content-type"] == "application/problem+json"
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["type"] == "urn:stepscope:problem:shutting-down"
    under_way.join()
    assert under_way.answer is not None
    assert under_way.answer.status_code == 200
    assert "error" not in under_way.answer.json()["responses"][0]
    code, _, told, took_s = served.ended()
    assert (code, took_s < 5) == (0, True), told
    assert "Traceback" not in told
    with pytest.raises(httpx2.ConnectError):
        served.get("/livez")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_under_way_is_finished_and_new_requests_are_refused(tmp_path, contract, number):
    with process("--port", "0", "--models", str(repository(tmp_path, 4)), cwd=tmp_path) as served:
        check_drained(served, number)


def test_the_torch_server_stops_as_well(tmp_path):
    import safetensors.torch
    import torch

    folder = tmp_path / "models" / "sleepy" / "1.0.0"
    folder.mkdir(parents=True)
    (folder / "architecture.py").write_text(SLEEPY)
    safetensors.torch.save_file({"scale": torch.ones(1)}, folder / "weights.safetensors")
    (folder / "manifest.yaml").write_text(
        "name: sleepy\nversion: 1.0.0\nframework: {name: PyTorch, version: '>=2'}\n"
        "inputs: [{type: raw, parameters: {element_type: float32, dimensions: [2]}}]\noutput: {type: raw}\n"
        "model: {weights_path: weights.safetensors, format: safetensors, architecture: 'architecture.py:Sleepy'}\n"
    )
    with process("--port", "0", "--models", str(tmp_path / "models"), cwd=tmp_path, echo=False) as served:
        check_drained(served, signal.SIGTERM)


def test_an_idle_server_stops_soon(tmp_path):
    with process("--port", "0", cwd=tmp_path) as served:
        served.get("/livez")
        served.signal(signal.SIGTERM)
        code, _, told, took_s = served.ended()
    assert (code, took_s < 5) == (0, True), told


@pytest.mark.parametrize(
    ("first", "second"), [(signal.SIGTERM, signal.SIGTERM), (signal.SIGTERM, signal.SIGINT), (signal.SIGINT,) * 2]
)
def test_a_second_signal_stops_at_once(tmp_path, first, second):
    with process("--port", "0", "--models", str(repository(tmp_path, 20)), cwd=tmp_path) as served:
        under_way = Prediction(served, opened(served))
        time.sleep(ARRIVED_S)
        served.signal(first)
        time.sleep(0.7)
        served.signal(second)
        code, _, told, took_s = served.ended()
        under_way.join()
    assert took_s < 3, told
    assert code != 0  # it was no orderly end
    assert under_way.answer is None


def test_a_model_that_does_not_end_is_not_waited_for(tmp_path):
    environment = {"STEPSCOPE_SERVER__SHUTDOWN_S": "1"}
    models = str(repository(tmp_path, 20))
    with process("--port", "0", "--models", models, cwd=tmp_path, environment=environment) as served:
        under_way = Prediction(served, opened(served))
        time.sleep(ARRIVED_S)
        served.signal(signal.SIGTERM)
        code, _, told, took_s = served.ended()
        under_way.join()
    assert (code, took_s < 5) == (0, True), told
    assert "not finished" in told


def test_a_connection_that_only_listens_does_not_hold_the_stop_up(tmp_path):
    with process("--port", "0", cwd=tmp_path) as served, httpx2.Client() as client:
        assert client.get(served.address + "/livez").status_code == 200  # kept alive from here on
        served.signal(signal.SIGTERM)
        code, _, told, took_s = served.ended()
    assert (code, took_s < 5) == (0, True), told
