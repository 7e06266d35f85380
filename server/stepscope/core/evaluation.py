"""A dataset's result: accuracy over the labelled inputs, percentiles over the batches."""

import math
from collections.abc import Sequence

from stepscope.core.predictions import Answer, Classification, Summary


def hit(answer: Answer, index: int, best: int) -> bool:
    """Say whether the right class is among the best few."""
    return any(
        isinstance(feature.payload, Classification) and feature.payload.index == index
        for feature in answer.features[:best]
    )


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of the values doesn't exceed (nearest rank)."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def summarise(
    answers: Sequence[Answer],
    labels: Sequence[int | None],
    batch_latencies_s: Sequence[float],
    batch_size: int,
    duration_s: float,
) -> Summary:
    """Return the summary; an input that failed counts as wrong, one without a label doesn't count for accuracy."""
    labelled = [(answer, label) for answer, label in zip(answers, labels, strict=True) if label is not None]
    shares = [
        sum(hit(answer, label, best) for answer, label in labelled) / len(labelled) if labelled else None
        for best in (1, 5)
    ]
    return Summary(
        count=len(answers),
        failed=sum(answer.error is not None for answer in answers),
        top1=shares[0],
        top5=shares[1],
        batch_size=batch_size,
        latency_p50_s=percentile(batch_latencies_s, 0.50),
        latency_p90_s=percentile(batch_latencies_s, 0.90),
        latency_p99_s=percentile(batch_latencies_s, 0.99),
        throughput=len(answers) / duration_s if duration_s > 0 else 0.0,
    )
