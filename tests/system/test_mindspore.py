"""The mindspore wire over real sockets, on real models: what its clients rely on, and what ends other servers."""

import base64
import contextlib
import http.client
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import torch

from tests.system.conftest import SAMPLES
from tests.system.live import Live, serving

Json = dict[str, Any]
PAGE = Path(__file__).parents[2] / "docs" / "mindspore.md"
P = "Parser request failed, "
CONFIGURATION = """
import numpy as np
from stepscope.mindspore import register

add = register.declare_model("add.pt2", "torch_export", with_batch_dim=False)
scale = register.declare_model("scale.ts", "TorchScript", without_batch_dim_inputs=[1], inputs=INPUTS)


def cast(x1, x2):
    return x1.astype(np.float32), x2.astype(np.float32)


def ask(x):
    square = np.ones((2, 2), np.float32)
    kind, = x.reshape(-1).tolist()
    if kind == 0:
        return add.call(square, square)
    if kind == 1:
        ((y,), (z,)) = add.call([[square, square], [y_of(square), square]])
        return y + z
    calls = {2: lambda: add.call(), 3: lambda: add.call([square], square), 4: lambda: add.call([]),
             5: lambda: add.call(square), 6: lambda: add.call(square, square, subgraph=1),
             7: lambda: add.call(square[0], square), 8: lambda: add.call(square.astype(int), square)}
    return calls[kind]()


def y_of(square):
    return square * 2


def end(x):
    return {"none": None, "text": "\\ud800", "turned": np.arange(6).reshape(2, 3).T}.get(x) if x != "long" else lose()


def lose():
    raise ValueError("\\u00fc" * 5000)


@register.register_method(output_names=["y"])
def add_cast(x1, x2):
    x1, x2 = register.add_stage(cast, x1, x2, outputs_count=2)
    return register.add_stage(add, x1, x2, outputs_count=1)


@register.register_method(output_names=["y"])
def scaled(x, factor):
    return register.add_stage(scale, x, factor, outputs_count=1)


@register.register_method(output_names=["x"])
def same(x):
    return x


@register.register_method(output_names=["y"])
def asked(x):
    return register.add_stage(ask, x, outputs_count=1)


@register.register_method(output_names=["y"])
def ending(x):
    return register.add_stage(end, x, outputs_count=1)
"""


class Add(torch.nn.Module):
    def forward(self, x1: torch.Tensor, x2: torch.Tensor) -> torch.Tensor:
        return x1 + x2


class Scale(torch.nn.Module):
    def forward(self, x: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
        return x * factor


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server with lenet, as it ships, and a servable of its own."""
    folder = tmp_path_factory.mktemp("mindspore")
    version = folder / "models" / "wire" / "1"
    version.mkdir(parents=True)
    inputs = '[("float32", [3]), ("float32", [1])]'
    (version.parent / "servable_config.py").write_text(CONFIGURATION.replace("INPUTS", inputs))
    program = torch.export.export(Add(), (torch.ones(2, 2), torch.ones(2, 2)))
    torch.export.save(program, version / "add.pt2")
    with pytest.warns(DeprecationWarning, match="deprecated"):
        torch.jit.save(torch.jit.script(Scale()), str(version / "scale.ts"))
    environment = {"STEPSCOPE_TRACES__SAMPLE_PER_S": "1000000"}
    with serving(folder, "--models", str(folder / "models"), environment=environment) as live:
        yield live


def connection(live: Live) -> contextlib.closing[http.client.HTTPConnection]:
    parts = urlsplit(live.url)
    return contextlib.closing(http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30))


def asked(on: http.client.HTTPConnection, path: str, body: str) -> Json:
    on.request("POST", path, body.encode())
    response = on.getresponse()
    assert response.status == 200
    answer: Json = json.loads(response.read())
    return answer


def post(live: Live, method: str, instances: Any, servable: str = "wire") -> Json:
    with connection(live) as on:
        return asked(on, f"/model/{servable}:{method}", json.dumps({"instances": instances}))


def picture(name: str) -> Json:
    (path,) = [path for path in SAMPLES if path.name == name]
    return {"image": {"b64": base64.b64encode(path.read_bytes()).decode()}}


def test_lenet_reads_a_seven(wire: Live) -> None:
    seven = picture("14_label7.png")
    body = json.dumps({"instances": seven})
    with connection(wire) as on:
        for path in ("/model/lenet/version/1:predict", "/version/1/model/lenet:predict", "/model/lenet/:predict"):
            assert asked(on, path, body) == {"instances": [{"result": 7}]}
    three, bad, five = picture("06_label3.png"), {"image": {"b64": "AAAA"}}, picture("10_label5.png")
    first, failed, last = post(wire, "predict", [three, bad, five], "lenet")["instances"]
    assert (first, last) == ({"result": 3}, {"result": 5})
    assert failed["error_msg"].startswith("Call Preprocess Failed, method: 'predict', stage index(begin with 1): 1, ")
    labels = [int(path.stem.partition("label")[2]) for path in SAMPLES]
    read = post(wire, "predict", [picture(path.name) for path in SAMPLES], "lenet")["instances"]
    assert [each["result"] for each in read] == labels


def test_an_add_takes_what_clients_send(wire: Live) -> None:
    x1, x2 = [[1, 2], [3, 4]], {"b64": "AQACAAMABAA=", "type": "int16", "shape": [2, 2]}
    assert post(wire, "add_cast", {"x1": x1, "x2": x2}) == {"instances": [{"y": [[2.0, 4.0], [6.0, 8.0]]}]}
    good, bad = {"x1": x1, "x2": x1}, {"x1": [1, 2], "x2": x1}
    size = {"error_msg": "Given model input 0 size 8 not match the size 16 defined in model"}
    right = {"y": [[2.0, 4.0], [6.0, 8.0]]}
    assert post(wire, "add_cast", [good, bad, good]) == {"instances": [right, size, right]}
    assert post(wire, "add_cast", [bad, bad]) == size


def test_strangers_never_share_an_input_without_a_batch_dimension(wire: Live) -> None:
    def one(number: int) -> bool:
        instance = {"x": [float(number)] * 3, "factor": [float(number % 3)]}
        return post(wire, "scaled", [instance] * 2) == {"instances": [{"y": [float(number * (number % 3))] * 3}] * 2}

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(one, range(200)))


CALLED = "Call Function 'wire.ask' Failed, method: 'asked', stage index(begin with 1): 1, error msg: "
CALLS = {
    0: [[2.0, 2.0], [2.0, 2.0]],
    1: [[5.0, 5.0], [5.0, 5.0]],
    2: "no inputs provided, the inputs can be call(x1, x2) or call([[x1, x2], [x1, x2]])",
    3: "inputs format invalid, the inputs can be call(x1, x2) or call([[x1, x2], [x1, x2]])",
    4: "Input instances count is 0",
    5: "The inputs count 1 of instance 0 is not equal to the inputs count 2 of the model",
    6: "The model does not have subgraph of index 1, the subgraph count of the model is 1",
    7: "Given model input 0 size 8 not match the size 16 defined in model",
    8: "Given model input 0 size 32 not match the size 16 defined in model",
}


@pytest.mark.parametrize(("kind", "expected"), CALLS.items())
def test_a_function_may_call_a_model(wire: Live, kind: int, expected: Any) -> None:
    if isinstance(expected, str):
        assert post(wire, "asked", {"x": kind}) == {"error_msg": f"{CALLED}Model(add.pt2).call() failed: {expected}"}
    else:
        assert post(wire, "asked", {"x": kind}) == {"instances": [{"y": expected}]}


PUSHED = "Call Function 'wire.end' Failed, method: 'ending', stage index(begin with 1): 1, error msg: "
DEADLY: dict[str, tuple[str, str, str]] = {
    "no name": ("/model", '{"instances":{"x":1}}', "please check url, the keyword:[model] must contain."),
    "no number": (
        "/model/wire/version",
        '{"instances":{"x":1}}',
        "please check url, the keyword:[version] value invalid, request version number ",
    ),
    "a long text": ("/model/wire:ending", '{"instances":{"x":"long"}}', PUSHED + "ü"),
    "no Unicode": ("/model/wire:ending", '{"instances":{"x":"text"}}', PUSHED + "Push py task result cause exception"),
    "nothing": ("/model/wire:ending", '{"instances":{"x":"none"}}', PUSHED + "Push py task result cause exception"),
    "33 dimensions": ("/model/wire:same", f'{{"instances":{{"x":{"[" * 33}1{"]" * 33}}}}}', P + "invalid json array: "),
    "deep lists": ("/model/wire:same", "[" * 200_000 + "]" * 200_000, P + "invalid json array: "),
    "no UTF-8": ("/model/wire:same", '{"instances":{"x":{"b64":"/w==","type":"str"}}}', P + "decode str failed"),
    "alphabet": ("/model/wire:same", '{"instances":{"x":{"b64":"AA-_"}}}', P + "'AA-_' is illegal b64 encode string"),
    "padding": ("/model/wire:same", '{"instances":{"x":{"b64":"===="}}}', P + "'====' is illegal b64 encode string"),
    "huge": (
        "/model/wire:same",
        '{"instances":{"x":{"b64":"","type":"int8","shape":[2147483647,2147483647,2147483647]}}}',
        P + "size is not matched, decode base64 size:0; Given info: type:int8; type size:1; element nums:",
    ),
    "a type of a number": (
        "/model/wire:same",
        '{"instances":{"x":[{"b64":"YQ==","type":1}]}}',
        P + "json object, key is 'type', value should be string type",
    ),
}
TIMES = 1000
GENEROUS_S = 60.0


@pytest.mark.parametrize("name", DEADLY)
def test_a_thousand_of_what_ends_other_servers_are_answered(wire: Live, name: str) -> None:
    path, body, text = DEADLY[name]
    started = time.monotonic()
    with connection(wire) as on:
        for _ in range(TIMES):
            assert asked(on, path, body)["error_msg"].startswith(text)
    assert time.monotonic() - started < GENEROUS_S
    is_well(wire)


def test_clients_that_vanish_leave_the_server_well(wire: Live) -> None:
    parts = urlsplit(wire.url)
    body = json.dumps({"instances": {"x1": [[1, 2], [3, 4]], "x2": [[1, 2], [3, 4]]}}).encode()
    head = f"POST /model/wire:add_cast HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}\r\n\r\n".encode()

    def vanish(_: int) -> None:
        with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=30) as sent:
            sent.sendall(head + body)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(vanish, range(TIMES)))
    is_well(wire)


def is_well(live: Live) -> None:
    assert post(live, "add_cast", {"x1": [[1, 2], [3, 4]], "x2": [[1, 2], [3, 4]]}) == {
        "instances": [{"y": [[2.0, 4.0], [6.0, 8.0]]}]
    }


def test_http_as_clients_speak_it(wire: Live) -> None:
    body = b'{"instances":{"x":1}}'
    with wire.client() as client:
        for headers in ({"content-type": "text/plain"}, {"accept": "image/png"}, {"content-encoding": "gzip"}, {}):
            reply = client.post("/model/wire:same", content=body, headers=headers)
            assert (reply.status_code, reply.text) == (200, '{"instances":[{"x":1}]}')
            assert reply.headers["content-type"] == "application/json"
        assert client.post("/model/wire:same", content=iter([body[:5], body[5:]])).text == '{"instances":[{"x":1}]}'
        assert client.head("/model/wire:same").status_code == 200
        assert client.get("/model/wire:same").json() == {"error_msg": "http message only support POST right now"}
        assert client.request("OPTIONS", "/model/wire:same").status_code == 501
        assert client.get("/api/services/a:b/operations").status_code == 200


def test_stages_are_steps_of_a_trace(wire: Live) -> None:
    body = json.dumps({"instances": [picture("14_label7.png"), {"image": {"b64": "AAAA"}}]})
    with wire.client() as client:
        path, headers = "/model/lenet/version/1:predict", {"x-request-id": "a-request"}
        reply = client.post(path, content=body, headers=headers)
        assert reply.headers["x-b3-sampled"] == "1"
        trace = reply.headers["x-b3-traceid"]
        (found,) = client.get(f"/api/traces/{trace}").json()["data"]
        assert client.get(f"/traces/{trace}").status_code == 200
    spans = [(span["operationName"], {tag["key"]: tag["value"] for tag in span["tags"]}) for span in found["spans"]]
    told = dict(spans)["POST /model/lenet/version/1:predict"]
    assert (told["servable"], told["version"], told["method"]) == ("lenet", 1, "predict")
    assert told["request_id"] == "a-request"
    names = [name for name, _ in spans]
    assert {"decode", "queue", "Preprocess", "lenet.safetensors", "predict", "Postprocess", "batch"} <= set(names)
    stages = [tags for name, tags in spans if name == "Preprocess"]
    assert sorted((tags["input"], "error" in tags, tags["stage"]) for tags in stages) == [(0, False, 1), (1, True, 1)]
    assert names.count("Postprocess") == names.count("predict") == 1


def test_the_page_moves_a_servable(tmp_path: Path) -> None:
    """What `docs/mindspore.md` shows is done here as it stands there."""
    blocks = re.findall(r"```(\w*)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    saving, configuration = [text for language, text in blocks if language == "python"]
    answer = next(text for language, text in blocks if language == "json")
    body = next(found[1] for _, text in blocks if (found := re.search(r"add_cast \\\n\s+-d '(.*)'", text)))
    (tmp_path / "servables" / "add" / "1").mkdir(parents=True)
    (tmp_path / "servables" / "add" / "servable_config.py").write_text(configuration)
    subprocess.run([sys.executable, "-c", saving], cwd=tmp_path, check=True)
    with serving(tmp_path, "--models", str(tmp_path / "servables")) as live, connection(live) as on:
        assert asked(on, "/model/add/version/1:add_cast", body) == json.loads(answer)
