"""Targets from registration to the end of their drain, in virtual time."""

from __future__ import annotations

from pathlib import Path

import pytest

from elb_cloud import ElbCloud, elb_cloud, instance, make_elb
from portside.cloud.kernel.clock import FAST_PACE
from portside.cloud.machine.prober import TimedOut
from portside.cloud.machine.proxy import Endpoint

ONE = (instance(1), 32768)
AT_ONE = ("127.0.1.1", 32768)


async def set_up(cloud: ElbCloud, **group: object) -> str:
    balancer = await cloud.balancer()
    arn = await cloud.group(**group)
    await cloud.listener(balancer, arn)
    return arn


async def serving(cloud: ElbCloud, delay: int) -> str:
    """A group with that many seconds for drains, and one healthy target that gets requests."""
    group = await set_up(cloud)
    attributes = [{"Key": "deregistration_delay.timeout_seconds", "Value": str(delay)}]
    await cloud.call("ModifyTargetGroupAttributes", TargetGroupArn=group, Attributes=attributes)
    cloud.prober.says(*AT_ONE, 200)
    await cloud.register(group, ONE)
    await cloud.clock.until(lambda: len(cloud.proxy.endpoints("web")) == 1)
    await cloud.clock.idle()
    return group


async def test_one_success_makes_a_new_target_healthy_and_lets_requests_in(tmp_path: Path) -> None:
    async with elb_cloud(tmp_path) as cloud:
        group = await set_up(cloud)
        await cloud.register(group, ONE)
        assert (await cloud.health(group))[32768] == ("initial", "Elb.RegistrationInProgress")
        await cloud.clock.advance(1)
        assert (await cloud.health(group))[32768] == ("initial", "Elb.InitialHealthChecking")
        assert cloud.proxy.endpoints("web") == ()
        cloud.prober.says(*AT_ONE, 200)
        await cloud.clock.advance(31)
        assert (await cloud.health(group))[32768] == ("healthy", None)
        assert cloud.proxy.endpoints("web") == (Endpoint(*AT_ONE),)
        assert cloud.prober.probes[0].host == "127.0.1.1:32768"


async def test_a_healthy_target_falls_after_the_threshold_and_comes_back_after_the_other(tmp_path: Path) -> None:
    async with elb_cloud(tmp_path) as cloud:
        group = await set_up(cloud, HealthyThresholdCount=3, UnhealthyThresholdCount=2)
        other = (instance(2), 32768)
        cloud.prober.says("127.0.1.2", 32768, 200)
        cloud.prober.says(*AT_ONE, 200)
        await cloud.register(group, ONE)
        await cloud.call("RegisterTargets", TargetGroupArn=group, Targets=[{"Id": other[0], "Port": 40000}])
        cloud.prober.says("127.0.1.2", 40000, 200)
        await cloud.clock.until(lambda: len(cloud.proxy.endpoints("web")) == 2)
        cloud.prober.says(*AT_ONE, 503)
        await cloud.clock.advance(31)
        assert (await cloud.health(group))[32768] == ("healthy", None)
        await cloud.clock.advance(30)
        answer = await cloud.call("DescribeTargetHealth", TargetGroupArn=group)
        health = {d["Target"]["Port"]: d["TargetHealth"] for d in answer["TargetHealthDescriptions"]}
        assert health[32768] == {
            "State": "unhealthy",
            "Reason": "Target.ResponseCodeMismatch",
            "Description": "Health checks failed with these codes: [503]",
        }
        assert cloud.proxy.endpoints("web") == (Endpoint("127.0.1.2", 40000),)
        cloud.prober.script(*AT_ONE, 200, 200, TimedOut(), 200, 200, 200)
        cloud.prober.says(*AT_ONE, 200)
        await cloud.clock.advance(30 * 5)
        assert (await cloud.health(group))[32768] == ("unhealthy", "Target.Timeout")
        await cloud.clock.advance(31)
        assert (await cloud.health(group))[32768] == ("healthy", None)


async def test_a_group_without_healthy_targets_fails_open(tmp_path: Path) -> None:
    async with elb_cloud(tmp_path) as cloud:
        group = await set_up(cloud)
        await cloud.register(group, ONE)
        await cloud.clock.until(lambda: cloud.states(group)[32768] == "unhealthy")
        await cloud.clock.idle()
        assert (await cloud.health(group))[32768] == ("unhealthy", "Target.FailedHealthChecks")
        assert cloud.proxy.endpoints("web") == (Endpoint(*AT_ONE),)


async def test_targets_are_unused_until_a_rule_sends_requests(tmp_path: Path) -> None:
    async with elb_cloud(tmp_path) as cloud:
        balancer, group = await cloud.balancer(), await cloud.group()
        cloud.prober.says(*AT_ONE, 200)
        await cloud.register(group, ONE)
        await cloud.clock.advance(100)
        assert (await cloud.health(group))[32768] == ("unused", "Target.NotInUse")
        assert cloud.prober.probes == []
        listener = await cloud.listener(balancer, group)
        await cloud.clock.advance(1)
        assert (await cloud.health(group))[32768] == ("healthy", None)
        await cloud.call("DeleteListener", ListenerArn=listener)
        await cloud.clock.advance(1)
        assert (await cloud.health(group))[32768] == ("unused", "Target.NotInUse")
        asked = len(cloud.prober.probes)
        await cloud.clock.advance(300)
        assert len(cloud.prober.probes) == asked


async def test_draining_lasts_its_delay_and_takes_no_new_requests(tmp_path: Path) -> None:
    async with elb_cloud(tmp_path) as cloud:
        group = await set_up(cloud)
        cloud.prober.says(*AT_ONE, 200)
        await cloud.register(group, ONE)
        await cloud.clock.advance(1)
        await cloud.deregister(group, ONE)
        await cloud.clock.idle()
        assert cloud.proxy.endpoints("web") == ()
        assert (await cloud.health(group))[32768] == ("draining", "Target.DeregistrationInProgress")
        await cloud.clock.advance(299)
        assert 32768 in await cloud.health(group)
        await cloud.clock.advance(2)
        assert await cloud.health(group) == {}
        asked = [{"Id": ONE[0], "Port": ONE[1]}]
        answer = await cloud.call("DescribeTargetHealth", TargetGroupArn=group, Targets=asked)
        assert answer["TargetHealthDescriptions"][0]["TargetHealth"]["Reason"] == "Target.NotRegistered"


async def test_a_drain_does_not_end_before_the_proxy_has_let_go(tmp_path: Path) -> None:
    async with elb_cloud(tmp_path) as cloud:
        group = await serving(cloud, 0)
        cloud.proxy.broken = "busy"
        await cloud.deregister(group, ONE)
        await cloud.clock.advance(5)
        assert (await cloud.health(group))[32768] == ("draining", "Target.DeregistrationInProgress")
        cloud.proxy.broken = None
        await cloud.clock.advance(5)
        assert await cloud.health(group) == {}


async def test_the_delay_of_a_drain_begins_when_the_proxy_has_let_go(tmp_path: Path) -> None:
    async with elb_cloud(tmp_path) as cloud:
        group = await serving(cloud, 20)
        cloud.proxy.broken = "busy"
        await cloud.deregister(group, ONE)
        await cloud.clock.advance(15)
        cloud.proxy.broken = None
        await cloud.clock.until(lambda: cloud.proxy.endpoints("web") == ())
        await cloud.clock.advance(18)
        assert (await cloud.health(group))[32768] == ("draining", "Target.DeregistrationInProgress")
        await cloud.clock.advance(3)
        assert await cloud.health(group) == {}


@pytest.mark.parametrize(("takes", "lasts"), [(0, 10), (40, 40), (1000, 100)])
async def test_a_shortened_drain_does_not_end_before_what_is_under_way(
    tmp_path: Path, takes: float, lasts: float
) -> None:
    """The pace shortens a drain of 100 s to 10; a request that takes longer has the 100 s that it has on AWS."""
    async with elb_cloud(tmp_path, FAST_PACE) as cloud:
        group = await serving(cloud, 100)
        cloud.proxy.occupied.add(Endpoint(*AT_ONE))
        await cloud.deregister(group, ONE)
        began = cloud.clock.now()
        await cloud.clock.idle()
        assert cloud.proxy.endpoints("web") == ()
        assert cloud.proxy.served.clusters[0].leaving == (Endpoint(*AT_ONE),)
        await cloud.clock.until(lambda: cloud.clock.now() >= began + takes or cloud.states(group) == {})
        cloud.proxy.occupied.clear()
        await cloud.clock.until(lambda: cloud.states(group) == {})
        assert lasts <= cloud.clock.now() - began < lasts + 1
        await cloud.clock.idle()
        assert cloud.proxy.served.clusters[0].leaving == ()


async def test_after_a_start_a_drain_does_not_end_before_the_proxy_was_told(tmp_path: Path) -> None:
    """The proxy of a process that was killed may go on sending requests to a target that has left since."""
    async with elb_cloud(tmp_path) as cloud:
        group = await serving(cloud, 5)
        cloud.proxy.broken = "busy"
        await cloud.deregister(group, ONE)
        await cloud.clock.idle()
    again = make_elb(cloud.database, cloud.clock, cloud.pace, cloud.proxy, cloud.prober, calls=cloud.calls)
    async with again:
        await cloud.clock.advance(10)
        assert 32768 in cloud.states(group)
        cloud.proxy.broken = None
        await cloud.clock.advance(10)
        assert cloud.states(group) == {}


async def test_registering_again_ends_a_drain(tmp_path: Path) -> None:
    async with elb_cloud(tmp_path) as cloud:
        group = await set_up(cloud)
        cloud.prober.says(*AT_ONE, 200)
        await cloud.register(group, ONE)
        await cloud.clock.advance(1)
        await cloud.deregister(group, ONE)
        await cloud.register(group, ONE)
        assert (await cloud.health(group))[32768][0] == "initial"
        await cloud.clock.advance(400)
        assert (await cloud.health(group))[32768] == ("healthy", None)


async def test_a_starting_program_is_noticed_early_but_given_its_time(tmp_path: Path) -> None:
    """At the fast pace, a new target is looked at often; its failures count once per real interval."""
    async with elb_cloud(tmp_path, FAST_PACE) as cloud:
        group = await set_up(cloud, HealthCheckIntervalSeconds=20, UnhealthyThresholdCount=3)
        await cloud.register(group, ONE)
        await cloud.clock.advance(38)
        assert (await cloud.health(group))[32768] == ("initial", "Elb.InitialHealthChecking")
        assert len(cloud.prober.probes) > 60
        cloud.prober.says(*AT_ONE, 200)
        await cloud.clock.advance(0.5)
        assert (await cloud.health(group))[32768] == ("healthy", None)
        asked = len(cloud.prober.probes)
        await cloud.clock.advance(20)
        assert 9 <= len(cloud.prober.probes) - asked <= 11


async def test_a_program_that_never_answers_becomes_unhealthy_at_aws_pace(tmp_path: Path) -> None:
    async with elb_cloud(tmp_path, FAST_PACE) as cloud:
        group = await set_up(cloud, HealthCheckIntervalSeconds=20, UnhealthyThresholdCount=3)
        await cloud.register(group, ONE)
        await cloud.clock.advance(39)
        assert cloud.states(group) == {32768: "initial"}
        await cloud.clock.advance(3)
        assert cloud.states(group) == {32768: "unhealthy"}


async def test_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    async with elb_cloud(tmp_path) as cloud:
        group = await set_up(cloud)
        cloud.prober.says(*AT_ONE, 200)
        await cloud.register(group, ONE, (instance(2), 40000))
        await cloud.clock.advance(1)
        await cloud.deregister(group, (instance(2), 40000))
        await cloud.clock.advance(100)
    clock, database = cloud.clock, cloud.database
    again = make_elb(database, clock, cloud.pace, cloud.proxy, cloud.prober)
    cloud.elb, cloud.proxy.broken = again, None
    async with again:
        assert (await cloud.health(group))[40000][0] == "draining"
        await clock.advance(1)
        assert (await cloud.health(group))[32768] == ("healthy", None)
        await clock.advance(200)
        assert list(await cloud.health(group)) == [32768]


async def test_a_target_whose_instance_is_gone_gets_no_requests(tmp_path: Path) -> None:
    gone: set[str] = set()
    async with elb_cloud(tmp_path) as cloud:
        from elb_cloud import resolve

        def current(target: str, port: int) -> Endpoint | None:
            return None if target in gone else resolve(target, port)

        cloud.elb = make_elb(cloud.database, cloud.clock, cloud.pace, cloud.proxy, cloud.prober, resolve=current)
        async with cloud.elb:
            group = await set_up(cloud)
            cloud.prober.says(*AT_ONE, 200)
            await cloud.register(group, ONE)
            await cloud.clock.advance(1)
            gone.add(ONE[0])
            await cloud.clock.advance(31)
            assert (await cloud.health(group))[32768] == ("unused", "Target.InvalidState")
            assert cloud.proxy.endpoints("web") == ()


async def test_a_listener_that_is_blocked_later_does_not_stop_the_others(tmp_path: Path) -> None:
    async with elb_cloud(tmp_path) as cloud:
        group = await set_up(cloud)
        await cloud.clock.idle()
        cloud.proxy.taken.add(("127.0.0.1", 80))
        balancer, other = await cloud.balancer("two"), await cloud.group("two")
        await cloud.listener(balancer, other, 81)
        await cloud.clock.advance(1)
        assert [listener.port for listener in cloud.proxy.served.listeners] == [81]
        cloud.proxy.taken.clear()
        await cloud.clock.advance(5)
        assert [listener.port for listener in cloud.proxy.served.listeners] == [80, 81]
        assert (await cloud.health(group)) == {}
