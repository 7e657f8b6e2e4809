"""One suite for every engine: the fake must answer as Docker does.

Programs are named here and told to each engine in its own way: the fake gets a script, Docker a shell command.
"""

import asyncio
import dataclasses
import os
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from docker_fixtures import IMAGE, ensure_busybox
from portside import engines
from portside.cloud.kernel.clock import SystemClock
from portside.cloud.kernel.log import configure
from portside.cloud.machine.docker import DockerEngine
from portside.cloud.machine.engine import (
    Conflict,
    ContainerEvent,
    ContainerSpec,
    ContainerState,
    Engine,
    Health,
    HealthCheck,
    LogLine,
    Missing,
    Phase,
    PortBinding,
    Rejected,
    Terminal,
)
from portside.testing.engine import FakeEngine, Program

PROGRAMS = {
    "runs": (Program(("one", "two")), "trap 'exit 0' TERM; echo one; echo two; while sleep 0.1; do :; done"),
    "stubborn": (Program(stop_code=None), "trap '' TERM; while :; do sleep 0.1; done"),
    "busy": (Program(cores=1.0), "while :; do :; done"),
    "exits": (Program(output=("bye",), seconds=0.0, code=3), "echo bye; exit 3"),
    "unended": (Program(("first", "last"), seconds=0.3, code=1), "echo first; sleep 0.3; printf last; exit 1"),
    "broken": (Program(start_error='exec: "nowhere": executable file not found in $PATH'), ""),
}  # fmt: skip


class Lab:
    """An engine, and how to make containers of the named programs on it."""

    def __init__(self, engine: Engine, label: str) -> None:
        self.engine = engine
        self.labels = {"portside.cloud": label}
        self._fake = isinstance(engine, FakeEngine)

    def spec(self, program: str, **more: object) -> ContainerSpec:
        name = f"{self.labels['portside.cloud']}-{uuid.uuid4().hex[:8]}"
        if self._fake:
            made = ContainerSpec(name=name, image=program, labels=self.labels)
        else:
            command = ("nowhere",) if program == "broken" else ("sh", "-c", PROGRAMS[program][1])
            made = ContainerSpec(name=name, image=IMAGE, labels=self.labels, command=command)
        return dataclasses.replace(made, **more)  # type: ignore[arg-type]

    async def started(self, program: str, **more: object) -> str:
        container = await self.engine.create(self.spec(program, **more))
        await self.engine.start(container)
        return container

    async def until(self, container: str, phase: Phase) -> ContainerState:
        async with asyncio.timeout(10):
            while (state := await self.engine.inspect(container)).phase is not phase:
                await asyncio.sleep(0.05)
        return state

    async def lines(self, container: str, since: float = 0.0, follow: bool = False) -> list[LogLine]:
        async with asyncio.timeout(10):
            return [line async for line in self.engine.logs(container, since, follow)]


@pytest.fixture(params=["fake", pytest.param("docker", marks=pytest.mark.docker)])
async def lab(request: pytest.FixtureRequest) -> AsyncIterator[Lab]:
    label = f"conformance-{uuid.uuid4().hex[:8]}"
    engine: Engine
    if request.param == "fake":
        engine = FakeEngine(SystemClock(), {name: program for name, (program, _) in PROGRAMS.items()})
    else:
        host = engines.find(os.environ, Path.home())
        if host is None:
            pytest.skip("no container engine answers here")
        ensure_busybox(host)
        engine = DockerEngine(host, configure(sys.stderr))
    made = Lab(engine, label)
    try:
        yield made
    finally:
        for state in await engine.containers(made.labels):
            await engine.remove(state.id)
        await engine.close()


async def test_a_created_container_has_not_started(lab: Lab) -> None:
    container = await lab.engine.create(lab.spec("runs"))
    state = await lab.engine.inspect(container)
    assert (state.phase, state.exit_code, state.started_at, state.finished_at) == (Phase.CREATED, None, 0.0, 0.0)
    assert state.id == container
    assert state.labels["portside.cloud"] == lab.labels["portside.cloud"]


async def test_it_runs_and_can_be_found_by_its_label_and_name(lab: Lab) -> None:
    container = await lab.started("runs")
    state = await lab.until(container, Phase.RUNNING)
    assert state.started_at > 0
    assert state.exit_code is None
    assert [each.id for each in await lab.engine.containers(lab.labels)] == [container]
    assert (await lab.engine.inspect(state.name)).id == container
    await lab.engine.start(container)  # already running: fine


async def test_an_exit_is_seen_with_its_code(lab: Lab) -> None:
    container = await lab.started("exits")
    state = await lab.until(container, Phase.EXITED)
    assert state.exit_code == 3
    assert state.started_at > 0
    # Docker notes the start of a program that ends at once a little late.
    assert state.finished_at > state.started_at - 1
    assert not state.ports


async def test_what_a_container_uses_is_counted(lab: Lab) -> None:
    quiet, busy = await lab.started("runs"), await lab.started("busy", memory=64)
    await lab.until(busy, Phase.RUNNING)
    first = await lab.engine.stats(busy)
    await asyncio.sleep(1.0)
    second = await lab.engine.stats(busy)
    assert 0.5 < second.at - first.at < 3
    assert 0.2 < (second.cpu - first.cpu) / (second.at - first.at) < 1.5
    assert second.memory > 0
    assert second.cores >= 1
    assert second.memory_limit >= 64 * 2**20
    idle = await lab.engine.stats(quiet)
    assert idle.cpu < second.cpu


async def test_only_a_running_container_uses_something(lab: Lab) -> None:
    container = await lab.started("exits")
    await lab.until(container, Phase.EXITED)
    with pytest.raises(Conflict):
        await lab.engine.stats(container)
    with pytest.raises(Conflict):
        await lab.engine.stats(await lab.engine.create(lab.spec("runs")))
    with pytest.raises(Missing):
        await lab.engine.stats("nobody")


async def test_stop_asks_first_and_then_kills(lab: Lab) -> None:
    polite, stubborn = await lab.started("runs"), await lab.started("stubborn")
    await lab.until(polite, Phase.RUNNING)
    await lab.lines(polite)
    await asyncio.sleep(0.3)  # a shell needs a moment until its trap is set
    await lab.engine.stop(polite, 5)
    assert (await lab.engine.inspect(polite)).exit_code == 0
    await lab.engine.stop(stubborn, 1)
    assert (await lab.engine.inspect(stubborn)).exit_code == 137
    await lab.engine.stop(stubborn, 1)  # already stopped: fine


async def test_removing_is_by_force_and_twice_is_fine(lab: Lab) -> None:
    container = await lab.started("runs")
    await lab.engine.remove(container)
    await lab.engine.remove(container)
    assert await lab.engine.containers(lab.labels) == []
    with pytest.raises(Missing):
        await lab.engine.inspect(container)
    with pytest.raises(Missing):
        await lab.engine.start(container)


async def test_two_containers_cannot_have_one_name(lab: Lab) -> None:
    spec = lab.spec("runs")
    await lab.engine.create(spec)
    with pytest.raises(Conflict):
        await lab.engine.create(spec)


async def test_a_missing_image_is_missing(lab: Lab) -> None:
    assert await lab.engine.image_id("portside-test/none:such") is None
    assert await lab.engine.image_digests("portside-test/none:such") == ()
    with pytest.raises(Missing):
        await lab.engine.create(lab.spec("runs", image="portside-test/none:such"))


async def test_a_program_that_is_not_there_is_refused(lab: Lab) -> None:
    container = await lab.engine.create(lab.spec("broken"))
    with pytest.raises(Rejected) as error:
        await lab.engine.start(container)
    assert "executable file not found" in error.value.reason


async def test_the_engine_picks_a_port_on_the_address_given(lab: Lab) -> None:
    ports = (PortBinding(3000, "127.99.0.1"),)
    first, second = await lab.started("runs", ports=ports), await lab.started("runs", ports=ports)
    found = [(await lab.until(each, Phase.RUNNING)).ports for each in (first, second)]
    assert [(p[0].container_port, p[0].host_ip, p[0].protocol) for p in found] == [(3000, "127.99.0.1", "tcp")] * 2
    assert found[0][0].host_port != found[1][0].host_port


async def test_a_port_can_be_taken_once_per_address(lab: Lab) -> None:
    await lab.started("runs", ports=(PortBinding(80, "127.99.0.1", 18080),))
    await lab.started("runs", ports=(PortBinding(80, "127.99.0.2", 18080),))
    container = await lab.engine.create(lab.spec("runs", ports=(PortBinding(80, "127.99.0.1", 18080),)))
    with pytest.raises(Conflict) as error:
        await lab.engine.start(container)
    assert "port is already allocated" in error.value.reason or "in use" in error.value.reason


async def test_output_can_be_read_again_from_a_time_on(lab: Lab) -> None:
    container = await lab.started("runs")
    async with asyncio.timeout(10):
        while len(lines := await lab.lines(container)) < 2:
            await asyncio.sleep(0.05)
    assert [(line.text, line.stream) for line in lines] == [("one", "stdout"), ("two", "stdout")]
    assert lines[0].at <= lines[1].at
    again = await lab.lines(container, since=lines[1].at)
    assert lines[1] in again, "`since` includes the line of that very time"
    assert all(line.at >= lines[1].at for line in again)
    assert await lab.lines(container, since=lines[1].at + 1) == []


async def test_following_goes_on_until_the_exit(lab: Lab) -> None:
    container = await lab.started("runs")
    following = asyncio.create_task(lab.lines(container, follow=True))
    await asyncio.sleep(0.5)
    assert not following.done()
    await lab.engine.stop(container, 5)
    assert [line.text for line in await following] == ["one", "two"]
    assert [line.text for line in await lab.lines(container, follow=True)] == ["one", "two"]


async def test_following_has_a_last_line_that_was_not_ended(lab: Lab) -> None:
    # More often than not a stream of Docker's own that follows ends without it.
    containers = [await lab.started("unended") for _ in range(6)]
    followed = await asyncio.gather(*(lab.lines(each, follow=True) for each in containers))
    assert [[line.text for line in lines] for lines in followed] == [["first", "last"]] * 6


async def test_events_tell_of_start_and_end(lab: Lab) -> None:
    seen: list[ContainerEvent] = []

    async def watch() -> None:
        async for event in lab.engine.events(lab.labels):
            seen.append(event)

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0.3)
    container = await lab.started("exits")
    await lab.until(container, Phase.EXITED)
    await lab.engine.remove(container)
    async with asyncio.timeout(5):
        while "destroy" not in [event.action for event in seen]:
            await asyncio.sleep(0.05)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert [event.action for event in seen] == ["start", "die", "destroy"]
    assert {event.id for event in seen} == {container}
    assert all(event.labels["portside.cloud"] == lab.labels["portside.cloud"] for event in seen)


async def test_a_health_check_is_run_by_the_engine(lab: Lab) -> None:
    check = HealthCheck(("CMD-SHELL", "true"), interval=1, timeout=1, retries=1)
    container = await lab.started("runs", health_check=check)
    async with asyncio.timeout(10):
        while (await lab.engine.inspect(container)).health is not Health.HEALTHY:
            await asyncio.sleep(0.05)
    other = await lab.started("runs")
    assert (await lab.engine.inspect(other)).health is Health.NONE


async def test_limits_are_taken(lab: Lab) -> None:
    container = await lab.started("runs", memory=64, memory_reservation=32, cpu_shares=128)
    await lab.until(container, Phase.RUNNING)


async def test_a_process_in_a_container_answers_and_ends_with_its_code(lab: Lab) -> None:
    container = await lab.started("runs")
    told = await lab.engine.execute(container, ("echo", "hello", "there"), terminal=False)
    assert await _said(told) == b"hello there\n"
    assert await told.exit_code() == 0
    await told.close()


async def test_a_process_in_a_container_gets_its_input(lab: Lab) -> None:
    container = await lab.started("runs")
    cat = await lab.engine.execute(container, ("cat",), terminal=False)
    await cat.send(b"over and back\n")
    assert await cat.receive() == b"over and back\n"
    await cat.end_input()
    assert await cat.receive() is None
    await cat.close()


async def test_a_shell_with_a_terminal_takes_its_size_and_ends_with_its_code(lab: Lab) -> None:
    container = await lab.started("runs")
    shell = await lab.engine.execute(container, ("sh",), terminal=True)
    await shell.resize(100, 30)
    await shell.send(b"exit 3\n")
    await _said(shell)
    assert await shell.exit_code() == 3
    await shell.close()


async def test_nothing_runs_in_a_container_that_does_not(lab: Lab) -> None:
    container = await lab.engine.create(lab.spec("runs"))
    with pytest.raises(Conflict):
        await lab.engine.execute(container, ("echo",), terminal=False)


async def _said(terminal: Terminal) -> bytes:
    said = b""
    async with asyncio.timeout(10):
        while (part := await terminal.receive()) is not None:
            said += part
    return said


async def test_a_volume_is_kept_until_it_is_removed_and_not_while_in_use(lab: Lab) -> None:
    name = f"{lab.labels['portside.cloud']}-volume"
    await lab.engine.create_volume(name, lab.labels)
    await lab.engine.create_volume(name, lab.labels)  # there already: fine
    assert await lab.engine.volumes(lab.labels) == {name: lab.labels}
    container = await lab.engine.create(lab.spec("runs", binds=(f"{name}:/data",)))
    with pytest.raises(Conflict):
        await lab.engine.remove_volume(name)
    await lab.engine.remove(container)
    await lab.engine.remove_volume(name)
    await lab.engine.remove_volume(name)  # gone already: fine
    assert await lab.engine.volumes(lab.labels) == {}


async def test_a_container_may_be_in_a_second_network_that_must_exist(lab: Lab) -> None:
    name = f"{lab.labels['portside.cloud']}-network"
    await lab.engine.create_network(
        name, lab.labels, subnet="169.254.66.0/28", gateway="169.254.66.2", internal=True
    )
    try:
        with pytest.raises(Conflict):
            await lab.engine.create_network(name, lab.labels, subnet="169.254.66.0/28", gateway="169.254.66.2")
        assert await lab.engine.networks(lab.labels) == [name]
        container = await lab.engine.create(lab.spec("runs", also=(name,)))
        await lab.engine.remove(container)
    finally:
        await lab.engine.remove_network(name)
    late = await lab.engine.create(lab.spec("runs", also=(name,)))
    with pytest.raises(Missing):
        await lab.engine.start(late)
