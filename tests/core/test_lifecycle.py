"""A predictor's lease, and who may use it."""

from datetime import UTC, datetime, timedelta

import pytest

from stepscope.core.errors import PredictorExpired, PredictorNotFound
from stepscope.core.lifecycle import PredictorRecord, admitted
from stepscope.core.predictions import DeviceRef, Options

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RECORD = PredictorRecord(
    id="p",
    owner="ada",
    model_name="lenet",
    model_version="1.0.0",
    device=DeviceRef(),
    options=Options(),
    lease_s=60,
    opened_at=NOW,
    used_at=NOW,
)


def test_the_owner_may_use_it_within_the_lease():
    assert admitted(RECORD, "p", "ada", NOW + timedelta(seconds=59)) is RECORD


def test_another_owner_learns_nothing():
    with pytest.raises(PredictorNotFound):
        admitted(RECORD, "p", "bob", NOW)


def test_the_lease_ends_and_the_error_says_how_to_go_on():
    with pytest.raises(PredictorExpired, match=r"after 60 s.*/api/predict/open"):
        admitted(RECORD, "p", "ada", NOW + timedelta(seconds=60))


def test_a_use_starts_the_lease_again():
    later = NOW + timedelta(seconds=50)
    assert RECORD.used(later).expires_at == later + timedelta(seconds=60)
