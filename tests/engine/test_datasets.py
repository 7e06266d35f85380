import shutil
import zipfile
from pathlib import Path

import pytest

import stepscope
from stepscope.core.errors import DatasetNotFound
from stepscope.engine import datasets as datasets_module
from stepscope.engine.datasets import Dataset, DatasetItem, Datasets

BUILTIN = Path(stepscope.__file__).parent / "builtin"
TABLE = "file,label\na.png,dog\nb.png,0\nc.png,\n"


def add(folder: Path, text: str = "labels: [cat, dog]\nimages: images\n") -> Path:
    path = folder / "datasets" / "vision" / "pets"
    path.mkdir(parents=True)
    (path / "dataset.yaml").write_text(text)
    return path


def add_images(folder: Path, table: str = TABLE) -> None:
    images = folder / "images"
    images.mkdir()
    (images / "labels.csv").write_text(table)
    for name in ("a.png", "b.png", "c.png"):
        (images / name).write_bytes(name.encode())


def pets(folder: Path) -> Dataset:
    found = Datasets([folder])
    found.scan()
    return found.find("vision", "pets")


def as_zip(folder: Path) -> None:
    shutil.make_archive(str(folder / "images"), "zip", folder / "images")
    shutil.rmtree(folder / "images")
    (folder / "dataset.yaml").write_text("labels: [cat, dog]\nimages: images.zip\n")


@pytest.mark.parametrize("zipped", [False, True])
def test_images_come_with_their_labels(tmp_path: Path, zipped: bool) -> None:
    folder = add(tmp_path)
    add_images(folder)
    if zipped:
        as_zip(folder)
    dataset = pets(tmp_path)
    assert len(dataset) == 3
    assert list(dataset) == [
        DatasetItem(id="a.png", data=b"a.png", label=1),
        DatasetItem(id="b.png", data=b"b.png", label=0),
        DatasetItem(id="c.png", data=b"c.png", label=None),
    ]


@pytest.mark.parametrize("zipped", [False, True])
def test_a_bad_item_leaves_the_others_alone(
    tmp_path: Path, zipped: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(datasets_module, "ITEM_LIMIT_BYTES", 1000)
    folder = add(tmp_path)
    add_images(folder, "file,label\n../dataset.yaml,0\n/etc/passwd,0\nmissing.png,0\nbomb.png,0\na.png,1\n")
    (folder / "images" / "bomb.png").write_bytes(bytes(10**6))
    if zipped:
        as_zip(folder)
    assert [item.data for item in pets(tmp_path)] == [b"", b"", b"", b"", b"a.png"]
    assert "is larger than 1000 bytes" in caplog.text


def test_a_link_out_of_the_images_is_not_followed(tmp_path: Path) -> None:
    folder = add(tmp_path)
    add_images(folder)
    (folder / "images" / "a.png").unlink()
    (folder / "images" / "a.png").symlink_to("/etc/hostname")
    assert [item.data for item in pets(tmp_path)] == [b"", b"b.png", b"c.png"]


def test_items_are_read_while_they_are_used(tmp_path: Path) -> None:
    folder = add(tmp_path)
    add_images(folder)
    items = iter(pets(tmp_path))
    assert next(items).id == "a.png"
    (folder / "images" / "b.png").write_bytes(b"new")
    assert next(items).data == b"new"


def test_labels_may_be_in_a_file(tmp_path: Path) -> None:
    folder = add(tmp_path, "labels: labels.txt\nimages: images\n")
    (folder / "labels.txt").write_text("cat\ndog\n")
    add_images(folder)
    assert [item.label for item in pets(tmp_path)] == [1, 0, None]


@pytest.mark.parametrize(
    "text", ["[]", "images: nowhere\n", "images: ../..\n", "labels: missing.txt\nimages: images\n", "imges: images\n"]
)
def test_broken_datasets_are_left_out(tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    add_images(add(tmp_path, text))
    assert Datasets([tmp_path]).scan() == 0
    assert "left out" in caplog.text


def test_a_missing_dataset_says_what_there_is(tmp_path: Path) -> None:
    add_images(add(tmp_path))
    found = Datasets([tmp_path])
    found.scan()
    with pytest.raises(DatasetNotFound, match="vision/pets"):
        found.find("vision", "pet")


def test_the_first_folder_wins(tmp_path: Path) -> None:
    add_images(add(tmp_path / "a", "description: first\n"))
    add_images(add(tmp_path / "b", "description: second\n"))
    found = Datasets([tmp_path / "a", tmp_path / "b"])
    assert found.scan() == 1
    assert found.find("Vision", "PETS").description == "first"


def test_the_digits_ship() -> None:
    found = Datasets([BUILTIN])
    found.scan()
    digits = found.find("vision", "digits")
    items = list(digits)
    assert len(items) == len(digits) == 360
    assert {item.label for item in items} == set(range(10))
    assert all(item.data.startswith(b"\x89PNG") for item in items)
    with zipfile.ZipFile(digits.images) as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
