"""A dataset's summary."""

from stepscope.core.evaluation import percentile, summarise
from stepscope.core.predictions import Answer, Classification, Feature, FeatureType, InputError


def answer(*classes):
    features = [Feature(FeatureType.CLASSIFICATION, 0.1, Classification(index, str(index))) for index in classes]
    return Answer(input_id="x", features=features)


def test_accuracy_counts_failures_as_wrong_and_skips_what_has_no_label():
    failed = Answer(input_id="y", error=InputError(code="input_empty", message=""))
    answers = [answer(3, 1), answer(1, 3), failed, answer(9)]
    summary = summarise(answers, [3, 3, 3, None], [0.1, 0.2], 2, 2.0)
    assert (summary.top1, summary.top5) == (1 / 3, 2 / 3)
    assert (summary.count, summary.failed, summary.throughput) == (4, 1, 2.0)


def test_without_labels_there_is_no_accuracy():
    summary = summarise([answer(1)], [None], [0.1], 1, 1.0)
    assert summary.top1 is None
    assert summary.top5 is None


def test_percentiles_are_nearest_rank():
    values = [float(n) for n in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.9, 0.99, 1.0)] == [50, 90, 99, 100]
    assert percentile([7.0], 0.5) == 7.0
    assert percentile([], 0.5) == 0.0
