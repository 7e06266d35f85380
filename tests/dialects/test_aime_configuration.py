"""Aime's configuration files: every key, the defaults' rule, and what is refused at the start."""

import logging
from pathlib import Path

import pytest

from stepscope.core.errors import SettingsInvalid
from stepscope.dialects.aime import configuration
from stepscope.dialects.aime.endpoints import Configuration, Endpoint
from stepscope.dialects.aime.keys import digest
from stepscope.dialects.aime.parameters import Type

EXAMPLES = Path(__file__).parents[2] / "examples" / "aime"

SERVER = """
[SERVER]
port = 7777
host = "0.0.0.0"
endpoint_configs = "./endpoints"
[SANIC]
access_log = false
proxies_count = 1
keep_alive_timeout = 10
keep_alive = true
request_buffer_size = 65536
request_max_size = 100000
request_max_header_size = 8192
request_timeout = 60
response_timeout = 60
websocket_max_size = 1
websocket_ping_interval = 20
websocket_ping_timeout = 20
worker_manager_threshold = 600
[ADMIN]
user = "a"
password = "b"
[CLIENTS]
default_authorization_keys = { a = "k1", b = "k2" }
default_provide_worker_meta_data = true
default_client_request_limit = 0
[WORKERS]
default_auth_key = "w"
default_request_timeout = 30
[ENDPOINTS]
default_max_queue_length = 7
default_max_time_in_queue = 8
default_job_inactivity_timeout = 9
default_result_lifetime = 10
[INPUTS.image]
format = { allowed = ["png"] }
size = { allowed = [[1, 2]] }
[OPENAI]
enable_v1_api = true
enable_chat_completions = true
fallback_model = "m"
[OPENAI.MODELS.m]
endpoint = "e"
created_at = "1717700005"
owned_by = "me"
default_system_prompt = "p"
legacy_context_format = true
[STATIC]
"/" = { file = "README.md", compile = "md", css_file = "/a.css" }
"/docs/css" = { path = "docs", compile = "scss", compiled_path = "x" }
"""

ENDPOINT = """
[ENDPOINT]
name = "e"
[WORKER]
job_type = "t"
"""

WHOLE = """
[ENDPOINT]
name = "e"
title = "T"
description = "D"
methods = ["post"]
version = 4
category = "chat"
demo_url = "/demo"
max_queue_length = 1
max_time_in_queue = 2
job_inactivity_timeout = 3
result_lifetime = 4
input_metering = []
output_metering = []
provide_worker_meta_data = true
[WORKER]
job_type = "t"
auth_key = "own"
request_timeout = 5
[CLIENTS]
authorization_keys = { c = "k3" }
provide_worker_meta_data = false
client_request_limit = 3
authentication = "User"
authorization = "Key"
result_lifetime = 5
[SESSION.VARS]
counter = { type = "integer", default = 3 }
[INPUTS]
text = { }
[OUTPUTS]
text = { type = "string" }
[PROGRESS.INPUTS]
more = { type = "string" }
[PROGRESS.OUTPUTS]
text = { type = "string" }
[STATIC]
"/demo/static" = { path = "static" }
[JINJA]
"/demo/" = { file = "page.html", type = "jinja2" }
[USER]
a = 1
[HTML]
b = 2
"""


def load(folder: Path, endpoint: str, server: str | None = None) -> Configuration:
    path = folder / "endpoints" / "deep" / "e" / "aime_api_endpoint.cfg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(endpoint)
    file = folder / "server.cfg"
    file.write_text(server or "")
    return configuration.load([folder / "endpoints"] if server is None else [], None if server is None else file)


def one(folder: Path, endpoint: str, server: str = SERVER) -> Endpoint:
    return load(folder, endpoint, server).endpoints["e"]


def test_every_key_of_the_server_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    server = load(tmp_path, ENDPOINT, SERVER).server
    assert (server.port, server.host, server.max_body_bytes) == (7777, "0.0.0.0", 100_000)
    assert server.limits == {"image": {"format": ("png",), "size": ((1, 2),)}}
    assert server.openai.enabled
    assert server.openai.models["m"].created == 1717700005
    assert server.openai.models["m"].legacy_context_format
    assert [each.route for each in server.statics] == ["/", "/docs/css"]
    assert server.statics[0].target == tmp_path / "README.md"
    assert "unknown" not in caplog.text


def test_every_key_of_an_endpoint_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    endpoint = one(tmp_path, WHOLE)
    assert (endpoint.title, endpoint.description, endpoint.version) == ("T", "D", 4)
    assert (endpoint.methods, endpoint.category, endpoint.demo_url) == (("POST",), "chat", "/demo")
    assert (endpoint.max_queue_length, endpoint.max_time_in_queue_s) == (1, 2)
    assert (endpoint.job_inactivity_timeout_s, endpoint.result_lifetime_s) == (3, 4)
    assert (endpoint.worker_key, endpoint.request_timeout_s) == (digest("own"), 5)
    assert endpoint.client_keys == (digest("k3"),)
    assert not endpoint.provide_worker_meta_data
    assert endpoint.session_variables == {"counter": 3}
    assert endpoint.progress_outputs == {"text": {"type": "string"}}
    assert endpoint.templates[0].variables == {
        "endpoint_name": "e",
        "endpoint_title": "T",
        "endpoint_demo_url": "/demo",
    }
    assert "unknown" not in caplog.text


def test_what_an_endpoint_leaves_out_comes_from_the_server(tmp_path: Path) -> None:
    endpoint = one(tmp_path, ENDPOINT)
    assert (endpoint.max_queue_length, endpoint.max_time_in_queue_s) == (7, 8)
    assert (endpoint.job_inactivity_timeout_s, endpoint.result_lifetime_s) == (9, 10)
    assert (endpoint.worker_key, endpoint.request_timeout_s) == (digest("w"), 30)
    assert set(endpoint.client_keys) == {digest("k1"), digest("k2")}
    assert endpoint.provide_worker_meta_data
    assert (endpoint.title, endpoint.description, endpoint.methods) == ("e", "e", ("GET", "POST"))


def test_without_a_servers_file_there_are_defaults(tmp_path: Path) -> None:
    text = ENDPOINT + 'auth_key = "w"\n'
    endpoint = load(tmp_path, text).endpoints["e"]
    assert (endpoint.max_queue_length, endpoint.max_time_in_queue_s) == (1000, 3600)
    assert not endpoint.provide_worker_meta_data
    assert endpoint.progress_outputs == {}


def test_the_examples_that_ship_can_be_used(caplog: pytest.LogCaptureFixture) -> None:
    found = configuration.load([], EXAMPLES / "aime_api_server.cfg")
    assert set(found.endpoints) == {"echo", "lenet"}
    assert "everybody knows" in caplog.text


def test_files_are_found_by_folder_by_name_and_by_list(tmp_path: Path) -> None:
    load(tmp_path, ENDPOINT, SERVER)
    file = tmp_path / "endpoints" / "deep" / "e" / "aime_api_endpoint.cfg"
    other = tmp_path / "other.cfg"
    other.write_text("")
    assert configuration.find(tmp_path) == [file]
    assert configuration.find(other) == [other]
    assert configuration.find(Path(f"{file}, {other}")) == [file, other]
    with pytest.raises(SettingsInvalid, match="nowhere"):
        configuration.find(tmp_path / "nowhere")


WRONG = [
    ("[ENDPOINT", "isn't TOML"),
    (ENDPOINT.replace('"e"', "5"), "ENDPOINT.name"),
    (ENDPOINT.replace('name = "e"', ""), "ENDPOINT.name is missing"),
    (ENDPOINT.replace('"e"', '"a/b"'), "ENDPOINT.name"),
    (ENDPOINT.replace('"e"', '"v1"'), "ENDPOINT.name"),
    (ENDPOINT.replace('job_type = "t"', ""), "WORKER.job_type is missing"),
    (ENDPOINT + "request_timeout = 0\n", "WORKER.request_timeout"),
    (ENDPOINT + "[INPUTS]\na = 5\n", "INPUTS.a: it has to be a table"),
    (ENDPOINT + '[INPUTS]\na = {type = "strange"}\n', "INPUTS.a.type: 'strange' is unknown"),
    (ENDPOINT + '[INPUTS]\na = {type = "integer", minimum = "x"}\n', "INPUTS.a.minimum"),
    (ENDPOINT + '[INPUTS]\na = {type = "integer", min = 5, max = 3}\n', "INPUTS.a.minimum"),
    (ENDPOINT + '[INPUTS]\na = {type = "float", align = 0}\n', "INPUTS.a.align"),
    (ENDPOINT + '[INPUTS]\na = {type = "selection"}\n', "INPUTS.a.supported"),
    (ENDPOINT + '[INPUTS]\na = {type = "json", default = {}}\n', "INPUTS.a.default"),
    (ENDPOINT + '[INPUTS]\na = {type = "image", size = {minimum = 5}}\n', "INPUTS.a.size.minimum"),
    (ENDPOINT + '[INPUTS]\na = {type = "image", format = {supported = [5]}}\n', "INPUTS.a.format.supported"),
    (ENDPOINT + '[INPUTS]\na = {type = "image", resize_method = "x"}\n', "INPUTS.a.resize_method"),
    (ENDPOINT + '[INPUTS]\na = {type = "chat_context", support = ["smell"]}\n', "INPUTS.a.support"),
    (ENDPOINT + "[OUTPUTS]\na = 5\n", "OUTPUTS.a"),
    (ENDPOINT + "[CLIENTS]\nauthorization_keys = {a = 5}\n", "CLIENTS.authorization_keys"),
    (ENDPOINT + '[STATIC]\n"/a" = {}\n', "STATIC./a.file"),
    (ENDPOINT + '[STATIC]\n"/a" = {file = "a", compile = "x"}\n', "STATIC./a.compile"),
    (ENDPOINT + '[JINJA]\n"/a" = {file = "a", type = "x"}\n', "JINJA./a.type"),
    (ENDPOINT + 'model = "lenet"\n', "WORKER.model_input"),
]


@pytest.mark.parametrize(("text", "told"), WRONG, ids=[told for _, told in WRONG])
def test_a_wrong_endpoint_is_refused_with_file_and_key(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"aime_api_endpoint\.cfg") as refused:
        one(tmp_path, text)
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[SERVER]\nport = 'x'", "SERVER.port"),
        ("SERVER = 5", "SERVER: it has to be a table"),
        ("[SANIC]\nrequest_max_size = -1", "SANIC.request_max_size"),
        ("[ENDPOINTS]\ndefault_max_queue_length = 'x'", "ENDPOINTS.default_max_queue_length"),
        ("[WORKERS]\ndefault_request_timeout = 'x'", "WORKERS.default_request_timeout"),
        ("[CLIENTS]\ndefault_authorization_keys = 5", "CLIENTS.default_authorization_keys"),
        ("[OPENAI.MODELS.m]\nowned_by = 'x'", "OPENAI.MODELS.m.endpoint is missing"),
        ("[OPENAI.MODELS.m]\nendpoint = 'e'\ncreated_at = 'x'", "OPENAI.MODELS.m.created_at"),
        ("[INPUTS.image]\nformat = {allowed = 5}", "INPUTS.image.format.allowed"),
    ],
)
def test_a_wrong_server_is_refused_with_file_and_key(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"server\.cfg") as refused:
        one(tmp_path, ENDPOINT + 'auth_key = "w"\n', text)
    assert told in str(refused.value)


def test_no_key_is_shown_when_it_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid) as refused:
        one(tmp_path, ENDPOINT + "auth_key = 123454321\n")
    assert "123454321" not in str(refused.value)


def test_an_endpoint_without_a_workers_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match=r"WORKER\.auth_key is missing"):
        load(tmp_path, ENDPOINT)


def test_two_endpoints_of_one_name_are_refused(tmp_path: Path) -> None:
    load(tmp_path, ENDPOINT, SERVER)
    twin = tmp_path / "endpoints" / "twin" / "aime_api_endpoint.cfg"
    twin.parent.mkdir()
    twin.write_text(ENDPOINT)
    with pytest.raises(SettingsInvalid, match="has 'e' already"):
        configuration.load([], tmp_path / "server.cfg")


def test_unknown_keys_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        one(tmp_path, "[ENDPOINT]\nname = 'e'\nnamme = 1\n[WORKER]\njob_type = 't'\n[MORE]\n[INPUTS]\na = {maxi = 1}\n")
    for key in ("ENDPOINT.namme", "MORE", "INPUTS.a.maxi"):
        assert key in caplog.text


def test_what_every_endpoint_has_may_be_declared_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Files of AIME's own do."""
    declared = 'client_session_auth_key = {type = "string", required = true}\nimage = {type = "string"}\n'
    found = one(tmp_path, ENDPOINT + "[INPUTS]\n" + declared)
    assert set(found.inputs) == {"image"}
    assert found.input_descriptions["client_session_auth_key"] == {"type": "string"}
    assert "INPUTS.client_session_auth_key already" in caplog.text


def test_methods_are_read_from_a_text_too(tmp_path: Path) -> None:
    assert one(tmp_path, ENDPOINT.replace("[WORKER]", 'methods = "GET, POST"\n[WORKER]')).methods == ("GET", "POST")


def test_endpoints_are_beside_the_servers_file_unless_it_names_a_place(tmp_path: Path) -> None:
    without = SERVER.replace('endpoint_configs = "./endpoints"\n', "")
    assert set(load(tmp_path, ENDPOINT, without).endpoints) == {"e"}
    (tmp_path / "endpoints").rename(tmp_path / "others")
    assert configuration.load([], tmp_path / "server.cfg").endpoints == {}


def test_the_documented_name_of_the_wait_is_read_too(tmp_path: Path) -> None:
    assert load(tmp_path, ENDPOINT + "auth_key = 'w'\njob_timeout = 7\n").endpoints["e"].request_timeout_s == 7


def test_parameters_are_read(tmp_path: Path) -> None:
    text = """
[INPUTS]
s = { type = "str", max_length = 5, auto_convert = true }
i = { type = "int", min = 0, max = 8, align = 4, default = 4 }
b = { type = "boolean", required = true }
c = { type = "chat_context", support = ["image"], image = { size = { maximum = [8, 8], align = 2 } } }
v = { type = "video", resize_method = "crop", duration = { max = 5, auto_convert = true }, check_conversion = true }
"""
    inputs = one(tmp_path, ENDPOINT + text).inputs
    assert inputs["s"].type is Type.STRING
    assert (inputs["i"].bounds.least, inputs["i"].bounds.most, inputs["i"].bounds.align) == (0, 8, 4)
    assert inputs["b"].required
    size = inputs["c"].media[Type.IMAGE].attributes["size"]
    assert (size.bounds.most, size.bounds.align) == ((8, 8), (2, 2))
    assert inputs["v"].crop
    assert inputs["v"].attributes["duration"].auto_convert
