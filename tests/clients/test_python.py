"""The hand-written Python client against the real server."""

import array
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stepscope_client import (
    ArgumentInvalid,
    Client,
    DeadlineExceeded,
    InputFailed,
    InvalidRequest,
    NotFound,
    Predictor,
    ServerUnreachable,
)

LABELS = [str(place // 2) for place in range(20)]


@pytest.fixture
def predictor(client):
    with client.open("lenet", "latest", batch_size=8, trace_level="APPLICATION_TRACE") as predictor:
        yield predictor


def tensor(*samples: Path) -> np.ndarray:
    pictures = [np.asarray(Image.open(sample), np.float32) / 255 for sample in samples]
    return np.stack(pictures)[:, None]


def labels(result) -> list[str]:
    return [answer.best.label for answer in result]


def test_the_life_cycle_by_url(client, files, samples):
    with client.open("lenet") as predictor:
        result = predictor.urls([f"{files}/{sample.name}" for sample in samples], feature_limit=2)
    assert labels(result) == LABELS
    assert [answer.input_id for answer in result] == [str(place) for place in range(20)]
    assert {len(answer.features) for answer in result} == {2}
    assert {"fetch", "decode", "preprocess", "queue", "predict", "postprocess"} <= {step.name for step in result.steps}
    assert result.model == predictor.model == "lenet 1.0.0"
    assert predictor.closed is not None
    assert predictor.closed.memory_before_bytes > 0


def test_images_by_path_as_bytes_and_with_ids(predictor, samples):
    result = predictor.images([samples[0], str(samples[2]), ("seven", samples[14].read_bytes())])
    assert labels(result) == ["0", "1", "7"]
    assert [answer.input_id for answer in result] == ["0", "1", "seven"]
    assert 0.5 < result.answers[2].best.probability <= 1
    assert result.answers[2].best.index == 7


def test_a_bad_input_leaves_the_others_their_answers(predictor, files, samples):
    result = predictor.urls([f"{files}/{samples[4].name}", f"{files}/gone.png", "", "http://127.0.0.1:1/x.png"])
    assert result.answers[0].best.label == "2"
    assert [answer.error.code for answer in result.failed] == ["url_failed", "input_empty", "url_refused"]
    with pytest.raises(InputFailed, match="url_failed") as caught:
        _ = result.answers[1].best
    assert caught.value.input_id == "1"


def test_tensors_as_numpy_as_a_plain_buffer_and_as_lists(predictor, samples):
    digits = tensor(samples[6], samples[18])
    expected = labels(predictor.images([samples[6], samples[18]]))
    assert labels(predictor.tensors(digits)) == expected
    assert labels(predictor.tensors(array.array("f", digits.ravel()), shape=digits.shape)) == expected
    assert labels(predictor.tensors(digits.tobytes(), shape=digits.shape, dtype="float32")) == expected
    assert len(predictor.tensors(digits, feature_limit=1).answers[0].features) == 1


def test_raw_outputs_are_what_the_features_come_from(predictor, samples):
    outputs = predictor.raw_outputs(tensor(*samples))
    assert (outputs.shape, outputs.dtype, len(outputs.data)) == ((20, 10), "float32", 800)
    assert [str(digit) for digit in outputs.array.argmax(axis=1)] == LABELS


def test_a_dataset_has_a_summary(predictor):
    summary = predictor.dataset("vision", "digits", feature_limit=1).summary
    assert summary.count == 360
    assert summary.failed == 0
    assert summary.top1 > 0.98
    assert 0 < summary.latency_p50_s <= summary.latency_p99_s


def test_reset_keeps_the_predictor(predictor, samples):
    predictor.reset()
    assert labels(predictor.images([samples[0]])) == ["0"]


def test_all_requests_belong_to_the_trace_of_open(predictor, samples):
    first, second = predictor.images([samples[0]]), predictor.images([samples[1]])
    assert first.trace_id == second.trace_id == predictor.trace_id
    assert first.trace_url("traces.example.org") == f"http://traces.example.org:16686/api/traces/{first.trace_id}"


def test_what_the_server_says_of_itself(client):
    assert client.version().devices
    assert [model.name for model in client.models("LeNet")] == ["lenet"]
    assert client.models()[0].output == "classification"
    assert client.frameworks()[0].name == "PyTorch"
    assert client.agents("lenet")[0].port == int(client.url.rpartition(":")[2])
    assert client.is_ready()


def test_a_way_of_running_is_pinned_by_open(client, samples):
    with client.open("lenet", way="frozen") as predictor:
        assert labels(predictor.images([samples[14]])) == ["7"]
        told = client.models("lenet")[0].manifest.execution
        assert "frozen" in [each.choices[0].way for each in told if each.origin == "pinned"]
    with pytest.raises(ArgumentInvalid, match="way"):
        client.open("lenet", way="fastest")


def test_a_model_that_is_not_there_comes_with_near_names(client):
    with pytest.raises(NotFound) as caught:
        client.open("lenett")
    assert caught.value.kind == "model-not-found"
    assert caught.value.known == ("lenet",)
    assert caught.value.status == 404
    assert caught.value.trace_id


def test_a_deadline_carries_what_was_done(predictor, samples):
    with pytest.raises(DeadlineExceeded) as caught:
        predictor.images(samples * 200, deadline_s=0.1)
    assert caught.value.partial is not None
    assert len(caught.value.partial) == 4000
    assert "input_cancelled" in {answer.error.code for answer in caught.value.partial if answer.error}


def test_raw_outputs_of_a_wrong_shape_are_refused(predictor):
    with pytest.raises(InvalidRequest, match="shape") as caught:
        predictor.raw_outputs(np.zeros((2, 3), np.float32))
    assert caught.value.status == 422


@pytest.mark.parametrize(
    "wrong",
    [
        lambda predictor: predictor.urls("http://one.example"),
        lambda predictor: predictor.urls([], batch_size=0),
        lambda predictor: predictor.urls([], trace_level="DEEP"),
        lambda predictor: predictor.urls([], deadline_s=0),
        lambda predictor: predictor.tensors(b"abc", shape=(1,), dtype="float32"),
        lambda predictor: predictor.tensors(np.array(["a"])),
        lambda predictor: predictor.tensors(np.float32(1)),
    ],
)
def test_wrong_arguments_are_not_sent(predictor, wrong):
    with pytest.raises(ArgumentInvalid):
        wrong(predictor)


def test_an_unknown_option_is_named(predictor):
    with pytest.raises(TypeError, match="feature_limits"):
        predictor.urls([], feature_limits=3)


def test_close_is_sent_once(client):
    predictor = client.open("lenet")
    assert predictor.close() is predictor.close()
    with pytest.raises(NotFound, match="closed"):
        predictor.reset()


def test_a_predictor_that_is_gone_at_the_end_does_not_matter(client):
    with client.open("lenet") as predictor:
        close_elsewhere(client, predictor)
    assert predictor.closed is None


def test_the_error_of_the_body_is_the_one_that_is_raised(client):
    predictor = client.open("lenet")
    close_elsewhere(client, predictor)
    with pytest.raises(ZeroDivisionError), predictor:
        _ = 1 / 0


def close_elsewhere(client: Client, predictor: Predictor) -> None:
    Predictor(client._transport, predictor._opened, {}).close()


def test_one_client_serves_many_threads(client, samples):
    results: list[list[str]] = []
    with client.open("lenet") as predictor:
        threads = [threading.Thread(target=lambda: results.append(labels(predictor.images(samples)))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == [LABELS] * 8


def test_no_server_is_told_in_one_line():
    with Client("127.0.0.1:1") as client, pytest.raises(ServerUnreachable) as caught:
        client.version()
    assert str(caught.value) == "http://127.0.0.1:1 can't be reached: Connection refused."
    assert not client.is_ready()
