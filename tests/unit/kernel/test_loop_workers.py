import asyncio

from portside.cloud.kernel.loop import Done, Loop, TurnResult
from portside.testing.clock import VirtualClock
from portside.testing.server import quiet_log


async def test_a_wake_during_the_turn_of_the_only_worker_is_not_lost() -> None:
    clock = VirtualClock()
    turns = 0
    gate = asyncio.Event()

    async def turn(key: str) -> TurnResult:
        nonlocal turns
        turns += 1
        await gate.wait()
        return Done()

    async with Loop("one", turn, clock, quiet_log(), workers=1) as loop:
        loop.wake("key")
        await clock.idle()
        loop.wake("key")
        loop.wake("other")
        gate.set()
        await clock.idle()
    assert turns == 3
