import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from stepscope.settings import BUILTIN
from tests.system.live import KEYED, Live, serving

SAMPLES = sorted((BUILTIN / "lenet" / "samples").glob("*.png"))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """The server as it ships, without keys."""
    with serving(tmp_path_factory.mktemp("server")) as live:
        yield live


@pytest.fixture(scope="session")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server that asks for a key, with three digits in the place of the dataset that ships, to be quick."""
    folder = tmp_path_factory.mktemp("keyed")
    _write_digits(folder / "models" / "datasets" / "vision" / "digits")
    with serving(folder, "--models", str(folder / "models"), environment=KEYED) as live:
        yield live


def _write_digits(folder: Path) -> None:
    images = folder / "images"
    images.mkdir(parents=True)
    for sample in SAMPLES[:3]:
        shutil.copy(sample, images)
    (images / "labels.csv").write_text("file,label\n" + "".join(f"{sample.name},\n" for sample in SAMPLES[:3]))
    (folder / "dataset.yaml").write_text("labels: ['0', '1', '2']\nimages: images\n")


@pytest.fixture
def client(server: Live) -> Iterator[httpx2.Client]:
    with server.client() as client:
        yield client
