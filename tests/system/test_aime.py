"""The aime wire on the command itself: what outlives a server, several processes, and the endpoints that ship."""

import base64
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stepscope.settings import BUILTIN
from tests.system.live import Live, free_ports, serving
from tests.web.aime_peers import PythonClient, Worker, Working, echo, get
from tests.web.aime_served import FILES, SERVER, write
from tests.web.served import process

ROOT = Path(__file__).parents[2]


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """Options of a server whose store is a file, on a port that stays the same."""
    config = tmp_path / "stepscope.toml"
    config.write_text(f'[aime]\nserver_config = "{write(tmp_path, FILES, SERVER)}"\n[traces]\njaeger_port = 0\n')
    return ["--port", str(free_ports(1)[0]), "--config", str(config), "--endpoints", str(tmp_path / "endpoints")]


def test_what_was_acknowledged_outlives_a_server_that_is_killed(tmp_path: Path, options: list[str]) -> None:
    """S1: jobs, results, sessions; and a worker goes on with what it has in hand."""
    with process(*options, cwd=tmp_path) as first:
        client, worker = PythonClient(first.address), Worker(first.address)
        session = client.login()["client_session_auth_key"]
        done, held, waiting = (client.start(text=text) for text in ("done", "held", "waiting"))
        [job] = worker.take()
        worker.finish(job, text="done!")
        [in_hand] = worker.take()
        first.signal(signal.SIGKILL)
        first.ended()
    with process(*options, cwd=tmp_path) as second:
        assert second.address == first.address
        assert client.poll(done)["job_result"]["text"] == "done!"
        assert client.poll(held)["job_state"] == "processing"
        assert client.poll(waiting)["job_state"] == "queued"
        worker.finish(in_hand, text="held!")
        assert client.poll(held)["job_result"]["text"] == "held!"
        with Working(worker, echo):
            assert client.follow(waiting)[-1]["job_result"]["text"] == "waiting!"
            client.key, client.session = None, session
            assert client.request(text="again")["text"] == "again!"


def test_what_a_killed_server_gave_out_is_given_again_to_a_worker_that_has_nothing(tmp_path, options) -> None:
    """Otherwise a job whose worker never got it waits until the worker has been silent for minutes."""
    with process(*options, cwd=tmp_path) as first:
        client, worker = PythonClient(first.address), Worker(first.address)
        lost = client.start(text="lost")
        worker.take()
        busy = Worker(first.address, name="busy")
        held = client.start(text="held")
        [in_hand] = busy.take()
        busy.report(in_hand, 10, None)
        first.signal(signal.SIGKILL)
        first.ended()
    with process(*options, cwd=tmp_path) as second:
        assert busy.ask(request_timeout=1) == []
        [job] = worker.take()
        assert job["job_id"] == lost
        worker.finish(job, text="found")
        assert client.poll(lost)["job_result"]["text"] == "found"
        assert client.poll(held)["job_state"] == "processing", "its worker was heard of"
        assert second.address == first.address


def test_any_of_several_processes_serves_any_job(tmp_path: Path, options: list[str]) -> None:
    """S31."""
    with process(*options, "--processes", "2", cwd=tmp_path) as server:
        client = PythonClient(server.address)
        session = client.login()["client_session_auth_key"]
        with Working(Worker(server.address), echo):
            for number in range(20):
                told = client.follow(client.start(text=str(number)))[-1]
                assert told["job_result"]["text"] == f"{number}!"
                assert client.request(text="x")["text"] == "x!"
            client.key, client.session = None, session
            for _ in range(10):
                assert client.request(text="x")["text"] == "x!"


def test_a_stop_ends_long_waits_of_workers(tmp_path: Path, options: list[str]) -> None:
    with process(*options, cwd=tmp_path) as server, ThreadPoolExecutor() as pool:
        worker = Worker(server.address)
        body = {"auth": worker.name, "job_type": worker.job_type, "auth_key": worker.key, "request_timeout": 60}
        waiting = pool.submit(worker.post, "/worker_job_request", body)
        while not get(f"{server.address}/api/echo").json()["workers"]:
            pass
        server.signal(signal.SIGTERM)
        assert waiting.result().status_code == 503
        code, _, _, _ = server.ended()
    assert code == 0


def test_a_wrong_file_ends_the_start_with_its_name(tmp_path: Path) -> None:
    write(tmp_path, {"echo": '[ENDPOINT]\nname = "e"\n'})
    with process("--endpoints", str(tmp_path / "endpoints"), cwd=tmp_path, wait=False) as server:
        code, _, err, _ = server.ended()
    assert code == 1
    assert re.search(r"aime_api_endpoint\.cfg: WORKER\.job_type is missing", err)


def test_the_servers_file_gives_the_port(tmp_path: Path) -> None:
    [port] = free_ports(1)
    file = write(tmp_path, FILES, SERVER.replace("port = 7777", f"port = {port}"))
    (tmp_path / "stepscope.toml").write_text(f'[aime]\nserver_config = "{file}"\nendpoints = ["endpoints"]\n')
    with process(cwd=tmp_path) as server:
        assert server.address == f"http://127.0.0.1:{port}"  # 0.0.0.0 needs keys
        assert get(f"{server.address}/api/endpoints").json()["endpoints"] == ["chat", "echo", "old_chat", "plain"]


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("shipped")
    config = folder / "stepscope.toml"
    config.write_text(f'[aime]\nserver_config = "{ROOT / "examples" / "aime" / "aime_api_server.cfg"}"\n')
    with serving(folder, "--config", str(config)) as live:
        yield live


def test_a_model_answers_inside_the_server(shipped: Live) -> None:
    client = PythonClient(shipped.url, "lenet", "change-me-client")
    sample = sorted((BUILTIN / "lenet" / "samples").glob("*.png"))[0]
    image = f"data:image/png;base64,{base64.b64encode(sample.read_bytes()).decode()}"
    told = client.request(image=image)
    assert told["label"] == sample.stem[-1]
    assert told["features"][0]["probability"] == told["probability"] > 0.5
    assert len(told["features"]) == 3
    assert client.follow(client.start(image=image))[-1]["job_result"]["label"] == sample.stem[-1]
    assert client.details()["num_active_workers"] == 1


def test_the_other_endpoint_that_ships_waits_for_its_worker(shipped: Live) -> None:
    with Working(Worker(shipped.url, "echo_jobs", "change-me-worker"), echo):
        assert PythonClient(shipped.url, "echo", "change-me-client").request(text="x")["text"] == "x!"
