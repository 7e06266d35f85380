"""Servables in folders: `NAME/servable_config.py` beside the folders of versions, an operator's own Python code."""

import importlib.util
import logging
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from stepscope.core.errors import ManifestInvalid, ServableInvalid
from stepscope.core.manifest_documents import parse_manifest
from stepscope.core.manifests import BatchSpec, InputSpec, Manifest, OutputSpec, WeightsSpec
from stepscope.core.predictions import FeatureType
from stepscope.core.servables import ModelDeclaration, Servable
from stepscope.engine.manifest_files import read_yaml
from stepscope.engine.servables import Version
from stepscope.mindspore.declarations import gathering

log = logging.getLogger("stepscope.servables")

FILE = "servable_config.py"
_VERSION = re.compile(r"\d{1,9}(\.\d{1,9}){0,2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a servable lies, and what runs its models."""

    directory: Path
    name: str
    framework: str

    @property
    def folder(self) -> Path:
        """The folder that holds its configuration and its versions."""
        return self.directory / self.name


def find(folders: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Yield the directory and name of every servable in the folders; of equal names, the first folder's counts."""
    seen: set[str] = set()
    for directory in folders:
        for path in sorted(directory.glob(f"*/{FILE}")):
            if path.parent.name not in seen:
                seen.add(path.parent.name)
                yield directory, path.parent.name


def load(place: Place, number: int = 0, *, threads: int = 1) -> list[Version]:
    """Import a configuration and return the version asked for, 0 meaning the newest. Raises `ServableInvalid`."""
    servable = read(place)
    folders = _folders(place, servable)
    if not folders:
        raise ServableInvalid(f"There is no valid version directory of models, servable directory: {place.folder}")
    if number and number not in folders:
        raise ServableInvalid(
            f"There is no specified version directory of models, specified version number: {number}, "
            f"servable directory: {place.folder}"
        )
    chosen = number or max(folders)
    return [_version(place, servable, chosen, folders[chosen], threads)]


def load_all(place: Place, *, threads: int = 1) -> list[Version]:
    """Import a configuration and return all of its versions. Raises `ServableInvalid`."""
    servable = read(place)
    found = _folders(place, servable)
    return [_version(place, servable, number, folder, threads) for number, folder in found.items()]


def _folders(place: Place, servable: Servable) -> dict[int, Path]:
    """Return the folders of versions; functions alone need none, and are version 1 then."""
    found = versions(place.folder)
    return found if found or servable.models else {1: place.folder}


def versions(folder: Path) -> dict[int, Path]:
    """Return the newest folder of each version number: 1 for `1`, `1.0.0` and `1.2.0`."""
    found: dict[int, tuple[tuple[int, ...], Path]] = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir() and _VERSION.fullmatch(path.name):
            parts = tuple([int(part) for part in path.name.split(".")])
            if parts[0] > 0 and (parts[0] not in found or found[parts[0]][0] < parts):
                found[parts[0]] = (parts, path)
    return {number: path for number, (_, path) in sorted(found.items())}


def read(place: Place) -> Servable:
    """Import a configuration and return what it declares. Raises `ServableInvalid`."""
    path = place.folder / FILE
    if not place.folder.is_dir():
        raise ServableInvalid(f"Check servable config failed, directory '{place.folder}' not exist")
    if not path.is_file():
        raise ServableInvalid(f"Check servable config failed, file '{path}' not exist")
    with gathering(place.name) as declared:
        try:
            _run(path, place)
        except Exception as fault:
            log.debug("%s can't be imported", path, exc_info=True)
            raise ServableInvalid(f"import {place.name}.servable_config failed, {fault}") from fault
    if not declared.methods:
        raise ServableInvalid(f"There is no method registered for servable {place.name}")
    return declared.as_servable()


def _run(path: Path, place: Place) -> None:
    """Run the file as a module of its own, so that no servable's name hides a module that is installed."""
    name = f"stepscope_servables_{abs(hash(str(place.folder)))}.servable_config"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with _on_path(place.directory):
        spec.loader.exec_module(module)


@contextmanager
def _on_path(directory: Path) -> Iterator[None]:
    """Let a configuration import what lies beside it, as `from NAME.helpers import ...`."""
    sys.path.append(str(directory))
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = written
        sys.path.remove(str(directory))


def _version(place: Place, servable: Servable, number: int, folder: Path, threads: int) -> Version:
    manifests = {model: _manifest(place, model, folder) for model in servable.models}
    return Version(number=number, servable=servable, manifests=manifests, threads=threads)


def _manifest(place: Place, model: ModelDeclaration, folder: Path) -> Manifest:
    path = (folder / model.file).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise ServableInvalid(
            f"Load model failed, servable directory: {place.directory}, servable name: {place.name}, "
            f"model file: '{model.file}', version number: {folder.name}: the file isn't there"
        )
    batch = BatchSpec(is_counted=model.with_batch_dim, shared=model.shared_inputs)
    beside = _beside(folder, model)
    if beside is not None:
        return beside if batch == BatchSpec() else replace(beside, batch=batch, name=f"{place.name}/{model.file}")
    return Manifest(
        name=f"{place.name}/{model.file}",
        version=folder.name,
        framework_name=place.framework,
        framework_version="*",
        inputs=tuple([InputSpec(type="raw", spec=spec) for spec in model.inputs]),
        output=OutputSpec(type="raw", feature_type=FeatureType.RAW),
        weights=WeightsSpec(
            weights_path=model.file,
            format=model.format,
            architecture=model.architecture,
            arguments=model.arguments,
        ),
        batch=batch,
        folder=folder,
    )


def _beside(folder: Path, model: ModelDeclaration) -> Manifest | None:
    """Return the manifest beside a model's file if it describes that file: the one that other dialects serve."""
    path = folder / "manifest.yaml"
    if not path.is_file() or model.architecture or model.inputs:
        return None
    try:
        manifest = parse_manifest(read_yaml(path), path)
    except ManifestInvalid as fault:
        raise ServableInvalid(f"Load model failed, {fault}") from fault
    named = manifest.weights.weights_path or manifest.weights.graph_path
    return manifest if named == model.file else None
