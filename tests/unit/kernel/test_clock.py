"""Pace shortens AWS's waits, never below its floor and never beyond the wait itself."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from portside.cloud.kernel.clock import AWS_PACE, FAST_PACE
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import mask_secrets


@given(st.floats(0, 10_000))
def test_true_times_at_the_pace_of_aws(seconds):
    assert AWS_PACE.wait(seconds) == seconds


@given(st.floats(0, 10_000), st.floats(0, 10_000))
def test_the_fast_pace_is_never_longer_and_keeps_the_order(one, two):
    assert FAST_PACE.wait(one) <= one
    if one <= two:
        assert FAST_PACE.wait(one) <= FAST_PACE.wait(two)


def test_ids_repeat_with_a_seed_and_keep_their_alphabets():
    assert Ids(7).uuid() == Ids(7).uuid()
    assert len(Ids(7).hex(32)) == 32
    assert Ids(1).digits(19)[0] != "0"
    assert Ids(3).alnum(12).isalnum()
    assert {uuid.UUID(Ids(seed).uuid()).version for seed in range(20)} == {4}
    assert {uuid.UUID(Ids(seed).uuid()).variant for seed in range(20)} == {uuid.RFC_4122}


def test_secrets_are_masked_at_any_depth():
    assert mask_secrets({"user": "AWS", "inner": {"dbPassword": "x", "Authorization": "y"}}) == {
        "user": "AWS",
        "inner": {"dbPassword": "****", "Authorization": "****"},
    }
