import logging
import os
from pathlib import Path

import pytest

from stepscope.core.errors import FrameworkNotFound, ModelNotFound
from stepscope.core.predictions import ModelRef
from stepscope.engine.catalog import Catalog

INSTALLED = (("PyTorch", "2.13.0"), ("Echo", "1.0.0"))


def add(folder: Path, name: str, version: str, framework: str = "PyTorch", wanted: str = ">=2", more: str = "") -> Path:
    path = folder / name / version / "manifest.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"name: {name}\nversion: {version}\nframework: {{name: {framework}, version: '{wanted}'}}\n"
        f"inputs: [{{type: raw}}]\noutput: {{type: raw}}\n{more}"
    )
    return path


def catalog(*folders: Path, aliases: dict[str, str] | None = None) -> Catalog:
    made = Catalog(folders, INSTALLED, aliases)
    made.scan()
    return made


@pytest.fixture
def models(tmp_path: Path) -> Path:
    add(tmp_path, "Le-Net", "1.0.0")
    add(tmp_path, "Le-Net", "1.2.0")
    add(tmp_path, "Le-Net", "1.10.0")
    add(tmp_path, "Le-Net", "2.0.0-rc.1")
    add(tmp_path, "Le-Net", "3.0.0", wanted=">=3")
    add(tmp_path, "alex", "1.0", framework="MXNet")
    add(tmp_path, "secret", "1.0.0", more="hidden: true\n")
    add(tmp_path, "echo", "1.0.0", framework="Echo", wanted="1")
    return tmp_path


@pytest.mark.parametrize(
    ("ref", "version"),
    [
        (ModelRef(name="Le-Net"), "1.10.0"),
        (ModelRef(name="le net", version=""), "1.10.0"),
        (ModelRef(name="LE_NET", version="1.0.0"), "1.0.0"),
        (ModelRef(name="le-net", version="<1.10"), "1.2.0"),
        (ModelRef(name="le-net", version="1.2"), "1.2.0"),
        (ModelRef(name="le-net", version=">=2.0.0-a"), "2.0.0-rc.1"),
        (ModelRef(name="le-net", framework_name="pytorch", framework_version="2.13"), "1.10.0"),
        (ModelRef(name="le-net", framework_name="PyTorch", framework_version="latest"), "1.10.0"),
    ],
)
def test_the_newest_that_fits_and_runs_is_chosen(models: Path, ref: ModelRef, version: str) -> None:
    assert catalog(models).resolve(ref).version == version


@pytest.mark.parametrize(
    ("ref", "near", "said"),
    [
        (ModelRef(name="le-nett"), ("Le-Net",), "le-nett"),
        (ModelRef(name="secrets"), (), "secrets"),
        (ModelRef(name="le-net", version="9"), ("Le-Net 1.0.0",), "other versions"),
        (ModelRef(name="le-net", version="nine"), ("Le-Net 1.0.0",), "isn't a version"),
        (ModelRef(name="le-net", version="3.0.0"), ("Le-Net 3.0.0",), "runs on PyTorch >=3"),
        (ModelRef(name="le-net", version="latest"), (), "runs on PyTorch >=3"),
        (ModelRef(name="le-net", framework_name="TensorFlow"), ("Le-Net 1.0.0",), "installed is PyTorch 2.13.0"),
        (ModelRef(name="le-net", framework_version="1.5"), ("Le-Net 1.0.0",), "asked for was * 1.5"),
        (ModelRef(name="le-net", framework_version="old"), (), "framework version"),
        (ModelRef(name="alex"), ("alex 1.0",), "runs on MXNet"),
        (ModelRef(), ("Le-Net", "alex", "echo"), "name the model"),
    ],
)
def test_what_cannot_be_served_is_said_with_what_can(
    models: Path, ref: ModelRef, near: tuple[str, ...], said: str
) -> None:
    with pytest.raises(ModelNotFound) as caught:
        catalog(models).resolve(ref)
    assert set(near) <= set(caught.value.near)
    assert said in str(caught.value)
    assert str(models) not in str(caught.value)


def test_without_a_name_the_only_model_is_meant(tmp_path: Path) -> None:
    add(tmp_path, "one", "1.0.0")
    add(tmp_path, "secret", "1.0.0", more="hidden: true\n")
    assert catalog(tmp_path).resolve(ModelRef()).name == "one"


def test_an_alias_stands_for_its_model_whatever_framework_is_named(models: Path) -> None:
    known = catalog(models, aliases={"ResNet 101": "Le-Net", "echo": "Le-Net"})
    ref = ModelRef(name="resnet-101", version="1.0", framework_name="MXNet", framework_version="1.7.0")
    assert known.resolve(ref).name == "Le-Net"
    assert known.resolve(ModelRef(name="echo")).name == "echo"


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        (
            ModelRef(),
            "echo 1.0.0, alex 1.0, Le-Net 1.0.0, Le-Net 1.2.0, Le-Net 1.10.0, Le-Net 2.0.0-rc.1, Le-Net 3.0.0",
        ),
        (ModelRef(name="le net", version="1.x"), "Le-Net 1.0.0, Le-Net 1.2.0, Le-Net 1.10.0"),
        (ModelRef(name="echo", version=">=1, <2"), "echo 1.0.0"),
        (ModelRef(version="latest"), "echo 1.0.0, alex 1.0, Le-Net 3.0.0"),
        (ModelRef(framework_name="mxnet"), "alex 1.0"),
        (ModelRef(framework_name="pytorch", framework_version="2", version="1.2"), "Le-Net 1.2.0"),
        (ModelRef(name="secret"), ""),
        (ModelRef(name="nothing"), ""),
    ],
)
def test_the_registry_lists_all_matches_in_order(models: Path, ref: ModelRef, expected: str) -> None:
    assert ", ".join(str(manifest) for manifest in catalog(models).models(ref)) == expected


def test_frameworks_are_listed_by_name_and_version(tmp_path: Path) -> None:
    made = Catalog([tmp_path], [("PyTorch", "2.13.0"), ("PyTorch", "2.9.0"), ("Echo", "1.0.0")])
    assert made.frameworks() == [("Echo", "1.0.0"), ("PyTorch", "2.9.0"), ("PyTorch", "2.13.0")]
    assert made.frameworks("pytorch", "latest") == [("PyTorch", "2.13.0")]
    assert made.frameworks("*", "2.9") == [("PyTorch", "2.9.0")]
    with pytest.raises(FrameworkNotFound, match=r"PyTorch 2\.13\.0"):
        made.frameworks("PyTorch", "newest")


def test_broken_manifests_leave_the_others_alone(models: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number, text in enumerate(["", "[", "name: x", "a: &a [*a]", "\x00", "!!python/object/apply:os.getcwd []"]):
        path = models / f"broken{number}" / "1.0.0" / "manifest.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    made = Catalog([models], INSTALLED)
    with caplog.at_level(logging.ERROR):
        assert made.scan() == 8
    assert caplog.text.count("left out") == 6
    caplog.clear()
    made.scan()
    assert caplog.text == ""


def test_the_first_folder_wins(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    add(tmp_path / "a", "one", "1.0", more="license: first\n")
    add(tmp_path / "b", "One", "1.0.0", more="license: second\n")
    assert catalog(tmp_path / "a", tmp_path / "b").resolve(ModelRef(name="one")).license == "first"
    assert "is left out" in caplog.text


def test_a_scan_sees_what_changed(tmp_path: Path) -> None:
    path = add(tmp_path, "one", "1.0.0")
    made = catalog(tmp_path)
    before = made.resolve(ModelRef(name="one"))
    made.scan()
    assert made.resolve(ModelRef(name="one")) is before
    add(tmp_path, "one", "1.0.0", more="license: new\n")
    add(tmp_path, "two", "1.0.0")
    assert made.scan() == 2
    assert made.resolve(ModelRef(name="one")).license == "new"
    os.remove(path)
    assert made.scan() == 1


def test_a_version_stays_as_written(tmp_path: Path) -> None:
    add(tmp_path, "one", "1.10")
    assert catalog(tmp_path).resolve(ModelRef(name="one")).version == "1.10"


def test_an_opened_version_is_found_again(tmp_path: Path) -> None:
    add(tmp_path, "one", "1.0")
    add(tmp_path, "one", "1.0.5")
    assert catalog(tmp_path).resolve(ModelRef(name="one", version="1.0")).version == "1.0.5"
    assert catalog(tmp_path).resolve(ModelRef(name="one", version="=1.0")).version == "1.0"


def test_a_missing_folder_is_no_failure(tmp_path: Path) -> None:
    assert Catalog([tmp_path / "nowhere"], INSTALLED).scan() == 0
