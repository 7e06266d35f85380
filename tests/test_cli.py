"""The command: its mistakes in one line, its log in one line a record, its keys."""

import re
import socket
import tomllib

import httpx2
import pytest
from click.testing import CliRunner

from stepscope.cli import main
from stepscope.web.auth import Authenticator
from tests.system.live import free_ports
from tests.web.served import process
from tests.web.servers import write_models


def failed(tmp_path, *arguments, **environment):
    with process(*arguments, cwd=tmp_path, environment=environment, wait=False) as served:
        code, out, told, _ = served.ended()
    assert code == 1, (out, told)
    assert out == ""
    assert len(told.strip().splitlines()) == 1, told
    assert told.startswith("Error: ")
    return told


def test_an_address_in_use_is_told(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = failed(tmp_path, "--port", str(port))
    assert f"127.0.0.1:{port} can't be listened on: Address already in use" in told


@pytest.mark.parametrize("host", ["no-such-host.invalid", "256.1.1.1", "a" * 100, "192.0.2.1"])
def test_an_address_that_is_not_here_is_told(tmp_path, host):
    assert "can't be listened on" in failed(tmp_path, "--host", host, "--insecure", "--port", "0")


def test_an_unknown_key_is_told_with_near_ones(tmp_path):
    (tmp_path / "own.toml").write_text("[server]\nprot = 1\n")
    assert "server.prot is unknown. Near ones: server.port" in failed(tmp_path, "--config", "own.toml")
    assert "STEPSCOPE_FETCH__ALLOW_HOSTS" in failed(tmp_path, STEPSCOPE_FETCH__ALLOW_HOST="a")


def test_a_wide_bind_without_keys_is_refused(tmp_path):
    assert "--insecure" in failed(tmp_path, "--host", "0.0.0.0", "--port", "0")


def test_a_wide_bind_is_allowed_explicitly(tmp_path):
    with process("--host", "0.0.0.0", "--port", "0", "--insecure", cwd=tmp_path) as served:
        address = served.address.replace("0.0.0.0", "127.0.0.1")
        assert httpx2.get(address + "/livez").status_code == 200


def test_a_model_repository_that_is_no_folder_is_told(tmp_path):
    assert "missing isn't a folder" in failed(tmp_path, "--models", "missing")


def test_the_log_of_a_process_is_one_line_a_record(tmp_path):
    folder = tmp_path / ("long" * 40)
    folder.mkdir()
    (folder / "bad").mkdir()
    (folder / "bad" / "1.0.0").mkdir()
    (folder / "bad" / "1.0.0" / "manifest.yaml").write_text("name: [1, 2\n")
    with process("--port", "0", "--log-level", "debug", "--models", str(folder), cwd=tmp_path) as served:
        assert served.get("/livez").status_code == 200
        served.signal(15)
        _, out, told, _ = served.ended()
    assert out == ""  # the one line was read before
    records = [
        line for line in told.splitlines() if re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ \S+: ", line)
    ]
    assert any(folder.name in record for record in records), told
    assert not re.search(r"^\S+ \S+ (DEBUG|TRACE) (uvicorn|asyncio|aiosqlite)", told, re.MULTILINE)


def test_a_key_is_made_with_its_line_for_the_file():
    result = CliRunner().invoke(main, ["key", 'ada "the first"'])
    assert result.exit_code == 0
    lines = [line.strip() for line in result.output.splitlines()]
    keys = tomllib.loads("\n".join(lines[lines.index("[auth.keys]") :]))["auth"]["keys"]
    assert Authenticator(keys).authenticate(f"Bearer {lines[1]}".encode()).name == 'ada "the first"'


def test_help_and_version_need_no_torch():
    for arguments in (["--help"], ["serve", "--help"], ["--version"]):
        assert CliRunner().invoke(main, arguments).exit_code == 0


def traced(served):
    options = {"execution_options": {"trace_level": "FRAMEWORK_TRACE"}}
    opened = served.post("/api/predict/open", {"model_name": "sum", "options": options}).json()
    tensors = [{"id": "mine", "data": [1.0], "shape": [1]}]
    answer = served.post("/api/predict/tensors", {"predictor": {"id": opened["id"]}, "tensors": tensors}).json()
    return answer["trace_id"]["id"]


def test_traces_are_served_on_a_second_port_and_drawn_without_a_server(tmp_path):
    folder, port = write_models(tmp_path / "models"), free_ports(1)[0]
    environment = {"STEPSCOPE_TRACES__JAEGER_PORT": str(port), "STEPSCOPE_MODELS__CACHE": str(tmp_path / "cache")}
    with process("--port", "0", "--models", str(folder), cwd=tmp_path, environment=environment) as served:
        trace_id = traced(served)
        found = httpx2.get(f"http://127.0.0.1:{port}/api/traces/{trace_id}", trust_env=False).json()
        assert found["data"][0]["traceID"] == trace_id
        # A second server finds the port taken, and goes on without it.
        with process("--port", "0", "--models", str(folder), cwd=tmp_path, environment=environment) as other:
            assert other.get(f"/api/traces/{trace_id}").status_code == 200
    environment["COLUMNS"] = "120"
    drawn = CliRunner().invoke(main, ["trace", trace_id], env=environment)
    assert drawn.exit_code == 0, drawn.output
    for shown in ("POST /api/predict/tensors", "  queue (mine)", "layer (Sum)", "\N{FULL BLOCK}"):
        assert shown in drawn.output, shown
    steps = CliRunner().invoke(main, ["trace", trace_id, "--level", "application"], env=environment)
    assert "queue" in steps.output
    assert "layer" not in steps.output


def test_what_cant_be_drawn_is_told(tmp_path):
    environment = {"STEPSCOPE_MODELS__CACHE": str(tmp_path)}
    missing = CliRunner().invoke(main, ["trace", "abc"], env=environment)
    assert missing.exit_code == 1
    assert "There is no trace 'abc' here" in missing.output
    assert CliRunner().invoke(main, ["trace", "abc", "--level", "x"], env=environment).exit_code == 2
    assert list(tmp_path.iterdir()) == []
