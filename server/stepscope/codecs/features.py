"""Postprocessing: what the arrays that a model gives for one input say, as features, best first.

A limit of 0 keeps all features.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from stepscope.core.errors import PredictionFailed
from stepscope.core.manifests import OutputSpec
from stepscope.core.predictions import (
    Array,
    BoundingBox,
    Classification,
    Encoded,
    Feature,
    FeatureType,
    Geolocation,
    InstanceSegment,
    RawImage,
    SemanticSegment,
)
from stepscope.core.rankings import Floats, Ranking, best, probabilities, ranked

Outputs = tuple[Array, ...]

_CLASSIFICATION = FeatureType.CLASSIFICATION


@dataclass(frozen=True, slots=True)
class _Reading:
    """What is read, and how."""

    outputs: Outputs
    spec: OutputSpec
    labels: Sequence[str]
    limit: int


def features(outputs: Outputs, spec: OutputSpec, labels: Sequence[str], limit: int) -> list[Feature]:
    """Return the features of one input. Raises `PredictionFailed` when the arrays aren't what the manifest says."""
    try:
        return _READERS[spec.feature_type](_Reading(outputs, spec, labels, limit))
    except (IndexError, ValueError, TypeError) as fault:
        raise PredictionFailed from fault


def classes(ranking: Ranking, labels: Sequence[str], limit: int) -> list[Feature]:
    """Return a ranking's classes by name."""
    count = limit or len(ranking.classes)
    return [
        Feature(_CLASSIFICATION, share, Classification(index, labels[index] if index < len(labels) else str(index)))
        for index, share in zip(ranking.classes[:count], ranking.probabilities[:count], strict=True)
    ]


def _shares(row: Floats) -> list[float]:
    shares: list[float] = np.clip(row, 0.0, 1.0).tolist()
    return shares


def _label(labels: Sequence[str], index: int) -> str:
    return labels[index] if 0 <= index < len(labels) else str(index)


def _classification(it: _Reading) -> list[Feature]:
    scores = it.outputs[it.spec.probabilities_layer].reshape(1, -1)
    return classes(ranked(scores, it.limit, softmax=it.spec.softmax)[0], it.labels, it.limit)


def _row(it: _Reading) -> Floats:
    return probabilities(it.outputs[it.spec.probabilities_layer].reshape(-1), softmax=it.spec.softmax)


def _geolocation(it: _Reading) -> list[Feature]:
    """Classes whose labels are `latitude,longitude`."""
    row = _row(it)
    chosen = best(row, it.limit)
    places = [[float(number) for number in it.labels[index].split(",")[:2]] for index in chosen.tolist()]
    return [
        Feature(FeatureType.GEOLOCATION, probability, Geolocation(index, latitude, longitude))
        for index, probability, (latitude, longitude) in zip(chosen.tolist(), _shares(row[chosen]), places, strict=True)
    ]


def _boxes(it: _Reading) -> list[tuple[int, float, BoundingBox]]:
    """Return the place among the outputs, the probability and the box of each detection, best first.

    Boxes have shape (detections, 4), classes and probabilities (detections,).
    """
    corners = np.nan_to_num(it.outputs[it.spec.boxes_layer].astype(np.float64).reshape(-1, 4))
    classes = it.outputs[it.spec.classes_layer].reshape(-1)
    row = probabilities(it.outputs[it.spec.probabilities_layer].reshape(-1))
    if not len(corners) == len(classes) == len(row):
        raise ValueError("boxes, classes and probabilities differ in number")
    order = [0, 1, 2, 3] if it.spec.boxes_order == "xyxy" else [1, 0, 3, 2]
    chosen = best(row, it.limit)
    found = zip(chosen.tolist(), _shares(row[chosen]), corners[chosen][:, order].tolist(), strict=True)
    return [(at, probability, _box(int(classes[at]), it.labels, corner)) for at, probability, corner in found]


def _box(index: int, labels: Sequence[str], corner: list[float]) -> BoundingBox:
    xmin, ymin, xmax, ymax = corner
    return BoundingBox(index, _label(labels, index), xmin=xmin, xmax=xmax, ymin=ymin, ymax=ymax)


def _bounding_boxes(it: _Reading) -> list[Feature]:
    boxes = _boxes(it)
    return [Feature(FeatureType.BOUNDINGBOX, probability, box) for _, probability, box in boxes]


def _instance_segments(it: _Reading) -> list[Feature]:
    """Boxes with masks of shape (detections, height, width), or with a dimension of 1 after the first."""
    masks = it.outputs[it.spec.masks_layer]
    masks = masks[:, 0] if masks.ndim == 4 else masks
    return [
        Feature(FeatureType.INSTANCESEGMENT, probability, InstanceSegment(box, _finite(masks[at])))
        for at, probability, box in _boxes(it)
    ]


def _semantic_segment(it: _Reading) -> list[Feature]:
    """Scores of shape (classes, height, width), or classes of shape (height, width)."""
    mask = it.outputs[it.spec.masks_layer]
    if mask.ndim == 3 and np.issubdtype(mask.dtype, np.floating):
        mask = probabilities(mask).argmax(axis=0).astype(np.int32)
    mask = mask[0] if mask.ndim == 3 else mask
    if mask.ndim != 2:
        raise ValueError("a mask has height and width")
    return [Feature(FeatureType.SEMANTICSEGMENT, 1.0, SemanticSegment(_finite(mask).astype(np.int32)))]


def _image(it: _Reading) -> list[Feature]:
    """Pixels with the channels first or last, or the bytes of an image file."""
    pixels = it.outputs[0]
    if pixels.ndim == 1 and pixels.dtype == np.uint8:
        return [Feature(FeatureType.IMAGE, 1.0, Encoded(pixels.tobytes(), it.spec.format or "png"))]
    pixels = pixels[:, :, np.newaxis] if pixels.ndim == 2 else pixels
    if pixels.shape[0] in (1, 3, 4) and pixels.shape[2] not in (1, 3, 4):
        pixels = pixels.transpose(1, 2, 0)
    exact = pixels if pixels.dtype == np.uint8 else _finite(pixels.astype(np.float32))
    return [Feature(FeatureType.RAW_IMAGE, 1.0, RawImage(np.ascontiguousarray(exact)))]


def _finite(array: Array) -> Array:
    if not np.issubdtype(array.dtype, np.floating):
        return array
    kept: Array = np.nan_to_num(array)
    return kept


def _raw(it: _Reading) -> list[Feature]:
    """One feature for each output, in order: its octets, little-endian in C order, with its shape beside."""
    return [
        Feature(FeatureType.RAW, 1.0, Encoded(_octets(array), array.dtype.name), {"shape": str(list(array.shape))})
        for array in it.outputs
    ]


def _octets(array: Array) -> bytes:
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _encoded(it: _Reading) -> list[Feature]:
    """The octets of the first output, in the format that the manifest names."""
    plain = "utf-8" if it.spec.feature_type is FeatureType.TEXT else it.outputs[0].dtype.name
    return [Feature(it.spec.feature_type, 1.0, Encoded(_octets(it.outputs[0]), it.spec.format or plain))]


_READERS: dict[FeatureType, Callable[[_Reading], list[Feature]]] = {
    FeatureType.CLASSIFICATION: _classification,
    FeatureType.GEOLOCATION: _geolocation,
    FeatureType.BOUNDINGBOX: _bounding_boxes,
    FeatureType.INSTANCESEGMENT: _instance_segments,
    FeatureType.SEMANTICSEGMENT: _semantic_segment,
    FeatureType.IMAGE: _image,
    FeatureType.RAW_IMAGE: _image,
    FeatureType.RAW: _raw,
    FeatureType.TEXT: _encoded,
    FeatureType.AUDIO: _encoded,
    FeatureType.REGION: _encoded,
}
