"""Manifest documents: from the mapping that a YAML file holds to a `Manifest`.

Keys that we don't know are left alone, since other tools write their own, unless they look like a slip of the pen
in one of ours. Every fault is a `ManifestInvalid` that names the field by its dotted path.
"""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import yaml

from stepscope.core.errors import ManifestInvalid
from stepscope.core.manifest_executions import execution_spec
from stepscope.core.manifest_inputs import input_spec
from stepscope.core.manifest_nodes import Node
from stepscope.core.manifests import InputSpec, Manifest, OutputSpec, WeightsSpec
from stepscope.core.predictions import FeatureType
from stepscope.core.versions import ConstraintInvalid, VersionInvalid, parse_constraint, parse_version

_CODE = tuple(f"{when}{step}" for step in ("preprocess", "postprocess") for when in ("before_", "", "after_"))
_KEYS = (
    *("name", "version", "framework", "container", "description", "references", "reference", "license"),
    *("inputs", "output", "model", "attributes", "hidden", "execution", *_CODE),
)
_MODEL_KEYS = (
    *("base_url", "graph_path", "weights_path", "graph_checksum", "weights_checksum", "is_archive"),
    *("format", "architecture", "arguments"),
)
_OUTPUT_KEYS = (
    *("element_type", "features_url", "features_checksum", "labels", "format", "dimensions", "probabilities_transform"),
    *("probabilities_layer", "boxes_layer", "classes_layer", "masks_layer", "boxes_order"),
)
FORMATS = ("safetensors", "torch.export", "torchscript", "state_dict")
"""Kinds of weights files that a manifest can name; an empty one is told by the file's name."""

FEATURE_TYPES = {
    "classification": FeatureType.CLASSIFICATION,
    "boundingbox": FeatureType.BOUNDINGBOX,
    "semanticsegment": FeatureType.SEMANTICSEGMENT,
    "instancesegment": FeatureType.INSTANCESEGMENT,
    "image": FeatureType.RAW_IMAGE,
    "raw": FeatureType.RAW,
    "geolocation": FeatureType.GEOLOCATION,
    "text": FeatureType.TEXT,
    "audio": FeatureType.AUDIO,
    "region": FeatureType.REGION,
}
"""What each output type of a manifest is on the wire."""


def parse_manifest(document: object, path: Path) -> Manifest:
    """Read a manifest from the document that its file at `path` holds. Raises `ManifestInvalid`."""
    if not isinstance(document, Mapping):
        raise ManifestInvalid(path, "manifest", "must be a mapping of keys to values")
    root = Node(path=path, name="", values=document)
    root.check_keys(_KEYS)
    framework = root.node("framework", ("name", "version"))
    return Manifest(
        name=root.required_text("name"),
        version=_version(root, path),
        framework_name=framework.required_text("name"),
        framework_version=_constraint(framework),
        inputs=_inputs(root),
        output=_output(root),
        weights=_weights(root.node("model", _MODEL_KEYS)),
        execution=execution_spec(root),
        folder=path.parent,
        container=_container(root),
        description=root.text("description").strip(),
        references=root.text_list("references" if "references" in document else "reference"),
        license=root.text("license"),
        attributes=root.texts("attributes"),
        code={key: root.text(key) for key in _CODE if root.text(key)},
        hidden=root.flag("hidden"),
    )


def _container(root: Node) -> dict[str, dict[str, str]]:
    images = root.node("container")
    return {str(architecture): images.texts(str(architecture)) for architecture in images.values}


def _version(root: Node, path: Path) -> str:
    """The version in the manifest, or the name of the folder that it is in."""
    version = root.text("version") or path.parent.name
    try:
        parse_version(version)
    except VersionInvalid as fault:
        raise root.invalid("version", str(fault)) from fault
    return version


def _constraint(framework: Node) -> str:
    constraint = framework.text("version") or "*"
    try:
        parse_constraint(constraint)
    except ConstraintInvalid as fault:
        raise framework.invalid("version", str(fault)) from fault
    return constraint


def _inputs(root: Node) -> tuple[InputSpec, ...]:
    entries = root.nodes("inputs")
    if not entries:
        raise root.invalid("inputs", "must list at least one input")
    return tuple(
        InputSpec(
            type=entry.choice("type", ("image", "raw")),
            spec=input_spec(entry),
            description=entry.text("description"),
            parameters=_yaml_texts(entry),
        )
        for entry in entries
    )


def _output(root: Node) -> OutputSpec:
    entry = root.node("output", ("type", "description", "parameters"))
    parameters = entry.node("parameters", _OUTPUT_KEYS)
    kind = entry.choice("type", tuple(FEATURE_TYPES))
    # torchvision's detectors answer boxes, classes, scores, masks in this order.
    detects = kind in ("boundingbox", "instancesegment")
    return OutputSpec(
        type=kind,
        feature_type=FEATURE_TYPES[kind],
        description=entry.text("description"),
        element_type=parameters.text("element_type") or "float32",
        softmax=parameters.choice("probabilities_transform", ("", "none", "softmax"), "") == "softmax",
        probabilities_layer=parameters.index("probabilities_layer", 2 if detects else 0),
        boxes_layer=parameters.index("boxes_layer", 0),
        classes_layer=parameters.index("classes_layer", 1),
        masks_layer=parameters.index("masks_layer", 3 if detects else 0),
        boxes_order=parameters.choice("boxes_order", ("xyxy", "yxyx"), "xyxy"),
        labels_path=local_path(parameters, "labels"),
        labels_url=parameters.text("features_url"),
        labels_checksum=_checksum(parameters, "features_checksum"),
        format=parameters.text("format"),
        parameters=_yaml_texts(entry),
    )


def _weights(model: Node) -> WeightsSpec:
    return WeightsSpec(
        base_url=model.text("base_url"),
        graph_path=local_path(model, "graph_path"),
        weights_path=local_path(model, "weights_path"),
        graph_checksum=_checksum(model, "graph_checksum"),
        weights_checksum=_checksum(model, "weights_checksum"),
        is_archive=model.flag("is_archive"),
        format=model.choice("format", ("", *FORMATS), ""),
        architecture=_architecture(model),
        arguments={str(name): value for name, value in model.node("arguments").values.items()},
    )


def _architecture(model: Node) -> str:
    architecture = model.text("architecture")
    if architecture and not re.fullmatch(r"[\w./-]+:[A-Za-z_]\w*", architecture):
        raise model.invalid("architecture", "must be file.py:Name or package.module:name")
    safe_path(model, "architecture", architecture.partition(":")[0])
    return architecture


def local_path(node: Node, key: str) -> str:
    """Return a path below the model's folder, or a whole URL. Raises `ManifestInvalid`."""
    text = node.text(key)
    if not text.startswith(("http://", "https://")):
        safe_path(node, key, text)
    return text


def safe_path(node: Node, key: str, text: str) -> None:
    """Refuse a path that could lead out of the model's folder."""
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts or "\\" in text or "\0" in text or ":" in text:
        raise node.invalid(key, "must be a path inside the model's folder, without '..'")


def _checksum(node: Node, key: str) -> str:
    """Return `md5:HEX` or `sha256:HEX`, or the empty text."""
    text = node.text(key).lower()
    kind, _, digits = text.rpartition(":")
    kind = kind or {32: "md5", 64: "sha256"}.get(len(digits), "")
    if text and not re.fullmatch(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", f"{kind}:{digits}"):
        raise node.invalid(key, "must be an MD5 (32 hex digits) or a SHA-256 (64 hex digits)")
    return f"{kind}:{digits}" if text else ""


def _yaml_texts(entry: Node) -> dict[str, str]:
    return {str(name): yaml_text(value) for name, value in entry.node("parameters").values.items()}


def yaml_text(value: object) -> str:
    """Return the value as YAML on one line, as parameters travel in the registry."""
    text = str(yaml.safe_dump(value, default_flow_style=True, width=2**31, allow_unicode=True))
    return text.removesuffix("\n").removesuffix("\n...")
