from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from stepscope.codecs.features import features
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

wild = arrays.arrays(np.float32, st.integers(1, 20), elements=st.floats(width=32))


def read(
    kind: FeatureType, *outputs: Array, labels: tuple[str, ...] = (), limit: int = 0, **spec: Any
) -> list[Feature]:
    return features(outputs, OutputSpec(type="", feature_type=kind, **spec), labels, limit)


def test_classes_come_best_first_with_their_labels() -> None:
    found = read(FeatureType.CLASSIFICATION, np.array([0.1, 0.7, 0.2]), labels=("a", "b", "c"), limit=2)
    assert [feature.payload for feature in found] == [Classification(1, "b"), Classification(2, "c")]
    assert [feature.probability for feature in found] == pytest.approx([0.7, 0.2])
    assert all(type(feature.probability) is float for feature in found)


def test_a_class_without_a_label_goes_by_its_index() -> None:
    found = read(FeatureType.CLASSIFICATION, np.array([0.1, 0.7]), labels=("a",))
    assert [feature.payload for feature in found] == [Classification(1, "1"), Classification(0, "a")]


def test_a_limit_of_0_keeps_all_classes() -> None:
    assert len(read(FeatureType.CLASSIFICATION, np.zeros(1000), limit=0)) == 1000
    assert len(read(FeatureType.CLASSIFICATION, np.zeros(10), limit=50)) == 10


@given(wild, st.booleans(), st.integers(0, 5))
def test_probabilities_stay_within_0_and_1_whatever_the_model_says(
    row: np.ndarray[Any, Any], softmax: bool, limit: int
) -> None:
    found = read(FeatureType.CLASSIFICATION, row, softmax=softmax, limit=limit)
    assert all(0.0 <= feature.probability <= 1.0 for feature in found)
    shares = [feature.probability for feature in found]
    assert shares == sorted(shares, reverse=True)


def test_nan_comes_last() -> None:
    found = read(FeatureType.CLASSIFICATION, np.array([np.nan, 0.3, 9.0]), softmax=True)
    assert [feature.payload.index for feature in found if isinstance(feature.payload, Classification)] == [2, 1, 0]


def test_integer_scores_are_ordered_as_numbers() -> None:
    found = read(FeatureType.CLASSIFICATION, np.array([3, 200, 7], dtype=np.uint8), limit=1)
    assert found[0].payload == Classification(1, "1")


BOXES = np.array([[0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]], dtype=np.float32)
DETECTED = (BOXES, np.array([1, 0]), np.array([0.3, 0.9], dtype=np.float32))


@pytest.mark.parametrize(("order", "first"), [("xyxy", (0.5, 0.7, 0.6, 0.8)), ("yxyx", (0.6, 0.8, 0.5, 0.7))])
def test_boxes_come_best_first(order: str, first: tuple[float, ...]) -> None:
    found = read(
        FeatureType.BOUNDINGBOX, *DETECTED, labels=("cat", "dog"), limit=1, probabilities_layer=2, boxes_order=order
    )
    assert len(found) == 1
    assert found[0].probability == pytest.approx(0.9)
    box = found[0].payload
    assert isinstance(box, BoundingBox)
    assert (box.index, box.label) == (0, "cat")
    assert (box.xmin, box.xmax, box.ymin, box.ymax) == pytest.approx(first)


def test_no_detection_is_no_feature() -> None:
    empty = (np.zeros((0, 4)), np.zeros(0, dtype=np.int64), np.zeros(0))
    assert read(FeatureType.BOUNDINGBOX, *empty, probabilities_layer=2) == []


def test_instances_keep_their_own_masks() -> None:
    masks = np.stack([np.zeros((1, 2, 3)), np.ones((1, 2, 3))]).astype(np.float32)
    found = read(FeatureType.INSTANCESEGMENT, *DETECTED, masks, probabilities_layer=2, masks_layer=3)
    payloads = [feature.payload for feature in found]
    assert [p.mask.sum() for p in payloads if isinstance(p, InstanceSegment)] == [6.0, 0.0]


@pytest.mark.parametrize(
    "output",
    [
        np.array([[[0.1, 0.9]], [[0.8, 0.2]]], dtype=np.float32),
        np.array([[1, 0]], dtype=np.int64),
        np.array([[[1, 0]]], dtype=np.uint8),
    ],
)
def test_a_semantic_segment_is_the_class_of_each_pixel(output: Array) -> None:
    payload = read(FeatureType.SEMANTICSEGMENT, output)[0].payload
    assert isinstance(payload, SemanticSegment)
    assert payload.mask.tolist() == [[1, 0]]
    assert payload.mask.dtype == np.int32


@pytest.mark.parametrize("shape", [(3, 4, 5), (4, 5, 3), (4, 5), (1, 4, 5)])
@pytest.mark.parametrize(("given", "kept"), [("uint8", "uint8"), ("float32", "float32"), ("float64", "float32")])
def test_images_have_their_channels_last(shape: tuple[int, ...], given: str, kept: str) -> None:
    payload = read(FeatureType.RAW_IMAGE, np.zeros(shape, dtype=given))[0].payload
    assert isinstance(payload, RawImage)
    assert payload.pixels.shape == (4, 5, 3 if 3 in shape else 1)
    assert payload.pixels.dtype == kept


def test_an_image_file_stays_one() -> None:
    found = read(FeatureType.RAW_IMAGE, np.frombuffer(b"\x89PNG", dtype=np.uint8))
    assert found == [Feature(FeatureType.IMAGE, 1.0, Encoded(b"\x89PNG", "png"))]


def test_raw_outputs_are_little_endian_octets() -> None:
    found = read(FeatureType.RAW, np.array([[1, 2]], dtype=">i4"), np.array([True]))
    assert found[0].payload == Encoded(b"\x01\0\0\0\x02\0\0\0", "int32")
    assert found[0].metadata == {"shape": "[1, 2]"}
    assert found[1].payload == Encoded(b"\x01", "bool")


@pytest.mark.parametrize(
    ("kind", "named", "expected"),
    [(FeatureType.TEXT, "", "utf-8"), (FeatureType.AUDIO, "wav", "wav"), (FeatureType.REGION, "json", "json")],
)
def test_octets_go_out_in_the_format_of_the_manifest(kind: FeatureType, named: str, expected: str) -> None:
    found = read(kind, np.frombuffer("grün".encode(), dtype=np.uint8), format=named)
    assert found[0].payload == Encoded("grün".encode(), expected)


def test_places_are_in_the_labels() -> None:
    found = read(FeatureType.GEOLOCATION, np.array([0.2, 0.8]), labels=("1,2", "40.1, -88.2"), limit=1)
    assert found[0].payload == Geolocation(1, 40.1, -88.2)


@pytest.mark.parametrize(
    ("kind", "outputs", "labels"),
    [
        (FeatureType.CLASSIFICATION, (), ()),
        (FeatureType.BOUNDINGBOX, (BOXES,), ()),
        (FeatureType.BOUNDINGBOX, (BOXES, np.zeros(3), np.zeros(2)), ()),
        (FeatureType.GEOLOCATION, (np.zeros(2),), ("north", "south")),
        (FeatureType.SEMANTICSEGMENT, (np.zeros(4),), ()),
        (FeatureType.RAW_IMAGE, (np.zeros(4),), ()),
    ],
)
def test_outputs_that_the_manifest_does_not_describe_fail(
    kind: FeatureType, outputs: tuple[Array, ...], labels: tuple[str, ...]
) -> None:
    with pytest.raises(PredictionFailed):
        features(outputs, OutputSpec(type="", feature_type=kind, probabilities_layer=0), labels, 0)
