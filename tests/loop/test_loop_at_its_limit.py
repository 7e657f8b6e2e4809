"""A loop with as many turns under way as it has workers."""

import pytest

from portside.cloud.kernel.loop import After, Done, Loop, TurnResult
from portside.testing.clock import VirtualClock
from portside.testing.server import quiet_log


@pytest.mark.parametrize("workers", [1, 2])
async def test_the_next_turn_comes_although_all_workers_were_busy(workers: int) -> None:
    clock = VirtualClock()
    turns: list[str] = []

    async def turn(key: str) -> TurnResult:
        turns.append(key)
        await clock.sleep_until(clock.now() + 1)
        return After(10) if key == "again" else Done()

    async with Loop("test", turn, clock, quiet_log(), workers=workers) as loop:
        for key in ("again", "b", "c", "d"):
            loop.wake(key)
        await clock.advance(60)
    assert {"again", "b", "c", "d"} == set(turns)
    assert turns.count("again") >= 5
