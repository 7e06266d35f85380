"""Several server processes on one port, over one store: real processes, real signals."""

import contextlib
import http.client
import json
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.system.live import serving
from tests.web.served import Process, process
from tests.web.servers import write_model, write_models
from tests.web.test_shutdown import ARRIVED_S

SEEN_S = 2.0
"""How soon a close must be seen by the other processes, on a busy machine too."""


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request, tmp_path) -> dict[str, str]:
    """The environment that names a store."""
    if request.param == "sqlite":
        return {}
    return {"STEPSCOPE_STORE__URL": request.getfixturevalue("postgresql").new()}


def two(folder: Path, environment: dict[str, str] | None = None, *more: str) -> Any:
    models = folder / "models"
    if not (models / "sum").exists():
        write_models(models)
    arguments = ("--port", "0", "--processes", "2", "--models", str(models), *more)
    return process(*arguments, cwd=folder, environment={"STEPSCOPE_TRACES__JAEGER_PORT": "0", **(environment or {})})


def opened(served: Process, model: str = "sum") -> str:
    answer = served.post("/api/predict/open", {"model_name": model})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def predicted(served: Process, predictor: str) -> int:
    """Predict over a connection of its own, and return the status. Raises `OSError`, `HTTPException`."""
    body = {"predictor": {"id": predictor}, "tensors": [{"shape": [2], "data": [1, 2]}]}
    with contextlib.closing(http.client.HTTPConnection(served.address.partition("//")[2], timeout=60)) as connection:
        connection.request("POST", "/api/predict/tensors", json.dumps(body), {"content-type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        return answer.status


def answered(served: Process) -> dict[str, float]:
    """Return how many requests each process answered."""
    return {
        process: float(count)
        for process, count in re.findall(
            r'^stepscope_requests_total\{process="(\d)"\} (\S+)', served.get("/metrics").text, re.MULTILINE
        )
    }


def until(condition: Callable[[], bool], limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def by_both(served: Process, ask: Callable[[], int]) -> Counter[int]:
    """Ask, many at a time, until both processes have answered a good part; return the statuses."""
    statuses: Counter[int] = Counter()
    before = answered(served)

    def ask_on() -> None:
        for _ in range(20):
            statuses[ask()] += 1

    def both() -> bool:
        threads = [threading.Thread(target=ask_on) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        time.sleep(1.1)  # the other one's count is up to a second old
        return all(count - before.get(process, 0) >= 20 for process, count in answered(served).items())

    until(both, 60)
    return statuses


def children(served: Process) -> list[psutil.Process]:
    return psutil.Process(served.process.pid).children()


def test_any_process_serves_any_predictor_until_one_closes_it(tmp_path, contract, store):
    with two(tmp_path, store) as served:
        predictor = opened(served)
        assert set(by_both(served, lambda: predicted(served, predictor))) == {200}
        assert set(answered(served)) == {"0", "1"}
        closed = served.post("/api/predict/close", {"predictor": {"id": predictor}})
        assert closed.status_code == 200
        time.sleep(SEEN_S)
        assert set(by_both(served, lambda: predicted(served, predictor))) == {404}
        again = served.post("/api/predict/close", {"predictor": {"id": predictor}})
        assert again.json()["type"] == "urn:stepscope:problem:predictor-not-found"
        served.signal(signal.SIGTERM)
        code, out, told, _ = served.ended()
    assert (code, out) == (0, "")  # the one line was read before
    assert "Traceback" not in told


def test_when_one_is_killed_under_load_the_other_answers_and_it_comes_back(tmp_path, contract):
    with two(tmp_path) as served:
        predictor = opened(served)
        by_both(served, lambda: predicted(served, predictor))
        statuses: Counter[Any] = Counter()
        over = threading.Event()

        def load() -> None:
            while not over.is_set():
                try:
                    statuses[predicted(served, predictor)] += 1
                except (OSError, http.client.HTTPException) as fault:
                    statuses[type(fault).__name__] += 1

        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        victim = children(served)[0]
        victim.kill()
        time.sleep(0.3)
        during = statuses[200]
        until(lambda: len(children(served)) == 2 and victim.pid not in [c.pid for c in children(served)], 10)
        over.set()
        for thread in threads:
            thread.join()
        assert statuses[200] > during > 0
        broken = sum(count for status, count in statuses.items() if status != 200)
        assert broken <= len(threads), statuses  # those that the killed one was answering
        assert set(by_both(served, lambda: predicted(served, predictor))) == {200}
        served.signal(signal.SIGTERM)
        code, _, told, _ = served.ended()
    assert code == 0
    assert "ended with -9; it is started again in 0.5 s" in told


def test_predictors_outlive_a_kill(tmp_path, contract, store):
    with two(tmp_path, store) as served:
        predictor = opened(served)
        assert predicted(served, predictor) == 200
        left = children(served)
        served.process.kill()
        served.process.wait()
        gone, _ = psutil.wait_procs(left, 15)  # they see that the parent is gone
        assert len(gone) == 2
    with two(tmp_path, store) as served:
        assert predicted(served, predictor) == 200


def test_a_stop_finishes_what_is_under_way(tmp_path, contract):
    write_model(tmp_path / "models", "sleepy", echo="sum", delay_s=4)
    with two(tmp_path) as served:
        predictor = opened(served, "sleepy")
        answers: list[int] = []
        threads = [threading.Thread(target=lambda: answers.append(predicted(served, predictor))) for _ in range(6)]
        for thread in threads:
            thread.start()
        time.sleep(ARRIVED_S)
        served.signal(signal.SIGINT)
        for thread in threads:
            thread.join()
        code, _, told, took_s = served.ended()
    assert (code, took_s < 10) == (0, True), told
    assert answers == [200] * 6


def test_a_second_signal_stops_at_once(tmp_path, contract):
    write_model(tmp_path / "models", "sleepy", echo="sum", delay_s=20)
    with two(tmp_path) as served:
        predictor = opened(served, "sleepy")
        thread = threading.Thread(target=is_cut_off, args=(served, predictor))
        thread.start()
        time.sleep(ARRIVED_S)
        served.signal(signal.SIGTERM)
        time.sleep(0.7)
        served.signal(signal.SIGTERM)
        code, _, told, took_s = served.ended()
        thread.join()
    assert (code != 0, took_s < 5) == (True, True), told


def is_cut_off(served: Process, predictor: str) -> None:
    with pytest.raises((OSError, http.client.HTTPException)):
        predicted(served, predictor)


def test_when_children_cant_start_the_parent_fails(tmp_path, contract):
    broken = (
        "import sys\nfrom stepscope import cli\nfrom stepscope.app import server\n"
        "def build(settings, **more): raise RuntimeError('it must not start')\n"
        "server.build = build\ncli.main()\n"
    )
    import tests.web.served as harness

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(harness, "ECHO", broken)
        with process("--port", "0", "--processes", "2", cwd=tmp_path, wait=False) as served:
            code, out, told, _ = served.ended(60)
    assert (code, out) == (1, "")
    assert "it must not start" in told
    assert "before it was ready" in told


def test_memory_can_not_be_shared(tmp_path):
    environment = {"STEPSCOPE_STORE__URL": "memory:"}
    with process("--processes", "2", "--port", "0", cwd=tmp_path, environment=environment, wait=False) as served:
        code, _, told, _ = served.ended()
    assert code == 1
    assert "Several processes need a store that they can share" in told


def test_a_trace_is_found_whichever_process_is_asked(tmp_path, contract):
    with two(tmp_path) as served:
        options = {"execution_options": {"trace_level": "STEP_TRACE"}}
        predictor = served.post("/api/predict/open", {"model_name": "sum"}).json()["id"]
        body = {"predictor": {"id": predictor}, "tensors": [{"shape": [1], "data": [1]}], "options": options}
        for _ in range(12):
            trace_id = served.post("/api/predict/tensors", body).json()["trace_id"]["id"]
            assert served.get(f"/api/traces/{trace_id}").status_code == 200


def test_while_the_database_is_away_known_predictors_work_and_nothing_is_lost(tmp_path, contract, own_postgresql):
    environment = {"STEPSCOPE_STORE__URL": own_postgresql.new()}
    with two(tmp_path, environment) as served:
        predictor = opened(served)
        by_both(served, lambda: predicted(served, predictor))
        own_postgresql.stop()
        time.sleep(1)
        assert set(by_both(served, lambda: predicted(served, predictor))) == {200}
        refused = served.post("/api/predict/open", {"model_name": "sum"})
        assert refused.status_code == 503
        assert refused.json()["type"] == "urn:stepscope:problem:store-unavailable"
        assert int(refused.headers["retry-after"]) >= 1
        assert predicted(served, "00000000-0000-0000-0000-000000000000") == 503
        own_postgresql.start()
        until(lambda: served.post("/api/predict/open", {"model_name": "sum"}).status_code == 200, 15)
        time.sleep(1.5)
        assert set(by_both(served, lambda: predicted(served, predictor))) == {200}


@pytest.mark.slow
def test_the_torch_server_runs_in_two_processes(tmp_path):
    with serving(tmp_path, "--processes", "2") as live, live.client() as client:
        predictor = client.post("/api/predict/open", json={"model_name": "lenet"}).json()["id"]
        body = {"predictor": {"id": predictor}, "tensors": [{"shape": [1, 28, 28], "data": [0.0] * 784}]}
        for _ in range(8):
            with live.client() as other:
                assert other.post("/api/predict/tensors", json=body).status_code == 200
        assert client.post("/api/predict/close", json={"predictor": {"id": predictor}}).status_code == 200
        assert (tmp_path / "cache" / "store.sqlite").exists()
