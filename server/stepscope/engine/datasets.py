"""Labelled images in the model folders: `datasets/CATEGORY/NAME/dataset.yaml`, its images in a folder or a zip file.

With the images lies `labels.csv`, one `file,label` a line under that heading; a label is one of the dataset's labels
or its index, and may be empty. Items are read one by one while they are used.
"""

import csv
import io
import logging
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Protocol

from stepscope.codecs.labels import read_labels
from stepscope.core.errors import DatasetNotFound, ManifestInvalid
from stepscope.core.manifest_documents import local_path
from stepscope.core.manifest_nodes import Node
from stepscope.core.versions import clean
from stepscope.engine.manifest_files import read_yaml

log = logging.getLogger(__name__)

ITEM_LIMIT_BYTES = 32 * 2**20
_TABLE = "labels.csv"
_KEYS = ("category", "name", "description", "references", "license", "labels", "images")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetItem:
    """An image file with the index of its label, None where there is none.

    `data` is empty when the file is missing, larger than is read here, or outside the dataset; the log says which.
    """

    id: str
    data: bytes
    label: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A labelled set of images; iterating reads it from the disk. Not for use by two threads at once."""

    category: str
    name: str
    labels: tuple[str, ...]
    images: Path
    description: str = ""
    references: tuple[str, ...] = ()
    license: str = ""

    def __len__(self) -> int:
        with _opened(self.images) as images:
            return sum(1 for _ in _rows(images))

    def __iter__(self) -> Iterator[DatasetItem]:
        with _opened(self.images) as images:
            for name, label in _rows(images):
                yield DatasetItem(id=name, data=self._data(images, name), label=self._index(label))

    def _data(self, images: "_Images", name: str) -> bytes:
        try:
            return images.read(name, ITEM_LIMIT_BYTES)
        except (OSError, KeyError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile) as fault:
            log.warning("dataset %s/%s: %s: %s", self.category, self.name, name, fault)
            return b""

    def _index(self, label: str) -> int | None:
        if label in self.labels:
            return self.labels.index(label)
        return int(label) if label.isascii() and label.isdecimal() else None


class Datasets:
    """The datasets of several folders; the first folder's wins among equal names."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(folders)
        self._found: dict[tuple[str, str], Dataset] = {}

    def scan(self) -> int:
        """Read the folders again, and return how many datasets there are. Broken ones are logged and left out."""
        found: dict[tuple[str, str], Dataset] = {}
        for path in (path for folder in self._folders for path in sorted(folder.glob("datasets/*/*/dataset.yaml"))):
            try:
                dataset = _dataset(path)
            except ManifestInvalid as fault:
                log.error("a dataset is left out: %s", fault)
                continue
            found.setdefault((clean(dataset.category), clean(dataset.name)), dataset)
        self._found = found
        return len(found)

    def find(self, category: str, name: str) -> Dataset:
        """Return a dataset. Raises `DatasetNotFound`."""
        dataset = self._found.get((clean(category), clean(name)))
        if dataset is None:
            known = [f"{found.category}/{found.name}" for found in self.all()]
            near = get_close_matches(f"{category}/{name}".lower(), known, n=5, cutoff=0.4)
            raise DatasetNotFound(category, name, near)
        return dataset

    def all(self) -> list[Dataset]:
        """List the datasets by category and name."""
        return [self._found[key] for key in sorted(self._found)]


def _dataset(path: Path) -> Dataset:
    document = read_yaml(path)
    if not isinstance(document, dict):
        raise ManifestInvalid(path, "dataset", "must be a mapping of keys to values")
    root = Node(path=path, name="", values=document)
    root.check_keys(_KEYS)
    return Dataset(
        category=root.text("category") or path.parent.parent.name,
        name=root.text("name") or path.parent.name,
        labels=_labels(root),
        images=_inside(root, "images", local_path(root, "images") or "images"),
        description=root.text("description").strip(),
        references=root.text_list("references"),
        license=root.text("license"),
    )


def _labels(root: Node) -> tuple[str, ...]:
    """Labels stand in the document as a list, or in a file beside it."""
    if not isinstance(root.values.get("labels"), str):
        return root.text_list("labels")
    return read_labels(_inside(root, "labels", local_path(root, "labels")).read_bytes())


def _inside(root: Node, key: str, name: str) -> Path:
    folder = root.path.parent.resolve()
    path = (folder / name).resolve()
    if not path.is_relative_to(folder) or not path.exists():
        raise root.invalid(key, f"{name} isn't in the dataset's folder")
    return path


class _Images(Protocol):
    """Where image files and their table are read from."""

    def read(self, name: str, limit_bytes: int) -> bytes:
        """Return a file. Raises what the archive or the system raises, or `ValueError` past the limit."""


@dataclass(frozen=True, slots=True)
class _Folder:
    folder: Path

    def read(self, name: str, limit_bytes: int) -> bytes:
        path = (self.folder / name).resolve()
        if not path.is_relative_to(self.folder):
            raise ValueError("leads out of the dataset")
        with path.open("rb") as file:
            return _within(file.read(limit_bytes + 1), limit_bytes)


@dataclass(frozen=True, slots=True)
class _Zip:
    archive: zipfile.ZipFile

    def read(self, name: str, limit_bytes: int) -> bytes:
        with self.archive.open(name) as file:
            return _within(file.read(limit_bytes + 1), limit_bytes)


def _within(data: bytes, limit_bytes: int) -> bytes:
    if len(data) > limit_bytes:
        raise ValueError(f"is larger than {limit_bytes} bytes")
    return data


@contextmanager
def _opened(images: Path) -> Iterator[_Images]:
    if images.is_dir():
        yield _Folder(images)
    else:
        with zipfile.ZipFile(images) as archive:
            yield _Zip(archive)


def _rows(images: _Images) -> Iterator[tuple[str, str]]:
    """Yield the file and the label of each line of the table."""
    table = images.read(_TABLE, ITEM_LIMIT_BYTES).decode("utf-8-sig")
    for row in csv.DictReader(io.StringIO(table)):
        yield row["file"], (row.get("label") or "").strip()
