"""Rules of scaling that hold whatever the numbers."""

from hypothesis import given
from hypothesis import strategies as st

from portside.cloud.machine.proxy import ClusterCounts, Statistics
from portside.cloud.services.applicationautoscaling.decisions import Situation, Wish, resolve
from portside.cloud.services.elbv2 import traffic
from portside.cloud.services.scaling import tracking

COUNT = st.integers(0, 200)


@st.composite
def situations(draw):
    least = draw(COUNT)
    return Situation(
        running=draw(COUNT),
        desired=draw(COUNT),
        least=least,
        most=draw(st.integers(least, 300)),
        out_base=draw(st.none() | COUNT),
        out_open=draw(st.booleans()),
        in_open=draw(st.booleans()),
    )


@given(situations(), COUNT, st.booleans())
def test_a_new_count_is_within_bounds_and_goes_the_way_it_was_asked(now, wanted, outward):
    found = resolve(now, Wish(wanted, outward))
    if found is None:
        return
    assert now.least <= found <= now.most
    assert found > now.desired if outward else found < now.desired
    assert now.out_open if outward else now.in_open


@given(st.integers(1, 200), st.floats(0, 1000), st.floats(1, 1000))
def test_tracking_never_takes_so_much_that_the_metric_would_rise_above_the_target(base, value, target):
    kept = tracking.inward(base, value, target)
    assert 0 <= kept <= base
    if value < target and kept:
        assert base * value / kept <= target * (1 + 1e-6)


@given(st.integers(1, 200), st.floats(1, 1000), st.floats(1, 1000))
def test_tracking_adds_enough_and_never_takes_on_the_way_out(base, value, target):
    wanted = tracking.outward(base, value, target)
    assert wanted >= base
    assert base * value / wanted <= max(target, value) * (1 + 1e-6)


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 50)), min_size=2, max_size=12))
def test_no_request_is_counted_twice_over_restarts_of_the_proxy(steps):
    """Counts rise within a run and begin again with each new one; differences add up to what there was."""
    run, total, happened, seen = 0, 0, 0, 0
    before = Statistics("0", {"web": ClusterCounts()})
    for kind, number in steps:
        if kind == 3:
            run, total = run + 1, 0
        total += number
        happened += number
        now = Statistics(str(run), {"web": ClusterCounts(requests=total)})
        seen += traffic.difference(before, now).clusters["web"].requests
        before = now
    assert seen == happened
