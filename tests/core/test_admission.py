"""Admission counts inputs, in all and for one owner, and refuses before anything is counted."""

import pytest

from stepscope.core.admission import Admission, AdmissionLimits
from stepscope.core.errors import Overloaded, TooManyInputs, TooManyRequests


def test_counts_inputs_not_requests():
    admission = Admission(AdmissionLimits(in_flight=10, per_owner=10))
    admission.enter("a", 9)
    with pytest.raises(Overloaded):
        admission.enter("b", 2)
    admission.enter("b", 1)
    assert admission.total == 10


def test_one_owner_has_a_share():
    admission = Admission(AdmissionLimits(in_flight=10, per_owner=4))
    admission.enter("a", 4)
    with pytest.raises(TooManyRequests) as refused:
        admission.enter("a", 1)
    assert refused.value.retry_after_s > 0
    admission.enter("b", 4)
    admission.leave("a", 4)
    admission.enter("a", 4)
    assert admission.total == 8


def test_what_can_never_fit_is_no_matter_of_waiting():
    admission = Admission(AdmissionLimits(in_flight=10, per_owner=4))
    with pytest.raises(TooManyInputs):
        admission.enter("a", 5)
