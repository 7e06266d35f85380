"""Models that an operator lays into a folder: formats, versions, broken ones, and weights from elsewhere."""

import base64
import hashlib
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from stepscope.settings import BUILTIN
from tests.system.live import Live, serving

ARCHITECTURE = "import torch\n\ndef triple():\n    return torch.nn.Linear(4, 3)\n"
RAW = """
inputs: [{type: raw, parameters: {element_type: float32, dimensions: [4]}}]
output: {type: raw}
"""
Json = dict[str, Any]
INPUT = np.arange(8, dtype=np.float32).reshape(2, 4)


class Shelf(SimpleHTTPRequestHandler):
    """Serves a folder's files and notes what is asked for."""

    def __init__(self, *arguments: object, asked: list[str], directory: str) -> None:
        self._asked = asked
        super().__init__(*arguments, directory=directory)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        self._asked.append(self.path)
        super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """A file server: its port, and the paths that were asked for."""

    folder: Path
    port: int
    asked: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    folder = tmp_path_factory.mktemp("files")
    asked: list[str] = []
    handler = partial(Shelf, asked=asked, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Files(folder=folder, port=server.server_port, asked=asked)
        server.shutdown()
        thread.join()


def linear(seed: int) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(4, 3).eval()


def computed(seed: int) -> np.ndarray:
    with torch.inference_mode():
        answer: torch.Tensor = linear(seed)(torch.from_numpy(INPUT))
    return answer.numpy()


def write(repository: Path, name: str, version: str, manifest: str) -> Path:
    folder = repository / name / version
    folder.mkdir(parents=True)
    head = f"name: {name}\nversion: {version}\nframework: {{name: PyTorch, version: '>=2.0'}}\n"
    (folder / "manifest.yaml").write_text(head + manifest)
    return folder


def write_script(repository: Path, name: str, version: str, seed: int) -> None:
    folder = write(repository, name, version, f"{RAW}model: {{graph_path: net.pt, format: torchscript}}\n")
    scripted(linear(seed), folder / "net.pt")


def scripted(model: nn.Module, path: Path) -> None:
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        torch.jit.script(model).save(path)


def write_export(repository: Path, name: str, seed: int) -> None:
    folder = write(repository, name, "1.0.0", f"{RAW}model: {{graph_path: net.pt2}}\n")
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(linear(seed), (torch.zeros(2, 4),), dynamic_shapes=({0: batch},))
    torch.export.save(program, folder / "net.pt2")


def write_parameters(repository: Path, name: str, seed: int) -> None:
    model = "model: {weights_path: net.safetensors, architecture: 'net.py:triple'}\n"
    folder = write(repository, name, "1.0.0", RAW + model)
    save_file(linear(seed).state_dict(), folder / "net.safetensors")
    (folder / "net.py").write_text(ARCHITECTURE)


def write_remote(repository: Path, name: str, url: str, checksum: str) -> None:
    model = f"base_url: {url}, weights_path: net.safetensors, weights_checksum: '{checksum}'"
    folder = write(repository, name, "1.0.0", f"{RAW}model: {{{model}, architecture: 'net.py:triple'}}\n")
    (folder / "net.py").write_text(ARCHITECTURE)


def write_full_example(repository: Path, files: Files) -> None:
    """A manifest as the old documents show it: graph and labels behind URLs, with MD5 sums."""
    (files.folder / "bird.txt").write_text("wren\nrobin\n")
    scripted(nn.Sequential(nn.Flatten(), Brightness()), files.folder / "bird.pt")
    folder = repository / "garden-bird-net" / "1.2.0"
    folder.mkdir(parents=True)
    url = f"http://127.0.0.1:{files.port}"
    (folder / "manifest.yaml").write_text(f"""
name: Garden-Bird-Net
version: 1.2.0
framework:
  name: PyTorch
  version: ">=2.0.0, <3.0.0"
container:
  amd64:
    cpu: example/pytorch-agent:2.4-cpu
    gpu: example/pytorch-agent:2.4-cuda
description: >
  Tells dark pictures from bright ones.
references:
  - https://example.org/garden-birds
license: Apache-2.0
inputs:
  - type: image
    description: colour photograph
    parameters:
      element_type: float32
      input_layer: 0
      layout: CHW
      color_mode: RGB
      dimensions: [3, 8, 8]
      mean: [123.675, 116.28, 103.53]
      scale: [58.395, 57.12, 57.375]
output:
  type: classification
  description: bird species
  parameters:
    element_type: float32
    probabilities_layer: 0
    probabilities_transform: softmax
    features_url: {url}/bird.txt
    features_checksum: {md5(files.folder / "bird.txt")}
before_preprocess: |
  raise SystemExit("shown, never run")
model:
  base_url: {url}
  graph_path: bird.pt
  weights_path: ""
  is_archive: false
  graph_checksum: {md5(files.folder / "bird.pt")}
attributes:
  kind: CNN
  training_dataset: GardenBirds60
  top1: "91.2"
  top5: "98.9"
  manifest_author: report example
hidden: false
""")


class Brightness(nn.Module):
    """Two classes: dark and bright."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.mean(dim=1, keepdim=True)
        return torch.cat([-mean, mean], dim=1)


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, files: Files) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_script(folder, "Scripted-Net", "1.0.0", seed=10)
    write_script(folder, "Scripted-Net", "2.1.0", seed=21)
    write_full_example(folder, files)
    write_export(folder, "Exported-Net", seed=30)
    write_parameters(folder, "Parameters-Net", seed=40)
    for place in ("right", "spoilt", "forbidden"):
        (files.folder / place).mkdir()
        save_file(linear(50).state_dict(), files.folder / place / "net.safetensors")
    right = "sha256:" + hashlib.sha256((files.folder / "right" / "net.safetensors").read_bytes()).hexdigest()
    write_remote(folder, "Remote-Net", f"http://127.0.0.1:{files.port}/right", right)
    write_remote(folder, "Spoilt-Net", f"http://127.0.0.1:{files.port}/spoilt", "sha256:" + "0" * 64)
    write_remote(folder, "Forbidden-Net", f"http://localhost:{files.port}/forbidden", right)
    broken = folder / "Broken-Net" / "1.0.0"
    broken.mkdir(parents=True)
    (broken / "manifest.yaml").write_text("name: [unfinished\n")
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, files: Files) -> Path:
    """Where the server runs; its configuration lets it fetch from the operator's own file server."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "stepscope.toml").write_text(f'[fetch]\nallow_hosts = ["127.0.0.1:{files.port}"]\n')
    return folder


@pytest.fixture(scope="module")
def live(home: Path, repository: Path) -> Iterator[Live]:
    with serving(home, "--models", str(repository)) as live:
        yield live


@pytest.fixture
def client(live: Live) -> Iterator[httpx2.Client]:
    with live.client() as client:
        yield client


def opened(client: httpx2.Client, name: str, version: str = "*") -> Json:
    answer = client.post("/api/predict/open", json={"model_name": name, "model_version": version})
    assert answer.status_code == 200, answer.text
    document: Json = answer.json()
    return document


def outputs(client: httpx2.Client, name: str, version: str = "*") -> np.ndarray:
    """Return what a model makes of `INPUT`, and leave it loaded."""
    return predicted(client, opened(client, name, version)["id"])


def predicted(client: httpx2.Client, predictor: str) -> np.ndarray:
    answer = client.post(
        "/api/predict/tensors",
        params={"predictor_id": predictor, "shape": "2,4", "dtype": "float32"},
        headers={"content-type": "application/octet-stream", "accept": "application/octet-stream"},
        content=INPUT.tobytes(),
    )
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-tensor-shape"] == "2,3"
    return np.frombuffer(answer.content, np.float32).reshape(2, 3)


@pytest.mark.parametrize(("name", "seed"), [("Scripted-Net", 21), ("Exported-Net", 30), ("parameters net", 40)])
def test_every_format_predicts(client: httpx2.Client, name: str, seed: int) -> None:
    np.testing.assert_allclose(outputs(client, name), computed(seed), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("wanted", "chosen", "seed"),
    [("1.0.0", "1.0.0", 10), ("^1", "1.0.0", 10), ("<2", "1.0.0", 10), (">=1", "2.1.0", 21), ("latest", "2.1.0", 21)],
)
def test_versions_are_looked_up(client: httpx2.Client, wanted: str, chosen: str, seed: int) -> None:
    assert opened(client, "Scripted-Net", wanted)["model"]["version"] == chosen
    np.testing.assert_allclose(outputs(client, "Scripted-Net", wanted), computed(seed), rtol=1e-5, atol=1e-6)


def test_a_version_that_is_not_there_lists_those_that_are(client: httpx2.Client) -> None:
    answer = client.post("/api/predict/open", json={"model_name": "Scripted-Net", "model_version": ">=3"})
    assert answer.status_code == 404
    assert answer.json()["known"] == ["Scripted-Net 1.0.0", "Scripted-Net 2.1.0"]


def test_a_broken_manifest_is_left_out_and_told(client: httpx2.Client, live: Live) -> None:
    listed = client.get("/api/registry/models/manifest").json()["manifests"]
    names = [model["name"] for model in listed]
    assert "Broken-Net" not in names
    assert {"Scripted-Net", "Exported-Net", "Parameters-Net", "Garden-Bird-Net", "lenet"} <= set(names)
    assert "Broken-Net/1.0.0/manifest.yaml" in live.log.read_text().replace("\n", "")


def test_weights_behind_a_url_are_fetched_once(client: httpx2.Client, files: Files) -> None:
    for _ in range(2):
        predictor = opened(client, "Remote-Net")["id"]
        np.testing.assert_allclose(predicted(client, predictor), computed(50), rtol=1e-5, atol=1e-6)
        closed = client.post("/api/predict/close", json={"id": predictor}).json()
        assert closed["freed_bytes"] == 4 * (4 * 3 + 3)
    assert files.asked.count("/right/net.safetensors") == 1


@pytest.mark.parametrize(
    ("name", "reason"), [("Spoilt-Net", "checksum differs"), ("Forbidden-Net", "can't be fetched")]
)
def test_wrong_weights_are_refused(client: httpx2.Client, files: Files, name: str, reason: str) -> None:
    answer = client.post("/api/predict/open", json={"model_name": name})
    assert answer.status_code == 503
    assert answer.json()["type"] == "urn:stepscope:problem:model-unavailable"
    assert reason in answer.json()["detail"]
    assert "/forbidden/net.safetensors" not in files.asked


def test_a_full_example_manifest_is_served(client: httpx2.Client) -> None:
    predictor = {"id": opened(client, "garden bird net", "1.2")["id"]}
    image = base64.b64encode((BUILTIN / "lenet" / "samples" / "14_label7.png").read_bytes()).decode()
    body = {"predictor": predictor, "images": [{"id": "dark", "data": image}]}
    answer = client.post("/api/predict/images", json=body).json()["responses"][0]
    best = answer["features"][0]
    assert (answer["input_id"], best["classification"]["label"]) == ("dark", "wren")
    assert sum(feature["probability"] for feature in answer["features"]) == pytest.approx(1, abs=1e-5)


def test_a_full_example_manifest_is_shown(client: httpx2.Client, files: Files) -> None:
    query = {"model_name": "Garden-Bird-Net"}
    manifest = client.get("/api/registry/models/manifest", params=query).json()["manifests"][0]
    assert manifest["container"]["amd64"]["gpu"] == "example/pytorch-agent:2.4-cuda"
    assert manifest["inputs"][0]["parameters"]["dimensions"] == {"value": "[3, 8, 8]"}
    assert manifest["model"]["base_url"] == f"http://127.0.0.1:{files.port}"
    assert manifest["model"]["graph_checksum"] == md5(files.folder / "bird.pt")
    assert manifest["attributes"]["top1"] == "91.2"
    assert manifest["before_preprocess"].startswith("raise SystemExit")


def test_a_second_start_finds_them_in_the_cache(live: Live, home: Path, repository: Path, files: Files) -> None:
    with live.client() as client:
        outputs(client, "Remote-Net")
    shutil.rmtree(files.folder / "right")
    before = len(files.asked)
    with serving(home, "--models", str(repository)) as again, again.client() as client:
        np.testing.assert_allclose(outputs(client, "Remote-Net"), computed(50), rtol=1e-5, atol=1e-6)
    assert len(files.asked) == before
