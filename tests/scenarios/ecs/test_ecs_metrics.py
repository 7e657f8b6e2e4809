"""What is published of tasks, once a minute."""

import pytest

from portside.testing.clock import VirtualClock
from portside.testing.engine import FakeEngine, Program
from worlds.ecs import virtual_world

MIB = 2**20


def published(world, name, **dimensions):
    """All data of one metric, oldest first."""
    wanted = [{"Name": key, "Value": value} for key, value in dimensions.items()]
    return [
        each.get("StatisticValues") or each["Value"]
        for params in world.calls.asked("cloudwatch", "PutMetricData")
        for each in params["MetricData"]
        if each["MetricName"] == name and each["Dimensions"] == wanted
    ]


def average(found):
    return found["Sum"] / found["SampleCount"]


async def test_utilisation_is_what_is_used_of_what_is_reserved(tmp_path):
    async with virtual_world(tmp_path, app=Program(cores=0.125, memory=32 * MIB)) as world:
        await world.register(memory=128, cpu=256)
        await world.create_service(count=2)
        await world.until_steady()
        await world.clock.advance(200)
        web = {"ClusterName": "default", "ServiceName": "web"}
        newest = published(world, "CPUUtilization", **web)[-1]
        assert average(newest) == pytest.approx(50.0)
        assert newest["SampleCount"] == 2.0
        assert average(published(world, "MemoryUtilization", **web)[-1]) == pytest.approx(25.0)
        # A t3.small registers 2048 units and 1945 MiB.
        whole = published(world, "CPUUtilization", ClusterName="default")[-1]
        assert average(whole) == pytest.approx(100 * 256 / 2048)
        host = published(world, "CPUUtilization", InstanceId=next(iter(world.ec2.instances)))[-1]
        assert average(host) == pytest.approx(100 * 256 / 2048)


async def test_minimum_and_maximum_are_those_of_single_tasks(tmp_path):
    async with virtual_world(tmp_path) as world:
        await world.register(memory=128, cpu=256)
        await world.create_service(count=2)
        await world.until_steady()
        world.engine.set_load(world.engine.running[0].id, cores=0.25)
        await world.clock.advance(200)
        newest = published(world, "CPUUtilization", ClusterName="default", ServiceName="web")[-1]
        assert (newest["Minimum"], newest["Maximum"]) == (0.0, pytest.approx(100.0))
        assert average(newest) == pytest.approx(50.0)


async def test_one_datum_a_minute_however_many_tasks_start(tmp_path):
    async with virtual_world(tmp_path) as world:
        await world.register(cpu=64)
        await world.create_service(count=5)
        await world.until_steady()
        before = len(published(world, "CPUUtilization", ClusterName="default"))
        await world.clock.advance(600)
        assert len(published(world, "CPUUtilization", ClusterName="default")) - before in (10, 11)


async def test_nothing_is_said_of_use_while_the_engine_is_away(tmp_path):
    async with virtual_world(tmp_path) as world:
        await world.register(cpu=64)
        await world.create_service()
        await world.until_steady()
        await world.clock.advance(120)
        before = len(published(world, "CPUUtilization", ClusterName="default"))
        reserved = len(published(world, "CPUReservation", ClusterName="default"))
        world.engine.go_away()
        await world.clock.advance(300)
        assert len(published(world, "CPUUtilization", ClusterName="default")) == before
        assert len(published(world, "CPUReservation", ClusterName="default")) >= reserved + 4


async def test_after_a_restart_a_long_life_is_not_taken_for_the_last_minute(tmp_path):
    clock = VirtualClock()
    engine = FakeEngine(clock, {"app": Program(cores=0.25)})
    async with virtual_world(tmp_path, engine=engine, clock=clock) as world:
        await world.register(cpu=256)
        await world.create_service()
        await world.until_steady()
        for each in engine.running:
            engine.set_load(each.id, cores=0.25)
        await clock.advance(3600)
        engine.set_load(engine.running[0].id, cores=0.0)
    async with virtual_world(tmp_path, engine=engine, clock=clock) as again:
        await clock.advance(180)
        found = published(again, "CPUUtilization", ClusterName="default", ServiceName="web")
        assert found
        assert all(average(each) == pytest.approx(0.0) for each in found)
    await engine.close()
