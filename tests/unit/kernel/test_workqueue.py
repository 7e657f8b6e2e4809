"""kernel/workqueue.py: each key at most once, no wake-up lost."""

from hypothesis import given
from hypothesis import strategies as st

from portside.cloud.kernel.workqueue import WorkQueue


def test_the_earliest_comes_first_and_none_before_its_time():
    queue = WorkQueue()
    queue.put("late", 5.0)
    queue.put("early", 1.0)
    assert queue.take(0.5) is None
    assert queue.take(1.0) == "early"
    assert queue.take(1.0) is None
    assert queue.next_due() == 5.0


def test_an_earlier_time_wins_over_a_later_one():
    queue = WorkQueue()
    queue.put("a", 5.0)
    queue.put("a", 2.0)
    queue.put("a", 9.0)
    assert queue.take(2.0) == "a"
    queue.finish("a", 2.0, None)
    assert queue.take(100.0) is None


def test_waking_an_active_key_makes_it_due_again_at_once():
    queue = WorkQueue()
    queue.put("a", 0.0)
    assert queue.take(0.0) == "a"
    queue.put("a", 50.0)
    assert queue.take(100.0) is None
    queue.finish("a", 1.0, 60.0)
    assert queue.take(1.0) == "a"


def test_a_finished_key_comes_back_when_it_asked_to():
    queue = WorkQueue()
    queue.put("a", 0.0)
    queue.take(0.0)
    queue.finish("a", 0.0, 7.0)
    assert queue.take(6.9) is None
    assert queue.take(7.0) == "a"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 10)), max_size=40))
def test_never_two_turns_of_one_key_at_once_and_none_forgotten(puts):
    queue = WorkQueue()
    active: set[str] = set()
    wanted = {key for key, _ in puts}
    seen = set()
    for key, due in puts:
        queue.put(key, due)
        taken = queue.take(due)
        if taken is not None:
            assert taken not in active
            active.add(taken)
            seen.add(taken)
    for key in list(active):
        queue.finish(key, 10.0, None)
    while (taken := queue.take(10.0)) is not None:
        seen.add(taken)
        queue.finish(taken, 10.0, None)
    assert seen == wanted
