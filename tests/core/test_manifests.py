from pathlib import Path
from typing import Any

import pytest
import yaml

from stepscope.codecs import images
from stepscope.core.errors import ManifestInvalid
from stepscope.core.manifest_documents import parse_manifest
from stepscope.core.manifest_inputs import RESIZE_METHODS
from stepscope.core.manifests import ExecutionSpec, ImageSpec, Manifest, TensorSpec, registry_view
from stepscope.core.predictions import FeatureType

PATH = Path("models/birds/1.2.0/manifest.yaml")
BIRDS = """
name: Garden-Bird-Net
version: 1.2.0
framework: {name: PyTorch, version: ">=2.0.0, <3.0.0"}
container:
  amd64: {cpu: "example/agent:cpu", gpu: "example/agent:gpu"}
description: birds
references: [https://example.org/birds]
license: Apache-2.0
modality: image_classification
inputs:
  - type: image
    description: a photograph
    parameters:
      element_type: float32
      input_layer: 0
      layout: CHW
      color_mode: RGB
      dimensions: [3, 224, 224]
      mean: [123.675, 116.28, 103.53]
      scale: 58
output:
  type: classification
  parameters:
    probabilities_layer: 0
    probabilities_transform: softmax
    features_url: https://example.org/labels.txt
    features_checksum: 8b1a9953c4611296a827abf8c47804d7
before_preprocess: "raise SystemExit"
model:
  base_url: https://example.org/v1.2
  graph_path: birds.pt
  weights_path: ""
  is_archive: false
  graph_checksum: 5D41402ABC4B2A76B9719D911017C592
attributes: {kind: CNN, top1: 91.2}
"""


def birds(**changes: Any) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(BIRDS)
    return document | changes


def with_parameters(**parameters: Any) -> ImageSpec | TensorSpec:
    inputs = [{"type": "image", "parameters": parameters}]
    return parse_manifest(birds(inputs=inputs), PATH).inputs[0].spec


def refused(document: object) -> ManifestInvalid:
    with pytest.raises(ManifestInvalid) as caught:
        parse_manifest(document, PATH)
    return caught.value


def test_a_manifest_of_the_older_system_is_read() -> None:
    manifest = parse_manifest(birds(), PATH)
    assert (manifest.name, manifest.version, manifest.folder) == ("Garden-Bird-Net", "1.2.0", PATH.parent)
    assert (manifest.framework_name, manifest.framework_version) == ("PyTorch", ">=2.0.0, <3.0.0")
    assert manifest.inputs[0].spec == ImageSpec(
        dimensions=(3, 224, 224), layout="CHW", mean=(123.675, 116.28, 103.53), scale=(58.0,)
    )
    assert manifest.output.feature_type is FeatureType.CLASSIFICATION
    assert manifest.output.softmax
    assert manifest.output.labels_url == "https://example.org/labels.txt"
    assert manifest.output.labels_checksum == "md5:8b1a9953c4611296a827abf8c47804d7"
    assert manifest.weights.graph_checksum == "md5:5d41402abc4b2a76b9719d911017c592"
    assert manifest.attributes == {"kind": "CNN", "top1": "91.2"}
    assert manifest.code == {"before_preprocess": "raise SystemExit"}
    assert manifest.references == ("https://example.org/birds",)
    assert str(manifest) == "Garden-Bird-Net 1.2.0"


def test_the_registry_shows_parameters_as_yaml_text() -> None:
    view: Any = registry_view(parse_manifest(birds(), PATH))
    parameters = view["inputs"][0]["parameters"]
    assert parameters["dimensions"] == {"value": "[3, 224, 224]"}
    assert parameters["mean"] == {"value": "[123.675, 116.28, 103.53]"}
    assert parameters["scale"] == {"value": "58"}
    assert parameters["element_type"] == {"value": "float32"}
    assert view["framework"] == {"name": "PyTorch", "version": ">=2.0.0, <3.0.0"}
    assert view["reference"] == ["https://example.org/birds"]
    assert view["model"]["graph_checksum"] == "5d41402abc4b2a76b9719d911017c592"
    assert view["before_preprocess"] == "raise SystemExit"
    assert view["container"]["amd64"]["gpu"] == "example/agent:gpu"


@pytest.mark.parametrize("value", [[3, 224, 224], 0.5, "a\nb", True, None, {"method": "area"}, "ünï", "x" * 300])
def test_yaml_texts_mean_the_value(value: object) -> None:
    manifest = parse_manifest(birds(output={"type": "raw", "parameters": {"anything": value}}), PATH)
    text = manifest.output.parameters["anything"]
    assert yaml.safe_load(text) == value


def test_image_defaults_are_those_of_the_contract() -> None:
    assert with_parameters() == ImageSpec()
    assert with_parameters(dimensions=299) == ImageSpec(dimensions=(3, 299, 299))
    assert with_parameters(dimensions=[299]) == ImageSpec(dimensions=(3, 299, 299))


def test_our_own_entries_come_first_class() -> None:
    assert with_parameters(
        dimensions=[3, 8, 8],
        decode={"color_mode": "bgr", "data_layout": "chw"},
        resize={"method": "Bicubic", "keep_aspect_ratio": True, "max_dimension": 640},
        crop={"method": "topleft", "ratio": 0.875},
    ) == ImageSpec(
        dimensions=(3, 8, 8),
        color_mode="BGR",
        layout="CHW",
        resize_method="bicubic",
        keep_aspect_ratio=True,
        max_dimension=640,
        crop_method="topleft",
        crop_ratio=0.875,
    )
    assert with_parameters(resize="area") == ImageSpec(resize_method="box")


def test_every_resize_method_of_a_manifest_is_known_to_the_codec() -> None:
    assert set(RESIZE_METHODS) == set(images.RESIZE_METHODS)


def test_one_channel_is_grey() -> None:
    assert with_parameters(dimensions=[1, 28, 28]) == ImageSpec(dimensions=(1, 28, 28), color_mode="L")
    assert with_parameters(color_mode="grayscale", mean=[3]) == ImageSpec(color_mode="L", mean=(3.0,))


def test_several_tensors_may_be_inputs() -> None:
    inputs = [
        {"type": "raw", "parameters": {"element_type": "int64", "dimensions": [-1, 5]}},
        {"type": "raw", "parameters": {"element_type": "bool"}},
    ]
    manifest = parse_manifest(birds(inputs=inputs), PATH)
    assert [entry.spec for entry in manifest.inputs] == [
        TensorSpec(element_type="int64", dimensions=(None, 5)),
        TensorSpec(element_type="bool"),
    ]


def test_an_empty_version_is_that_of_the_folder() -> None:
    assert parse_manifest(birds(version=None), PATH).version == "1.2.0"


def test_detectors_have_their_own_layers() -> None:
    output = parse_manifest(birds(output={"type": "instancesegment"}), PATH).output
    assert (output.boxes_layer, output.classes_layer, output.probabilities_layer, output.masks_layer) == (0, 1, 2, 3)
    assert parse_manifest(birds(output={"type": "semanticsegment"}), PATH).output.masks_layer == 0


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"name": ""}, "name", "is missing"),
        ({"name": ["a"]}, "name", "text"),
        ({"version": "new"}, "version", "isn't a version"),
        ({"framework": {"name": "PyTorch", "version": "two"}}, "framework.version", "constraint"),
        ({"framework": "PyTorch"}, "framework", "mapping"),
        ({"inputs": []}, "inputs", "at least one"),
        ({"inputs": {"type": "image"}}, "inputs", "list"),
        ({"inputs": [{"type": "video"}]}, "inputs[0].type", "known are image, raw"),
        ({"output": {"type": "clasification"}}, "output.type", "known are classification"),
        ({"output": {"type": "raw", "parameters": {"probabilities_layer": "probs"}}}, "probabilities_layer", "index"),
        ({"output": {"type": "raw", "parameters": {"labels": "../x"}}}, "output.parameters.labels", "inside"),
        ({"outptu": {}}, "outptu", "did you mean 'output'"),
        ({"model": {"graph_pth": "x"}}, "model.graph_pth", "did you mean 'graph_path'"),
        ({"model": {"graph_path": "/etc/passwd"}}, "model.graph_path", "inside"),
        ({"model": {"graph_path": "a/../../b"}}, "model.graph_path", "inside"),
        ({"model": {"graph_path": "file:///etc/passwd"}}, "model.graph_path", "inside"),
        ({"model": {"architecture": "../a.py:Net"}}, "model.architecture", "inside"),
        ({"model": {"architecture": "a.py"}}, "model.architecture", "file.py:Name"),
        ({"model": {"format": "pickle"}}, "model.format", "known are safetensors"),
        ({"model": {"graph_checksum": "12"}}, "model.graph_checksum", "MD5"),
        ({"hidden": "no"}, "hidden", "true or false"),
        ({"attributes": {"top1": [1]}}, "attributes.top1", "text"),
    ],
)
def test_faults_name_the_field(changes: dict[str, Any], field: str, reason: str) -> None:
    fault = refused(birds(**changes))
    assert fault.field.endswith(field)
    assert reason in str(fault)
    assert str(PATH) in str(fault)


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"dimensions": [3, 0, 5]}, "dimensions"),
        ({"dimensions": [2, 5, 5]}, "dimensions"),
        ({"dimensions": [3, 5]}, "dimensions"),
        ({"dimensions": "big"}, "dimensions"),
        ({"dimensions": [3, None, 5]}, "dimensions"),
        ({"dimentions": [3, 5, 5]}, "dimentions"),
        ({"mean": [1, 2]}, "mean"),
        ({"mean": "x"}, "mean"),
        ({"mean": float("nan")}, "mean"),
        ({"scale": 0}, "scale"),
        ({"layout": "NHWC"}, "layout"),
        ({"color_mode": "RGB", "dimensions": [1, 5, 5]}, "color_mode"),
        ({"color_mode": "RGB", "decode": {"color_mode": "BGR"}}, "decode.color_mode"),
        ({"resize": {"metod": "area"}}, "resize.metod"),
        ({"resize": {"method": "fancy"}}, "resize.method"),
        ({"crop": {"ratio": 1.5}}, "crop.ratio"),
        ({"max_dimension": -1}, "max_dimension"),
        ({"keep_aspect_ratio": "yes"}, "keep_aspect_ratio"),
        ({"element_type": "complex64"}, "element_type"),
    ],
)
def test_image_faults_name_the_parameter(parameters: dict[str, Any], field: str) -> None:
    fault = refused(birds(inputs=[{"type": "image", "parameters": parameters}]))
    assert fault.field == f"inputs[0].parameters.{field}"


@pytest.mark.parametrize("document", [None, [], "text", 5])
def test_a_document_is_a_mapping(document: object) -> None:
    assert "mapping" in str(refused(document))


def test_foreign_keys_are_left_alone() -> None:
    assert isinstance(parse_manifest(birds(modality="x", workload={"a": 1}, steps=[]), PATH), Manifest)


def test_a_manifest_may_pin_how_it_runs() -> None:
    pinned = parse_manifest(
        birds(execution={"way": "Frozen", "threads": 1, "tolerance": 0.02, "compile": False}), PATH
    ).execution
    assert pinned == ExecutionSpec(way="frozen", threads=1, tolerance=0.02, compile=False)
    assert parse_manifest(birds(), PATH).execution == ExecutionSpec()
    assert parse_manifest(birds(execution={"way": "auto"}), PATH).execution == ExecutionSpec()


@pytest.mark.parametrize(
    ("execution", "field", "reason"),
    [
        ({"way": "fast"}, "execution.way", "known are auto, eager"),
        ({"threads": 0}, "execution.threads", "1 to 1024"),
        ({"threads": True}, "execution.threads", "1 to 1024"),
        ({"tolerance": -0.1}, "execution.tolerance", "relative difference"),
        ({"tolerance": 1}, "execution.tolerance", "relative difference"),
        ({"compile": "perhaps"}, "execution.compile", "true or false"),
        ({"tolerence": 0.1}, "execution.tolerence", "did you mean 'tolerance'"),
    ],
)
def test_wrong_executions_name_their_field(execution: dict[str, Any], field: str, reason: str) -> None:
    fault = refused(birds(execution=execution))
    assert field in str(fault)
    assert reason in str(fault)
