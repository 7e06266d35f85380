"""The inputs of a manifest: how images are prepared, and which arrays are taken as they come."""

from stepscope.core.manifest_nodes import Node
from stepscope.core.manifests import ImageSpec, TensorSpec

_KEYS = (
    *("element_type", "input_layer", "dimensions", "mean", "scale", "layout", "color_mode", "max_dimension"),
    *("keep_aspect_ratio", "crop_method", "crop_ratio", "resize", "crop", "decode", "input_type", "url"),
)
IMAGE_TYPES = ("float32", "float16", "float64", "uint8", "int8", "int32", "raw_image")
TENSOR_TYPES = (
    *("float32", "float64", "float16", "bool"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
)
RESIZE_METHODS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
_RESIZE_NAMES = {"area": "box"} | {name: name for name in RESIZE_METHODS}
_LARGEST = 16384


def input_spec(entry: Node) -> ImageSpec | TensorSpec:
    """Read the parameters of one entry of `inputs`. Raises `ManifestInvalid`."""
    parameters = entry.node("parameters", _KEYS)
    return _image(parameters) if entry.text("type").lower() == "image" else _tensor(parameters)


def _tensor(parameters: Node) -> TensorSpec:
    lengths = parameters.whole_numbers("dimensions")
    if lengths is not None and any(length is not None and length < -1 for length in lengths):
        raise parameters.invalid("dimensions", "must be a list of lengths; null or -1 takes any length")
    return TensorSpec(
        element_type=parameters.choice("element_type", TENSOR_TYPES, "float32"),
        dimensions=None if lengths is None else tuple(None if length == -1 else length for length in lengths),
    )


def _image(parameters: Node) -> ImageSpec:
    resize = _section(parameters, "resize", ("method", "keep_aspect_ratio", "max_dimension"))
    crop = _section(parameters, "crop", ("method", "ratio"))
    decode = parameters.node("decode", ("color_mode", "layout", "data_layout"))
    dimensions = _dimensions(parameters)
    color_mode = _color_mode(_holder(parameters, "color_mode", decode, "color_mode"), dimensions)
    layout = _holder(parameters, "layout", decode, "layout" if "layout" in decode.values else "data_layout")
    channels = 1 if color_mode == "L" else 3
    spec = ImageSpec(
        element_type=parameters.choice("element_type", IMAGE_TYPES, "float32"),
        dimensions=dimensions,
        mean=_per_channel(parameters, "mean", 0.0, channels),
        scale=_per_channel(parameters, "scale", 1.0, channels),
        layout=layout[0].choice(layout[1], ("HWC", "CHW"), "HWC"),
        color_mode=color_mode,
        resize_method=_RESIZE_NAMES[resize.choice("method", tuple(_RESIZE_NAMES), "bilinear")],
        keep_aspect_ratio=_flag(_holder(parameters, "keep_aspect_ratio", resize, "keep_aspect_ratio")),
        max_dimension=_length(_holder(parameters, "max_dimension", resize, "max_dimension")),
        crop_method=_crop_method(_holder(parameters, "crop_method", crop, "method")),
        crop_ratio=_ratio(_holder(parameters, "crop_ratio", crop, "ratio")),
    )
    if 0.0 in spec.scale:
        raise parameters.invalid("scale", "is a divisor and can't be 0")
    return spec


_Place = tuple[Node, str]
"""A key and the mapping that it is in."""


def _section(parameters: Node, key: str, known: tuple[str, ...]) -> Node:
    """Return `resize` or `crop`, which may also be the method's name alone."""
    value = parameters.values.get(key)
    if isinstance(value, str):
        return Node(path=parameters.path, name=f"{parameters.name}.{key}", values={"method": value})
    return parameters.node(key, known)


def _holder(parameters: Node, flat: str, section: Node, key: str) -> _Place:
    """Say where an entry stands that may stand flat or in a section, but not in both."""
    if key not in section.values:
        return parameters, flat
    if flat in parameters.values:
        raise section.invalid(key, f"is given twice, here and as {flat!r}")
    return section, key


def _dimensions(parameters: Node) -> tuple[int, int, int] | None:
    given = parameters.whole_numbers("dimensions")
    if given is None:
        return None
    lengths = [length for length in given if length is not None and 1 <= length <= _LARGEST]
    if len(lengths) == len(given) == 1:
        lengths = [3, lengths[0], lengths[0]]
    if len(lengths) != 3 or len(given) not in (1, 3) or lengths[0] not in (1, 3):
        raise parameters.invalid("dimensions", f"must be [channels, height, width] with 1 or 3 channels, to {_LARGEST}")
    channels, height, width = lengths
    return channels, height, width


def _color_mode(place: _Place, dimensions: tuple[int, int, int] | None) -> str:
    node, key = place
    grey = dimensions is not None and dimensions[0] == 1
    named = node.choice(key, ("RGB", "BGR", "L", "grayscale", "grey", "gray"), "L" if grey else "RGB")
    mode = named if named in ("RGB", "BGR") else "L"
    if dimensions is not None and grey != (mode == "L"):
        raise node.invalid(key, f"{named} doesn't fit {dimensions[0]} channels")
    return mode


def _per_channel(parameters: Node, key: str, default: float, channels: int) -> tuple[float, ...]:
    numbers = parameters.numbers(key, default)
    if len(numbers) not in (1, channels):
        raise parameters.invalid(key, f"must be one number or {channels}")
    return numbers


def _flag(place: _Place) -> bool:
    return place[0].flag(place[1])


def _crop_method(place: _Place) -> str:
    return place[0].choice(place[1], ("center", "topleft"), "center")


def _length(place: _Place) -> int | None:
    node, key = place
    value = node.values.get(key)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _LARGEST):
        raise node.invalid(key, f"must be a number of pixels, 1 to {_LARGEST}")
    return value


def _ratio(place: _Place) -> float:
    node, key = place
    numbers = node.numbers(key, 1.0)
    if len(numbers) != 1 or not 0.0 < numbers[0] <= 1.0:
        raise node.invalid(key, "must be above 0 and at most 1")
    return numbers[0]
