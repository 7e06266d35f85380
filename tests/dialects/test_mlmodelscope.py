"""The native wire's shapes: every type of feature is what the contract says, and options are read as old clients mean.

The life cycle over HTTP is tested in `tests/web/test_lifecycle.py`.
"""

import base64
import json
import re
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import numpy as np
import pytest

from stepscope.core.lifecycle import PredictorRecord
from stepscope.core.predictions import (
    Answer,
    BoundingBox,
    Classification,
    DeviceRef,
    Encoded,
    Feature,
    FeatureType,
    Geolocation,
    InputError,
    InstanceSegment,
    Options,
    RawImage,
    SemanticSegment,
    Summary,
)
from stepscope.core.tuning import WAYS, Candidate, Choice, Execution, Timing, Verdict
from stepscope.dialects.mlmodelscope import wire as convert
from stepscope.dialects.mlmodelscope.executions import write_executions
from stepscope.engine.models import Running
from stepscope_api import models as wire

BOX = BoundingBox(3, "cat", 0.1, 0.2, 0.3, 0.4)
PAYLOADS = [
    (FeatureType.CLASSIFICATION, Classification(0, ""), "classification"),
    (FeatureType.CLASSIFICATION, Classification(7, "n0 seven"), "classification"),
    (FeatureType.BOUNDINGBOX, BOX, "bounding_box"),
    (FeatureType.SEMANTICSEGMENT, SemanticSegment(np.arange(6, dtype=np.uint8).reshape(2, 3)), "semantic_segment"),
    (FeatureType.INSTANCESEGMENT, InstanceSegment(BOX, np.eye(2, dtype=np.int32)), "instance_segment"),
    (FeatureType.INSTANCESEGMENT, InstanceSegment(BOX, np.eye(2, dtype=np.float32)), "instance_segment"),
    (FeatureType.GEOLOCATION, Geolocation(1, 48.1, -11.5), "geolocation"),
    (FeatureType.RAW_IMAGE, RawImage(np.zeros((2, 3, 3), np.uint8)), "raw_image"),
    (FeatureType.RAW_IMAGE, RawImage(np.zeros((2, 3, 1), np.uint8)), "raw_image"),
    (FeatureType.RAW_IMAGE, RawImage(np.zeros((2, 3, 4), np.uint8)), "raw_image"),
    (FeatureType.RAW_IMAGE, RawImage(np.zeros((2, 3, 3), np.float32)), "raw_image"),
    (FeatureType.IMAGE, Encoded(b"file", "png"), "image"),
    (FeatureType.TEXT, Encoded("ü".encode(), "utf-8"), "text"),
    (FeatureType.AUDIO, Encoded(b"sound", "wav"), "audio"),
    (FeatureType.REGION, Encoded(b"region", "rle"), "region"),
    (FeatureType.RAW, Encoded(b"\x00\x01", "float32[1,2]"), "raw"),
]
NAMES = {field for _, _, field in PAYLOADS}


def written(value):
    return json.loads(msgspec.json.encode(value))


def test_every_type_of_feature_is_here():
    assert {kind for kind, _, _ in PAYLOADS} == set(FeatureType)


@pytest.mark.parametrize(("kind", "payload", "field"), PAYLOADS)
def test_a_feature_has_the_payload_that_its_type_names(contract, kind, payload, field):
    feature = written(convert.write_feature(Feature(kind, 0.5, payload, {"note": "x"})))
    contract.validate({"$ref": "#/components/schemas/Feature"}, feature)
    assert feature["type"] == kind.value
    assert NAMES & set(feature) == {field}
    assert re.fullmatch("[0-9a-f]{24}", feature["id"])


def test_masks_and_pixels_are_row_by_row():
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    image = written(convert.write_feature(Feature(FeatureType.RAW_IMAGE, 1, RawImage(pixels))))["raw_image"]
    assert (image["height"], image["width"], image["channels"]) == (2, 2, 3)
    assert image["char_list"] == list(range(12))
    assert base64.b64decode(image["jpeg_data"]).startswith(b"\xff\xd8")
    mask = InstanceSegment(BOX, np.array([[0.5, 1]], np.float32))
    segment = written(convert.write_feature(Feature(FeatureType.INSTANCESEGMENT, 1, mask)))["instance_segment"]
    assert segment["float_mask"] == [0.5, 1]
    assert "int_mask" not in segment
    assert (segment["index"], segment["label"], segment["xmin"], segment["ymax"]) == (3, "cat", 0.1, 0.4)


def test_ids_of_features_are_unique():
    assert len({convert.feature_id() for _ in range(10_000)}) == 10_000


def test_zeros_are_written_for_readers_that_do_not_default_them():
    feature = written(convert.write_feature(Feature(FeatureType.CLASSIFICATION, 0.0, Classification(0, "a"))))
    assert feature["probability"] == 0
    assert feature["classification"]["index"] == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.27038, "0.270380s"), (0, "0.000000s"), (-1, "0.000000s"), (3600, "3600.000000s"), (1e-9, "0.000000s")],
)
def test_durations_are_written_as_proto_has_them(contract, seconds, text):
    assert convert.write_duration(seconds) == text
    contract.validate({"$ref": "#/components/schemas/Duration"}, text)


def test_an_answers_error_stands_in_its_features_place(contract):
    good = Answer(input_id="a", features=[Feature(FeatureType.TEXT, 1.0, Encoded(b"", ""))])
    bad = Answer(input_id="b", error=InputError(code="url_failed", message="No."))
    answers = written(convert.write_answers([good, bad], "r"))
    for answer in answers:
        contract.validate({"$ref": "#/components/schemas/FeatureResponse"}, answer)
    assert [answer["input_id"] for answer in answers] == ["a", "b"]
    assert "error" not in answers[0]
    assert answers[1]["error"] == {"code": "url_failed", "message": "No."}
    assert "features" not in answers[1]


def test_a_summary_without_labels_has_no_shares(contract):
    summary = Summary(
        count=3,
        failed=3,
        top1=None,
        top5=None,
        batch_size=2,
        latency_p50_s=0.1,
        latency_p90_s=0.2,
        latency_p99_s=0.3,
        throughput=4.0,
    )
    told = written(convert.write_summary(summary))
    contract.validate({"$ref": "#/components/schemas/DatasetSummary"}, told)
    assert {"top1", "top5"} & set(told) == set()


@pytest.mark.parametrize(
    ("count", "device"),
    [
        ({}, None),
        ({"GPU": 0}, DeviceRef(kind="cuda", index=0)),
        ({"gpu": 1}, DeviceRef(kind="cuda", index=1)),
        ({"CUDA": 2}, DeviceRef(kind="cuda", index=2)),
        ({"CPU": 0}, DeviceRef()),
        ({"cpu": 4}, DeviceRef()),
    ],
)
def test_a_device_is_read_as_its_index(count, device):
    options = wire.PredictionOptions(execution_options=wire.ExecutionOptions(device_count=count))
    assert convert.read_options(options).device == device


def test_the_contract_names_the_ways_that_there_are():
    assert [way.value for way in wire.ExecutionWay] == ["auto", *WAYS]
    assert [verdict.value for verdict in wire.CandidateVerdict] == [verdict.value for verdict in Verdict]


@pytest.mark.parametrize(("given", "way"), [("auto", ""), ("eager", "eager"), ("frozen_bf16", "frozen_bf16")])
def test_a_way_is_read_by_its_name(given, way):
    options = wire.PredictionOptions(execution_options=wire.ExecutionOptions(way=wire.ExecutionWay(given)))
    assert convert.read_options(options).way == way


@pytest.mark.parametrize(("given", "seconds"), [(0, None), ("0", None), (1500, 1.5), ("1500", 1.5), ("007", 0.007)])
def test_a_time_out_is_read_in_milliseconds(given, seconds):
    options = wire.PredictionOptions(execution_options=wire.ExecutionOptions(timeout_in_ms=given))
    assert convert.read_options(options).timeout_s == seconds


def test_what_is_not_given_stays_open():
    assert convert.read_options(msgspec.UNSET) == Options()
    assert convert.read_options(wire.PredictionOptions()) == Options()
    assert convert.read_options(wire.PredictionOptions(feature_limit=0)).feature_limit == 0


@pytest.mark.parametrize("given", [wire.PredictorOpenRequest(), wire.PredictorOpenRequest(model_name="")])
def test_a_missing_or_empty_name_means_any(given):
    assert convert.read_ref(given).name == "*"


def test_the_end_of_a_lease_is_told_in_utc_to_the_millisecond(contract):
    opened = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    record = PredictorRecord(
        id="p",
        owner="ada",
        model_name="m",
        model_version="1",
        device=DeviceRef(),
        options=Options(),
        lease_s=60,
        opened_at=opened,
        used_at=opened,
    )
    ends = convert.write_expiry(record)
    assert ends == datetime(2026, 3, 1, 10, 1, 0, 123000, tzinfo=UTC)
    assert written(ends) == "2026-03-01T10:01:00.123000Z"


MEASURED = Execution(
    choices=(Choice(way="eager", threads=1, up_to=8), Choice(way="frozen", threads=2)),
    origin="measured",
    tolerance=0.02,
    candidates=(
        Candidate(way="eager", timings=(Timing(batch_size=1, threads=0, latency_ms=0.5, speedup=1.0),), error=0.0),
        Candidate(way="frozen", verdict=Verdict.CHOSEN, error=2.1e-7),
        Candidate(way="bf16", verdict=Verdict.WRONG, reason="its outputs have other types", error=float("inf")),
        Candidate(way="graphs", verdict=Verdict.SKIPPED, reason="the budget is spent"),
    ),
)


def executions(contract, execution):
    """Return how a model runs as the registry tells it, checked against the contract."""
    running = [Running(name="m", version="1", device=DeviceRef(kind="cuda", index=1), execution=execution)]
    (told,) = written(write_executions(running)[("m", "1")])
    contract.validate({"$ref": "#/components/schemas/ModelExecution"}, told)
    return told


def test_what_was_measured_is_told(contract):
    told = executions(contract, MEASURED)
    candidates = told.pop("candidates")
    assert told == {
        "device": "cuda:1",
        "state": "ready",
        "origin": "measured",
        "tolerance": 0.02,
        "choices": [{"way": "eager", "threads": 1, "up_to": 8}, {"way": "frozen", "threads": 2}],
    }
    assert candidates[0]["timings"] == [{"batch_size": 1, "threads": 0, "latency_ms": 0.5, "speedup": 1.0}]
    assert [each["verdict"] for each in candidates] == ["slower", "chosen", "wrong", "skipped"]
    assert [each.get("reason") for each in candidates] == [None, None, *[c.reason for c in MEASURED.candidates[2:]]]


def test_an_error_without_a_number_is_left_out(contract):
    assert [each.get("error") for each in executions(contract, MEASURED)["candidates"]] == [0.0, 2.1e-7, None, None]


def test_a_model_that_is_tuned_says_so(contract):
    assert executions(contract, Execution(tuning=True))["state"] == "tuning"
    told = executions(contract, Execution(origin="pinned", note="it is so"))
    assert (told["state"], told["origin"], told["note"], told["candidates"]) == ("ready", "pinned", "it is so", [])


def test_models_are_told_apart_by_name_and_version():
    running = [
        Running(name=name, version=version, device=DeviceRef(), execution=Execution())
        for name, version in (("a", "1"), ("a", "2"), ("a", "2"), ("b", "1"))
    ]
    counts = {key: len(told) for key, told in write_executions(running).items()}
    assert counts == {("a", "1"): 1, ("a", "2"): 2, ("b", "1"): 1}
