"""A start script as its users have it, but for one import, in a process of its own."""

import base64
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager

import httpx2
import pytest
import torch

from stepscope.settings import BUILTIN
from tests.system.conftest import SAMPLES
from tests.system.live import START_S, STOP_S
from tests.web.certificates import Authority, curl

SCRIPT = """
import os
import sys
from stepscope.mindspore import server


def start():
    servable_dir = os.path.dirname(os.path.realpath(sys.argv[0]))
    servable_config = server.ServableStartConfig(servable_directory=servable_dir, servable_name="add",
                                                 device_ids=(0, 1))
    server.start_servables(servable_configs=servable_config)
    {listen}


if __name__ == "__main__":
    start()
"""
CONFIGURATION = """
import numpy as np
from stepscope.mindspore import register

model = register.declare_model(model_file="add.pt2", model_format="torch_export")


def add_trans_datatype(x1, x2):
    return x1.astype(np.float32), x2.astype(np.float32)


@register.register_method(output_names=["y"])
def add_common(x1, x2):
    return register.add_stage(model, x1, x2, outputs_count=1)


@register.register_method(output_names=["y"])
def add_cast(x1, x2):
    x1, x2 = register.add_stage(add_trans_datatype, x1, x2, outputs_count=2)
    return register.add_stage(model, x1, x2, outputs_count=1)
"""
BODY = '{"instances":[{"x1":[[1.0, 2.0], [3.0, 4.0]], "x2":[[1.0, 2.0], [3.0, 4.0]]}]}'
SUM = '{"instances":[{"y":[[2.0,4.0],[6.0,8.0]]}]}'


class Add(torch.nn.Module):
    def forward(self, x1, x2):
        return x1 + x2


@pytest.fixture
def folder(tmp_path):
    """A servable beside the script that starts it."""
    place = tmp_path / "add" / "1"
    place.mkdir(parents=True)
    zeros, batch = torch.zeros(2, 2, 2), torch.export.Dim("batch", min=1, max=1024)
    program = torch.export.export(Add(), (zeros, zeros), dynamic_shapes=({0: batch}, {0: batch}))
    torch.export.save(program, place / "add.pt2")
    (tmp_path / "add" / "servable_config.py").write_text(CONFIGURATION)
    return tmp_path


@pytest.fixture
def address():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return f"localhost:{port}"


@pytest.fixture
def ca(tmp_path):
    return Authority(tmp_path)


@contextmanager
def started(folder, listen, script=SCRIPT):
    """Run a script in another folder than its own, and end it."""
    (folder / "start.py").write_text(script.format(listen=listen))
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    process = subprocess.Popen(
        [sys.executable, folder / "start.py"],
        cwd=elsewhere,
        env=os.environ | {"STEPSCOPE_MODELS__CACHE": str(folder / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ask(process, url, *options):
    """Ask as soon as somebody listens."""
    deadline = time.monotonic() + START_S
    while True:
        done = curl(url, "-X", "POST", "-d", BODY, *options)
        if done[0] != 7 or process.poll() is not None or time.monotonic() > deadline:
            assert process.poll() is None, process.communicate()
            return done
        time.sleep(0.2)


def test_tls_one_way(folder, address, ca):
    own = ca.issue("server")
    listen = (
        f'ssl_config = server.SSLConfig(certificate="{own.certificate}", private_key="{own.private_key}", '
        "custom_ca=None, verify_client=False)\n"
        f'    server.start_restful_server(address="{address}", ssl_config=ssl_config)'
    )
    url = f"https://{address}/model/add/version/1:add_common"
    with started(folder, listen) as process:
        assert ask(process, url, "--cacert", str(ca.file))[:2] == (0, SUM)
        assert ask(process, url, "--insecure")[:2] == (0, SUM)
        assert ask(process, url)[0] == 60
        assert ask(process, url.replace("https", "http"))[:2] == (52, "")
        assert ask(process, url.replace("common", "cast"), "--insecure")[:2] == (0, SUM)
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=STOP_S)
    assert process.returncode == 0, told
    assert "Traceback" not in told


def test_tls_mutual(folder, address, ca):
    own = ca.issue("server")
    listen = (
        f'ssl_config = server.SSLConfig("{own.certificate}", "{own.private_key}", "{ca.file}", True)\n'
        f'    server.start_restful_server(address="{address}", ssl_config=ssl_config)'
    )
    url = f"https://{address}/model/add/version/1:add_common"
    with started(folder, listen) as process:
        assert ask(process, url, "--insecure", *ca.issue("client").curl)[:2] == (0, SUM)
        assert "alert certificate required" in ask(process, url, "--insecure")[2]
        stranger = Authority(folder, "stranger").issue("theirs")
        assert "alert unknown ca" in ask(process, url, "--insecure", *stranger.curl)[2]
        assert ask(process, url, "--insecure", *ca.issue("client").curl)[:2] == (0, SUM)


def test_a_signal_while_a_request_runs(folder, address):
    slow = CONFIGURATION + textwrap.dedent(
        """
        import time

        def wait(x):
            time.sleep(2)
            return x

        @register.register_method(output_names=["y"])
        def slowly(x1, x2):
            return register.add_stage(wait, x1, outputs_count=1)
        """
    )
    (folder / "add" / "servable_config.py").write_text(slow)
    with started(folder, f'server.start_restful_server("{address}")') as process:
        url = f"http://{address}/model/add"
        assert ask(process, f"{url}:add_common")[:2] == (0, SUM)
        asking = subprocess.Popen(
            ["curl", "-sS", "--noproxy", "*", "-d", BODY, f"{url}:slowly"], stdout=subprocess.PIPE, text=True
        )
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        assert asking.communicate(timeout=20)[0] == '{"instances":[{"y":[[1.0,2.0],[3.0,4.0]]}]}'
        _, told = process.communicate(timeout=STOP_S)
    assert process.returncode == 0, told
    assert "Traceback" not in told


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_a_script_with_a_loop_of_its_own(folder, address, number):
    listen = f'server.start_restful_server("{address}")\n    import time\n    while True:\n        time.sleep(60)'
    with started(folder, listen) as process:
        assert ask(process, f"http://{address}/model/add:add_common")[:2] == (0, SUM)
        process.send_signal(number)
        process.communicate(timeout=STOP_S)
    assert process.returncode != 0  # as it would be without a server


def test_a_script_that_stops_it(folder, address):
    with started(folder, f'server.start_restful_server("{address}")\n    server.stop()') as process:
        _, told = process.communicate(timeout=START_S)
    assert (process.returncode, told) == (0, "")


def test_a_start_that_fails_ends_the_script(folder, address, ca):
    own, other = ca.issue("server"), ca.issue("other")
    listen = (
        f'ssl_config = server.SSLConfig("{own.certificate}", "{other.private_key}")\n'
        f'    server.start_restful_server("{address}", ssl_config=ssl_config)'
    )
    with started(folder, listen) as process:
        _, told = process.communicate(timeout=START_S)
    assert process.returncode == 1
    assert f"RuntimeError: Raise failed: Serving Error: load private_key from {other.private_key} failed" in told


def test_a_model_that_cannot_be_loaded(folder):
    (folder / "add" / "1" / "add.pt2").write_bytes(b"nothing")
    with started(folder, "") as process:
        _, told = process.communicate(timeout=START_S)
    assert process.returncode == 1
    assert "RuntimeError: Load model failed, servable directory: " in told
    assert "servable name: add, version number: 1" in told


def test_the_model_that_ships(folder, address):
    """Images are decoded in a pool of threads, which has to work after the script's own code is over."""
    script = """
from stepscope.mindspore import server
server.start_servables(server.ServableStartConfig({directory!r}, "lenet"))
server.start_restful_server({address!r})
"""
    script = script.format(directory=str(BUILTIN), address=address).replace("{", "{{").replace("}", "}}")
    seven = next(sample for sample in SAMPLES if "label7" in sample.name)
    with started(folder, "", script) as process:
        ask(process, f"http://{address}/model/lenet:predict")
        body = {"instances": [{"image": {"b64": base64.b64encode(seven.read_bytes()).decode()}}] * 100}
        answer = httpx2.post(f"http://{address}/model/lenet/version/1:predict", json=body, trust_env=False, timeout=30)
    assert answer.json() == {"instances": [{"result": 7}] * 100}
