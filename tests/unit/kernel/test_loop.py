"""kernel/loop.py: turns, back-off, wake-ups, under virtual time."""

import asyncio

from portside.cloud.kernel.loop import After, Done, Failed, Loop, backoff
from portside.testing.clock import VirtualClock
from portside.testing.server import quiet_log


async def test_a_key_gets_its_turns_when_it_asks_for_them():
    clock = VirtualClock()
    start = clock.now()
    turns = []

    async def turn(key):
        turns.append((key, clock.now() - start))
        return After(10) if len(turns) < 3 else Done()

    async with Loop("test", turn, clock, quiet_log()) as loop:
        loop.wake("a")
        await clock.advance(100)
    assert turns == [("a", 0), ("a", 10), ("a", 20)]


async def test_a_failing_turn_is_tried_again_with_growing_pauses():
    clock = VirtualClock()
    start = clock.now()
    times = []

    async def turn(key):
        times.append(round(clock.now() - start, 3))
        if len(times) < 5:
            raise OSError("not yet")
        return Done()

    async with Loop("test", turn, clock, quiet_log()) as loop:
        loop.wake("a")
        await clock.advance(100)
    assert times == [0, 0.2, 0.6, 1.4, 3.0]


def test_back_off_has_a_ceiling():
    assert backoff(1000) == 30.0


async def test_failed_ends_it_until_it_is_woken():
    clock = VirtualClock()
    turns = []

    async def turn(key):
        turns.append(key)
        return Failed("no way")

    async with Loop("test", turn, clock, quiet_log()) as loop:
        loop.wake("a")
        await clock.advance(1000)
        assert turns == ["a"]
        loop.wake("a")
        await clock.advance(1)
    assert turns == ["a", "a"]


async def test_one_key_never_has_two_turns_and_a_slow_one_holds_up_nobody():
    clock = VirtualClock()
    gate = asyncio.Event()
    running: set[str] = set()
    finished = []

    async def turn(key):
        assert key not in running
        running.add(key)
        if key == "slow":
            await gate.wait()
        running.discard(key)
        finished.append(key)
        return Done()

    async with Loop("test", turn, clock, quiet_log()) as loop:
        loop.wake("slow")
        await clock.idle()
        loop.wake("slow")
        loop.wake("quick")
        await clock.advance(1)
        assert finished == ["quick"]
        gate.set()
        await clock.advance(1)
    assert finished == ["quick", "slow", "slow"]


async def test_no_more_workers_than_allowed():
    clock = VirtualClock()
    gate = asyncio.Event()
    most = 0
    now = 0

    async def turn(key):
        nonlocal most, now
        now += 1
        most = max(most, now)
        await gate.wait()
        now -= 1
        return Done()

    async with Loop("test", turn, clock, quiet_log(), workers=2) as loop:
        for number in range(6):
            loop.wake(str(number))
        await clock.advance(1)
        gate.set()
        await clock.advance(1)
    assert most == 2


async def test_leaving_the_block_ends_turns_in_flight():
    clock = VirtualClock()
    ended = []

    async def turn(key):
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(key)
        return Done()

    async with Loop("test", turn, clock, quiet_log()) as loop:
        loop.wake("a")
        await clock.idle()
    assert ended == ["a"]
