# ruff: noqa: ASYNC240 - small files of a test
import asyncio
import hashlib
import io
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stepscope.core.errors import ModelUnavailable, UrlFailed
from stepscope.core.manifests import Manifest, ModelFiles, OutputSpec, WeightsSpec
from stepscope.core.predictions import FeatureType
from stepscope.engine.weights import Weights, checksum

DATA = b"weights" * 1000
SHA256 = "sha256:" + hashlib.sha256(DATA).hexdigest()
MD5 = "md5:" + hashlib.md5(DATA).hexdigest()


class Shelf:
    """Serves bytes by URL and counts how often."""

    def __init__(self, **files: bytes) -> None:
        self.files = {f"https://example.org/{name.replace('_', '.')}": data for name, data in files.items()}
        self.asked: list[str] = []

    async def download(self, url: str, path: Path, limit_bytes: int) -> None:
        self.asked.append(url)
        await asyncio.sleep(0.01)
        if url not in self.files or len(self.files[url]) > limit_bytes:
            raise UrlFailed
        await asyncio.to_thread(path.write_bytes, self.files[url])


def manifest(folder: Path, **weights: Any) -> Manifest:
    return Manifest(
        name="m",
        version="1.0.0",
        framework_name="PyTorch",
        framework_version="*",
        inputs=(),
        output=OutputSpec(type="raw", feature_type=FeatureType.RAW),
        weights=WeightsSpec(**weights),
        folder=folder,
    )


def remote(folder: Path, **weights: Any) -> Manifest:
    return manifest(folder, base_url="https://example.org/", graph_path="m.pt2", **weights)


async def found(weights: Weights, wanted: Manifest) -> ModelFiles:
    files = (await weights.find(wanted)).files
    assert files is not None
    return files


async def refused(weights: Weights, wanted: Manifest) -> str:
    with pytest.raises(ModelUnavailable) as caught:
        await weights.find(wanted)
    assert "/" not in str(caught.value).removeprefix("Model")
    return str(caught.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    path.mkdir()
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


async def test_files_beside_the_manifest_come_first(folder: Path, cache: Path) -> None:
    for name in ("m.pt2", "net.py", "labels.txt"):
        (folder / name).write_bytes(DATA)
    wanted = remote(folder, graph_checksum=MD5, architecture="net.py:Net")
    shelf = Shelf()
    files = await found(Weights(shelf, cache), replace(wanted, output=replace(wanted.output, labels_path="labels.txt")))
    assert files == ModelFiles(
        graph=folder / "m.pt2", architecture=folder / "net.py", labels=folder / "labels.txt", weights=None
    )
    assert files.main == folder / "m.pt2"
    assert shelf.asked == []


@pytest.mark.parametrize("sum_of_it", [MD5, SHA256, ""])
async def test_files_are_fetched_once_and_checked(folder: Path, cache: Path, sum_of_it: str) -> None:
    shelf = Shelf(m_pt2=DATA)
    weights, wanted = Weights(shelf, cache), remote(folder, graph_checksum=sum_of_it)
    together = await asyncio.gather(*[found(weights, wanted) for _ in range(20)])
    later = await found(Weights(shelf, cache), wanted)
    assert {files.graph for files in [*together, later]} == {later.graph}
    assert later.graph is not None
    assert later.graph.read_bytes() == DATA
    assert later.graph.suffix == ".pt2"
    assert len(shelf.asked) == 1
    assert [path.name for path in cache.iterdir()] == [later.graph.name]


async def test_a_wrong_checksum_is_refused_and_nothing_stays(folder: Path, cache: Path) -> None:
    shelf = Shelf(m_pt2=DATA + b"!")
    weights = Weights(shelf, cache)
    assert "checksum differs" in await refused(weights, remote(folder, graph_checksum=SHA256))
    assert list(cache.iterdir()) == []
    shelf.files["https://example.org/m.pt2"] = DATA
    assert (await found(weights, remote(folder, graph_checksum=SHA256))).graph is not None


async def test_a_file_that_changes_is_checked_again(folder: Path, cache: Path) -> None:
    (folder / "m.pt2").write_bytes(DATA)
    weights = Weights(Shelf(), cache)
    await found(weights, remote(folder, graph_checksum=SHA256))
    (folder / "m.pt2").write_bytes(DATA + b"!")
    assert "checksum differs" in await refused(weights, remote(folder, graph_checksum=SHA256))


async def test_what_cannot_be_had_says_so(folder: Path, cache: Path) -> None:
    weights = Weights(Shelf(m_pt2=DATA), cache, limit_bytes=100)
    assert "can't be fetched" in await refused(weights, remote(folder))
    assert "isn't there" in await refused(weights, manifest(folder, graph_path="m.pt2"))


async def test_a_link_out_of_the_folder_is_refused(folder: Path, cache: Path) -> None:
    (folder.parent / "secret").write_bytes(DATA)
    (folder / "m.pt2").symlink_to(folder.parent / "secret")
    (folder / "net.py").symlink_to(folder.parent / "secret")
    weights = Weights(Shelf(), cache)
    assert "link out" in await refused(weights, manifest(folder, graph_path="m.pt2"))
    assert "link out" in await refused(weights, manifest(folder, architecture="net.py:Net"))


async def test_labels_are_fetched_too(folder: Path, cache: Path) -> None:
    wanted = manifest(folder)
    output = replace(wanted.output, labels_url="https://example.org/l.txt", labels_checksum=SHA256)
    files = await found(Weights(Shelf(l_txt=DATA), cache), replace(wanted, output=output))
    assert files.labels is not None
    assert files.labels.read_bytes() == DATA


def zipped(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README", "x")
        archive.writestr(name, DATA)
    return buffer.getvalue()


def tarred(name: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(DATA)
        archive.addfile(member, io.BytesIO(DATA))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "archive",
    [zipped("m.pt2"), zipped("all/m.pt2"), tarred("m.pt2"), tarred("./all/m.pt2")],
    ids=["zip", "zip with a folder", "tar", "tar with a folder"],
)
async def test_files_come_out_of_archives(folder: Path, cache: Path, archive: bytes) -> None:
    shelf = Shelf(a_zip=archive)
    wanted = manifest(
        folder, base_url="https://example.org/a.zip", graph_path="m.pt2", graph_checksum=SHA256, is_archive=True
    )
    files = await found(Weights(shelf, cache), wanted)
    assert files.graph is not None
    assert checksum(files.graph, "sha256") == SHA256
    await found(Weights(shelf, cache), wanted)
    assert len(shelf.asked) == 1


@pytest.mark.parametrize(
    "archive",
    [zipped("other"), b"no archive", zipped("m.pt2")[:-30], tarred("m.pt2")[:40]],
    ids=["of another file", "none", "zip cut short", "tar cut short"],
)
async def test_broken_archives_are_refused(folder: Path, cache: Path, archive: bytes) -> None:
    wanted = manifest(folder, base_url="https://example.org/a.zip", graph_path="m.pt2", is_archive=True)
    assert "archive" in await refused(Weights(Shelf(a_zip=archive), cache), wanted)


async def test_an_archive_that_unpacks_too_large_is_refused(folder: Path, cache: Path) -> None:
    wanted = manifest(folder, base_url="https://example.org/a.zip", graph_path="m.pt2", is_archive=True)
    assert "archive" in await refused(Weights(Shelf(a_zip=zipped("m.pt2")), cache, limit_bytes=1000), wanted)
    assert not [path for path in cache.iterdir() if path.name.endswith(".part")]


async def test_a_cache_that_cannot_be_written_is_told_without_its_path(folder: Path, cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    assert "kept" in await refused(Weights(Shelf(m_pt2=DATA), cache), remote(folder))
