"""The server API of start scripts: what it refuses, and that a refusal leaves alone what runs."""

import socket
import threading

import httpx2
import pytest

from stepscope.app.server import build
from stepscope.core.predictions import DeviceRef
from stepscope.mindspore import server
from stepscope.mindspore.deployment import Deployment
from stepscope.mindspore.server import ServableStartConfig, SSLConfig, start_restful_server, start_servables
from stepscope.runtimes.echo import EchoRuntime
from tests.dialects.servables import write
from tests.web.certificates import DAY, NOW, Authority, curl

NATIVE = "Raise failed: Serving Error: "
EMPTY = """
import threading
from stepscope.mindspore import register

met = threading.Barrier(2)

@register.register_method(output_names="y")
def same(x):
    return x

def meet(x):
    met.wait(5)
    return x

@register.register_method(output_names="y")
def pair(x):
    return register.add_stage(meet, x, outputs_count=1)
"""
DECLARING = """
from stepscope.mindspore import register

model = register.declare_model("{file}", "torch_export", inputs=[("float32", [2])])

@register.register_method(output_names="y")
def run(x):
    return register.add_stage(model, x, outputs_count=1)
"""


class TwoGpus(EchoRuntime):
    """The echo runtime on devices that this machine may not have."""

    def __init__(self):
        self.used = []

    def devices(self):
        return [DeviceRef(kind="cuda", index=0), DeviceRef(kind="cuda", index=1), DeviceRef()]

    def load(self, manifest, device):
        self.used.append(device)
        return super().load(manifest, device)


@pytest.fixture(autouse=True)
def deployment(contract, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STEPSCOPE_MODELS__CACHE", str(tmp_path / "cache"))
    runtime = EchoRuntime()
    own = Deployment(lambda settings: build(settings, runtime))
    monkeypatch.setattr(server, "_deployment", own)
    yield own
    own.stop()


@pytest.fixture
def models(tmp_path):
    folder = tmp_path / "models"
    return str(write(folder, EMPTY, "plain", versions=("1", "3")))


@pytest.fixture
def address():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return f"127.0.0.1:{port}"


def ask(address, target="/model/plain:same", x=1):
    body = {"instances": [{"x": x}]}
    return httpx2.post(f"http://{address}{target}", json=body, trust_env=False, timeout=20).json()


def refused(call, *arguments, **options):
    with pytest.raises(RuntimeError) as error:
        call(*arguments, **options)
    return str(error.value)


# --- servables ------------------------------------------------------------------------------------


def test_a_listener_before_its_servables(address, models):
    start_restful_server(address)
    assert ask(address) == {"error_msg": "Request servable(plain) method(same) , servable is not available"}
    start_servables(ServableStartConfig(models, "plain"))
    assert ask(address) == {"instances": [{"y": 1}]}
    assert httpx2.get(f"http://{address}/readyz", trust_env=False).status_code == 200


def test_servables_before_their_listener_and_several_versions_at_once(address, models):
    start_servables([ServableStartConfig(models, "plain", version_number=1), ServableStartConfig(models, "plain")])
    start_restful_server(address)
    for version in ("/version/1", "/version/3", ""):
        assert ask(address, f"/model/plain{version}:same") == {"instances": [{"y": 1}]}
    assert "servable is not available" in ask(address, "/model/plain/version/2:same")["error_msg"]


def test_only_the_version_asked_for_is_started(address, models):
    start_servables(ServableStartConfig(models, "plain", version_number=1))
    start_restful_server(address)
    assert "servable is not available" in ask(address, "/model/plain/version/3:same")["error_msg"]


def test_workers_are_threads_for_functions(address, models):
    start_servables(ServableStartConfig(models, "plain", num_parallel_workers=2))
    start_restful_server(address)
    answers = []
    callers = [threading.Thread(target=lambda: answers.append(ask(address, "/model/plain:pair"))) for _ in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert answers == [{"instances": [{"y": 1}]}] * 2


def test_configurations_that_cannot_be_started(tmp_path, models):
    def start(name, **options):
        return refused(start_servables, ServableStartConfig(models, name, **options))

    assert start("absent") == f"Check servable config failed, directory '{models}/absent' not exist"
    (tmp_path / "models" / "bare").mkdir()
    assert start("bare") == f"Check servable config failed, file '{models}/bare/servable_config.py' not exist"
    write(tmp_path / "models", "1 / 0", "bad")
    assert start("bad") == "import bad.servable_config failed, division by zero"
    write(tmp_path / "models", "", "idle")
    assert "There is no method registered for servable" in start("idle")
    write(tmp_path / "models", DECLARING.format(file="m.pt2"), "new", versions=("newest",))
    assert "There is no valid version directory of models" in start("new")
    told = start("plain", version_number=2)
    assert told.startswith("There is no specified version directory of models, specified version number: 2")
    write(tmp_path / "models", DECLARING.format(file="absent.pt2"), "lost")
    assert start("lost").startswith(f"Load model failed, servable directory: {models}, servable name: lost")


def test_one_servable_has_one_directory(tmp_path, address, models):
    other = str(write(tmp_path / "other", EMPTY, "plain"))
    first, second = ServableStartConfig(models, "plain", version_number=1), ServableStartConfig(other, "plain")
    told = refused(start_servables, [first, second])
    assert told == f"The servable directories of servable plain are different: {models} and {other}"
    start_servables(first)
    assert refused(start_servables, second) == told


def test_a_start_that_fails_leaves_the_rest_alone(address, models):
    start_servables(ServableStartConfig(models, "plain", version_number=1))
    start_restful_server(address)
    refused(start_servables, [ServableStartConfig(models, "plain"), ServableStartConfig(models, "absent")])
    refused(start_restful_server, "here")
    refused(start_restful_server, address, ssl_config=SSLConfig("absent.crt", "absent.key"))
    assert ask(address) == {"instances": [{"y": 1}]}
    assert "not available" in ask(address, "/model/plain/version/3:same")["error_msg"]


def test_devices_take_turns(contract, tmp_path, address, monkeypatch):
    runtime = TwoGpus()
    own = Deployment(lambda settings: build(settings, runtime))
    monkeypatch.setattr(server, "_deployment", own)
    models = str(write(tmp_path / "models", DECLARING.format(file="add.pt2"), "plain"))
    try:
        start_servables(ServableStartConfig(models, "plain", device_ids=(0, 1)))
        assert [device.index for device in runtime.used] == [0, 1]
        start_restful_server(address)
        for _ in range(2):
            assert ask(address, "/model/plain:run", [1.0, 2.0]) == {"instances": [{"y": [1.0, 2.0]}]}
        assert "no GPU 7 here" in refused(start_servables, ServableStartConfig(models, "plain", device_ids=7))
    finally:
        own.stop()


def test_devices_say_nothing_where_there_are_none(address, models):
    start_servables(ServableStartConfig(models, "plain", device_ids=[0, 1]))
    assert "no GPU here" in refused(start_servables, ServableStartConfig(models, "plain", device_type="GPU"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"servable_directory": 1}, "Parameter 'servable_directory' should be str, but actually <class 'int'>"),
        ({"servable_directory": ""}, "Parameter 'servable_directory' should not be empty str"),
        ({"servable_name": None}, "Parameter 'servable_name' should be str, but actually <class 'NoneType'>"),
        ({"version_number": "1"}, "Parameter 'version_number' should be int, but actually <class 'str'>"),
        ({"version_number": -1}, "Parameter 'version_number' should be in range [0,4294967294]"),
        ({"num_parallel_workers": 65}, "Parameter 'num_parallel_workers' should be in range [0,64]"),
        ({"num_parallel_workers": True}, "Parameter 'num_parallel_workers' should be int, but actually <class 'bool'>"),
        ({"device_ids": "0"}, "Parameter 'device_ids' should be int, but actually <class 'str'>"),
        ({"device_ids": [0, -1]}, "Parameter 'device_ids' should be in range [0,65536]"),
        ({"device_type": "Ascend"}, "Parameter 'device_type' should be CPU, GPU or None, but actually 'Ascend'"),
        ({"dec_key": b"0" * 16}, "Parameter 'dec_key' should be None: encrypted models aren't served"),
        ({"dec_mode": "ROT13"}, "Parameter 'dec_mode' should be in ['AES-GCM', 'AES-CBC'], but actually 'ROT13'"),
    ],
)
def test_what_a_start_configuration_refuses(arguments, told):
    given = {"servable_directory": "models", "servable_name": "plain"} | arguments
    assert refused(ServableStartConfig, **given).startswith(told)


def test_start_servables_takes_configurations_alone():
    assert refused(start_servables, "models").endswith("but actually <class 'str'>")
    assert "Parameter 'servable_configs'" in refused(start_servables, ["models"])
    assert "Parameter 'enable_lite' should be bool" in refused(start_servables, [], enable_lite=1)


# --- the listener ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "told"),
    [
        (5500, "Parameter 'address' should be str, but actually <class 'int'>"),
        ("", "Parameter 'address' should not be empty str"),
        ("localhost", NATIVE + "The format of the RESTful server address 'localhost' is illegal"),
        (":5500", NATIVE + "Missing ip or port of the RESTful server address ':5500'"),
        ("localhost:", NATIVE + "Missing ip or port of the RESTful server address 'localhost:'"),
        ("localhost:x", NATIVE + "The type of RESTful server address 'localhost:x' port is not a number"),
        *(
            (
                f"localhost:{port}",
                NATIVE + f"The port of the RESTful server address 'localhost:{port}' is out of legal range [1 ~ 65535]",
            )
            for port in ("0", "-1", "65536", "9" * 30)
        ),
        ("unix:/tmp/socket", NATIVE + "RESTful server does not support binding to unix domain socket"),
        ("256.0.0.1:55", NATIVE + "RESTful server start failed, bind to the socket address 256.0.0.1:55 failed"),
    ],
)
def test_addresses_that_are_refused(address, told):
    assert refused(start_restful_server, address).startswith(told)


def test_an_address_in_use():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        told = refused(start_restful_server, address)
    assert told.startswith(NATIVE + f"RESTful server start failed, bind to the socket address {address} failed: ")
    start_restful_server(address)


@pytest.mark.parametrize("host", ["localhost", "0.0.0.0", "*", "::1", "[::1]"])
def test_addresses_that_are_taken(address, host):
    port = address.rpartition(":")[2]
    start_restful_server(f"{host}:{port}")
    shown = {"0.0.0.0": "127.0.0.1", "*": "127.0.0.1", "::1": "[::1]"}.get(host, host)
    assert "not available" in ask(f"{shown}:{port}")["error_msg"]


def test_an_address_for_everybody_goes_by_any_name(address, caplog):
    port = address.rpartition(":")[2]
    start_restful_server(f"0.0.0.0:{port}")
    assert "can be reached from other machines, and no keys are configured" in caplog.text
    answer = httpx2.get(f"http://{address}/readyz", headers={"host": "models.example"}, trust_env=False)
    assert answer.status_code == 200


def test_this_machines_address_goes_by_its_own_names(address):
    start_restful_server(address)
    answer = httpx2.get(f"http://{address}/readyz", headers={"host": "models.example"}, trust_env=False)
    assert answer.status_code == 403


def test_a_second_listener(address):
    start_restful_server(address)
    assert refused(start_restful_server, "127.0.0.1:1") == NATIVE + "RESTful server is already running"


@pytest.mark.parametrize(
    ("size", "told"),
    [
        ("1", "Parameter 'max_msg_mb_size' should be int, but actually <class 'str'>"),
        (True, "Parameter 'max_msg_mb_size' should be int, but actually <class 'bool'>"),
        (0, "Parameter 'max_msg_mb_size' should be in range [1,512]"),
        (513, "Parameter 'max_msg_mb_size' should be in range [1,512]"),
    ],
)
def test_sizes_that_are_refused(address, size, told):
    assert refused(start_restful_server, address, size) == told


def test_the_size_is_the_limit(address, models):
    start_servables(ServableStartConfig(models, "plain"))
    start_restful_server(address, 1)
    assert ask(address, x="x" * 2**20) == {"error_msg": f"http message is bigger than {2**20}"}
    assert ask(address, x="x" * 2**19)["instances"]


def test_a_stop_ends_it_and_another_start_begins_anew(address, models):
    server.stop()
    for _ in range(2):
        start_servables(ServableStartConfig(models, "plain"))
        start_restful_server(address)
        assert ask(address) == {"instances": [{"y": 1}]}
        server.stop()
        server.stop()
        with pytest.raises(httpx2.ConnectError):
            ask(address)


def test_the_configurations_other_keys_count(address, models, monkeypatch):
    monkeypatch.setenv("STEPSCOPE_MINDSPORE__HTTP_STATUS", "true")
    start_restful_server(address)
    answer = httpx2.post(f"http://{address}/model/plain:same", json={"instances": [{"x": 1}]}, trust_env=False)
    assert answer.status_code == 404
    server.stop()
    monkeypatch.setenv("STEPSCOPE_PREDICT__BATCH_SIZE", "none")
    assert "predict.batch_size" in refused(start_restful_server, address)


# --- TLS ------------------------------------------------------------------------------------------


@pytest.fixture
def ca(tmp_path):
    return Authority(tmp_path)


def over_tls(address, *options):
    return curl(f"https://{address}/model/plain:same", "-d", '{"instances":[{"x":7}]}', *options)


def test_tls_one_way(address, models, ca):
    own = ca.issue("server")
    start_servables(ServableStartConfig(models, "plain"))
    start_restful_server(address, ssl_config=SSLConfig(str(own.certificate), str(own.private_key), "absent", False))
    for trust in (["--cacert", str(ca.file)], ["--insecure"]):
        assert over_tls(address, *trust)[:2] == (0, '{"instances":[{"y":7}]}')
    assert over_tls(address)[0] == 60


def test_tls_mutual(address, models, ca, tmp_path):
    own = ca.issue("server")
    start_servables(ServableStartConfig(models, "plain"))
    start_restful_server(address, ssl_config=SSLConfig(str(own.certificate), str(own.private_key), str(ca.file), True))
    trust = ["--cacert", str(ca.file)]
    stranger = Authority(tmp_path, "stranger").issue("theirs")
    assert "alert certificate required" in over_tls(address, *trust)[2]
    assert "alert unknown ca" in over_tls(address, *trust, *stranger.curl)[2]
    assert over_tls(address, *trust, *ca.issue("client").curl)[:2] == (0, '{"instances":[{"y":7}]}')


def test_tls_of_the_configuration(address, models, ca, monkeypatch):
    own = ca.issue("server")
    monkeypatch.setenv("STEPSCOPE_TLS__CERTIFICATE", str(own.certificate))
    monkeypatch.setenv("STEPSCOPE_TLS__PRIVATE_KEY", str(own.private_key))
    start_servables(ServableStartConfig(models, "plain"))
    start_restful_server(address)
    assert over_tls(address, "--cacert", str(ca.file))[0] == 0


def test_tls_files_that_cannot_be_used(address, ca):
    own, other = ca.issue("server"), ca.issue("other")
    late = ca.issue("late", first=NOW - 3 * DAY, last=NOW - DAY)

    def start(certificate, private_key, *client_ca):
        config = SSLConfig(str(certificate), str(private_key), *client_ca)
        return refused(start_restful_server, address, ssl_config=config)

    assert start("absent", own.private_key).startswith(f"{NATIVE}load certificate_chain from absent failed")
    assert start(own.certificate, "absent").startswith(f"{NATIVE}load private_key from absent failed")
    told = f"{NATIVE}load private_key from {other.private_key} failed"
    assert start(own.certificate, other.private_key).startswith(told)
    told = f"{NATIVE}load root certificate from absent failed"
    assert start(own.certificate, own.private_key, "absent", True).startswith(told)
    assert "it has expired" in start(late.certificate, late.private_key)


def test_what_ssl_config_refuses(address):
    assert refused(SSLConfig, 1, "k") == "Parameter 'certificate' should be str, but actually <class 'int'>"
    assert refused(SSLConfig, "c", "") == "Parameter 'private_key' should not be empty str"
    told = refused(SSLConfig, "c", "k", None, True)
    assert told == "Parameter 'custom_ca' should be str, but actually <class 'NoneType'>"
    assert (
        refused(SSLConfig, "c", "k", "a", 1) == "Parameter 'verify_client' should be bool, but actually <class 'int'>"
    )
    told = refused(start_restful_server, address, ssl_config="server.crt")
    assert told == "The type of ssl_config should be class of SSLConfig"
