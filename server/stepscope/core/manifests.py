"""What a model's manifest says: what the model takes, what it gives, and where its weights are.

The values stand here; `manifest_documents.py` reads them from the YAML document.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from stepscope.core.predictions import FeatureType


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec:
    """How an image becomes an input array: `(pixel - mean) / scale`, per channel.

    `dimensions` are (channels, height, width) whatever the layout; None leaves the size as decoded.
    `mean` and `scale` have one value or one for each channel, on the scale of 0 to 255 and in the order R, G, B.
    `color_mode` is RGB, BGR or L (one grey channel). `crop_ratio` is the share of the resized image that is kept.
    """

    element_type: str = "float32"
    dimensions: tuple[int, int, int] | None = None
    mean: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (1.0,)
    layout: str = "HWC"
    color_mode: str = "RGB"
    resize_method: str = "bilinear"
    keep_aspect_ratio: bool = False
    max_dimension: int | None = None
    crop_method: str = "center"
    crop_ratio: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """An input array as it comes; a dimension of None takes any length, `dimensions` of None any shape."""

    element_type: str = "float32"
    dimensions: tuple[int | None, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """One input of the model. `parameters` holds the manifest's own entries, each as YAML text."""

    type: str
    spec: ImageSpec | TensorSpec
    description: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSpec:
    """What the model's output arrays mean. Layers are indices of outputs.

    `labels_path` names a file beside the manifest, `labels_url` one to fetch; `format` is that of encoded outputs
    (audio, region, image). `boxes_order` is `xyxy` (xmin, ymin, xmax, ymax) or `yxyx`. `parameters` holds the
    manifest's own entries, each as YAML text.
    """

    type: str
    feature_type: FeatureType
    description: str = ""
    element_type: str = "float32"
    softmax: bool = False
    probabilities_layer: int = 0
    boxes_layer: int = 0
    classes_layer: int = 1
    masks_layer: int = 0
    boxes_order: str = "xyxy"
    labels_path: str = ""
    labels_url: str = ""
    labels_checksum: str = ""
    format: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsSpec:
    """Where the weights are and what they are. Checksums are `md5:HEX` or `sha256:HEX`, or empty.

    Paths are relative to the manifest's folder and to `base_url`, or whole URLs. `architecture` is
    `file.py:Name` in the model's folder or `package.module:name`, for formats that hold only parameters.
    """

    base_url: str = ""
    graph_path: str = ""
    weights_path: str = ""
    graph_checksum: str = ""
    weights_checksum: str = ""
    is_archive: bool = False
    format: str = ""
    architecture: str = ""
    arguments: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionSpec:
    """How the model may run: `way` is one of `tuning.WAYS`, empty for the fastest.

    `tolerance` is the largest relative difference from eager fp32, None for the default. `threads` are the CPU's.
    `compile` says whether `torch.compile` is tried, None for the server's choice.
    """

    way: str = ""
    threads: int | None = None
    tolerance: float | None = None
    compile: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSpec:
    """Whether dimension 0 of the model's inputs and outputs counts inputs.

    Where it doesn't, one input is all that a call takes. The inputs at the places of `shared` have no such dimension
    even so: inputs run together only when they agree on them.
    """

    is_counted: bool = True
    shared: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """The local files of a model, checked and ready to load."""

    graph: Path | None = None
    weights: Path | None = None
    architecture: Path | None = None
    labels: Path | None = None

    @property
    def main(self) -> Path | None:
        """The file that holds the parameters."""
        return self.weights or self.graph


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A model as its manifest describes it. `framework_version` is a constraint on the installed framework.

    `code` holds the texts of the manifest's processing functions: shown, never run.
    `files` is None until the model's files have been found (`engine/weights.py`).
    """

    name: str
    version: str
    framework_name: str
    framework_version: str
    inputs: tuple[InputSpec, ...]
    output: OutputSpec
    weights: WeightsSpec = WeightsSpec()
    execution: ExecutionSpec = ExecutionSpec()
    batch: BatchSpec = BatchSpec()
    folder: Path = Path()
    container: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    description: str = ""
    references: tuple[str, ...] = ()
    license: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    code: Mapping[str, str] = field(default_factory=dict)
    hidden: bool = False
    files: ModelFiles | None = None

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    def pinned(self, way: str | None) -> "Manifest":
        """Return the manifest with another way of running, empty for the fastest; None leaves it as it is."""
        return self if way is None else replace(self, execution=replace(self.execution, way=way))


def registry_view(manifest: Manifest) -> dict[str, object]:
    """Return the manifest as the registry shows it: parameters as `{name: {"value": "<yaml text>"}}`."""
    weights = manifest.weights
    return {
        "name": manifest.name,
        "version": manifest.version,
        "framework": {"name": manifest.framework_name, "version": manifest.framework_version},
        "container": {arch: dict(images) for arch, images in manifest.container.items()},
        "description": manifest.description,
        "reference": list(manifest.references),
        "license": manifest.license,
        "inputs": [_entry_view(entry.type, entry.description, entry.parameters) for entry in manifest.inputs],
        "output": _entry_view(manifest.output.type, manifest.output.description, manifest.output.parameters),
        **manifest.code,
        "model": {
            "base_url": weights.base_url,
            "graph_path": weights.graph_path,
            "weights_path": weights.weights_path,
            "is_archive": weights.is_archive,
            "graph_checksum": _bare_md5(weights.graph_checksum),
            "weights_checksum": _bare_md5(weights.weights_checksum),
        },
        "attributes": dict(manifest.attributes),
        "hidden": manifest.hidden,
    }


def _entry_view(kind: str, description: str, parameters: Mapping[str, str]) -> dict[str, object]:
    values = {name: {"value": text} for name, text in parameters.items()}
    return {"type": kind, "description": description, "parameters": values}


def _bare_md5(checksum: str) -> str:
    """MD5 sums travel as bare digits, as older readers of the registry expect them."""
    return checksum.removeprefix("md5:")
