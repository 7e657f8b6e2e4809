"""Blue/green, linear and canary deployments, their hooks and stops, and alarms that undo a deployment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from portside.cloud.protocol.errors import AwsError
from portside.testing.clock import VirtualClock
from portside.testing.engine import EXITS, RUNS, FakeEngine
from worlds.ecs import VirtualWorld, virtual_world


class Site:
    """A service between a blue and a green target group."""

    def __init__(self, world: VirtualWorld, *, default_rule: bool = False, test: bool = False) -> None:
        self.world = world
        self.blue, self.green = world.balancer.group("blue"), world.balancer.group("green", attached=False)
        self.rule = world.balancer.rule("default" if default_rule else "production", self.blue)
        self.test = world.balancer.rule("test", self.blue) if test else ""

    async def create(self, count: int = 2, **configuration: Any) -> None:
        further = {
            "alternateTargetGroupArn": self.green,
            "productionListenerRule": self.rule,
            "roleArn": "arn:aws:iam::000000000000:role/shift",
        }
        balancer = {"targetGroupArn": self.blue, "containerName": "app", "containerPort": 80}
        if self.test:
            further["testListenerRule"] = self.test
        await self.world.register(portMappings=[{"containerPort": 80}])
        await self.world.create_service(
            count=count,
            loadBalancers=[balancer | {"advancedConfiguration": further}],
            deploymentConfiguration={"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 5, **configuration},
        )
        await self.world.until_steady()

    async def deploy(self, image: str = "next") -> None:
        await self.world.register(image=image, portMappings=[{"containerPort": 80}])
        await self.world.call("UpdateService", {"service": "web", "taskDefinition": "web"})

    @property
    def weights(self) -> tuple[int, int]:
        found = self.world.balancer.rules[self.rule]
        return found.get(self.blue, 0), found.get(self.green, 0)

    def deployment(self) -> dict[str, Any]:
        newest = self.world._now("ListServiceDeployments", {"service": "web"})["serviceDeployments"][0]
        arns = [newest["serviceDeploymentArn"]]
        found = self.world._now("DescribeServiceDeployments", {"serviceDeploymentArns": arns})
        return found["serviceDeployments"][0]  # type: ignore[no-any-return]

    def stage(self) -> str:
        return str(self.deployment().get("lifecycleStage"))

    def images(self) -> set[str]:
        return {each["containers"][0]["image"] for each in self.world.running()}


async def test_blue_green_shifts_all_at_once_and_keeps_both_for_the_bake_time(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, next=RUNS) as world:
        site = Site(world)
        await site.create()
        assert site.weights == (1, 0)  # as it was: all of it
        world.balancer.first_state = "initial"
        await site.deploy()
        await world.until(lambda: len(world.balancer.groups[site.green]) == 2)
        await world.clock.until(lambda: world.clock.now() % 60 < 5)
        # Not healthy yet: no traffic.
        assert site.weights[1] == 0
        assert site.stage() == "SCALE_UP"
        assert site.deployment()["status"] == "IN_PROGRESS"
        world.balancer.set_all(site.green, "healthy")
        await world.until(lambda: site.weights == (0, 100))
        await world.until(lambda: site.stage() == "BAKE_TIME")
        shifted = world.clock.now()
        assert site.images() == {"app", "next"}
        assert len(world.running()) == 4
        await world.until_steady()
        assert world.clock.now() - shifted >= 300
        assert site.images() == {"next"}
        assert site.deployment()["status"] == "SUCCESSFUL"
        assert world.balancer.groups[site.blue] == {}

        # The next one goes the other way.
        world.balancer.first_state = "healthy"
        await site.deploy("app")
        await world.until(lambda: site.weights == (100, 0))
        await world.until_steady()
        assert site.images() == {"app"}


async def test_a_default_rule_is_changed_through_its_listener_and_the_test_rule_first(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, next=RUNS) as world:
        site = Site(world, default_rule=True, test=True)
        await site.create()
        del world.balancer.written[:]
        await site.deploy()
        await world.until_steady()
        order = [(arn.rpartition("/")[2], weights[site.green]) for arn, weights in world.balancer.written]
        assert order == [("test", 100), ("default", 100)]


async def test_canary_and_linear_go_in_steps(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, next=RUNS) as world:
        site = Site(world)
        await site.create(
            strategy="CANARY", canaryConfiguration={"canaryPercent": 10.0, "canaryBakeTimeInMinutes": 3}
        )
        del world.balancer.written[:]
        await site.deploy()
        await world.until(lambda: site.weights == (90, 10))
        began = world.clock.now()
        await world.until(lambda: site.weights == (0, 100))
        assert 180 <= world.clock.now() - began < 200
        await world.until_steady()
        linear = {"strategy": "LINEAR", "linearConfiguration": {"stepPercent": 40.0, "stepBakeTimeInMinutes": 1}}
        await world.call(
            "UpdateService", {"service": "web", "deploymentConfiguration": linear | {"canaryConfiguration": {}}}
        )
        del world.balancer.written[:]
        await site.deploy("app")
        await world.until_steady()
        assert [weights[site.blue] for _, weights in world.balancer.written] == [40, 80, 100]
        assert all(sum(weights.values()) == 100 for _, weights in world.balancer.written)


async def test_a_broken_green_never_gets_traffic_and_is_taken_away(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, broken=EXITS) as world:
        site = Site(world)
        await site.create(deploymentCircuitBreaker={"enable": True, "rollback": True})
        del world.balancer.written[:]
        await site.deploy("broken")
        await world.until(lambda: site.deployment()["status"] == "ROLLBACK_SUCCESSFUL")
        await world.until_steady()
        assert world.balancer.written == []
        assert site.images() == {"app"}
        assert "circuit breaker" in site.deployment()["statusReason"]
        assert site.deployment()["deploymentCircuitBreaker"]["status"] == "TRIGGERED"


async def test_an_alarm_after_the_shift_gives_the_traffic_back_before_the_green_tasks_go(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, next=RUNS) as world:
        site = Site(world)
        world.watch(errors="OK", old="ALARM")
        await site.create(alarms={"alarmNames": ["errors", "old"], "enable": True, "rollback": True})
        await site.deploy()
        await world.until(lambda: site.stage() == "BAKE_TIME")
        assert site.weights == (0, 100)
        world.alarms["errors"] = "ALARM"
        await world.until(lambda: site.weights == (100, 0))
        assert len([each for each in world.tasks() if each["containers"][0]["image"] == "next"]) == 2
        await world.until_steady()
        assert site.images() == {"app"}
        shown = site.deployment()
        assert (shown["status"], shown["alarms"]["status"]) == ("ROLLBACK_SUCCESSFUL", "TRIGGERED")
        assert shown["alarms"]["triggeredAlarmNames"] == ["errors"]
        assert "errors" in shown["statusReason"]


async def test_a_pause_waits_for_a_person_and_is_passed_on_or_back(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, next=RUNS) as world:
        site = Site(world)
        hook = {
            "targetType": "PAUSE",
            "lifecycleStages": ["POST_SCALE_UP"],
            "timeoutConfiguration": {"timeoutInMinutes": 30, "action": "ROLLBACK"},
        }
        await site.create()
        await world.call(
            "UpdateService", {"service": "web", "deploymentConfiguration": {"lifecycleHooks": [hook]}}
        )

        async def paused() -> dict[str, Any]:
            await site.deploy()
            await world.until(lambda: site.stage() == "POST_SCALE_UP")
            await world.until(lambda: bool(site.deployment()["lifecycleHookDetails"]))
            assert site.weights[1] == 0
            return site.deployment()["lifecycleHookDetails"][-1]  # type: ignore[no-any-return]

        detail = await paused()
        assert detail["status"] == "AWAITING_ACTION"
        arn = site.deployment()["serviceDeploymentArn"]
        with pytest.raises(AwsError, match="has no lifecycle hook"):
            await world.call("ContinueServiceDeployment", {"serviceDeploymentArn": arn, "hookId": "none"})
        given = {"serviceDeploymentArn": arn, "hookId": detail["hookId"]}
        await world.call("ContinueServiceDeployment", given)
        await world.until(lambda: site.weights == (0, 100))
        await world.until_steady()


async def test_a_pause_that_nobody_ends_is_rolled_back(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, next=RUNS) as world:
        site = Site(world)
        await site.create()
        hook = {
            "targetType": "PAUSE",
            "lifecycleStages": ["PRE_PRODUCTION_TRAFFIC_SHIFT"],
            "timeoutConfiguration": {"timeoutInMinutes": 30},
        }
        await world.call(
            "UpdateService", {"service": "web", "deploymentConfiguration": {"lifecycleHooks": [hook]}}
        )
        await site.deploy()
        began = world.clock.now()
        await world.until(lambda: site.deployment()["status"] == "ROLLBACK_SUCCESSFUL", 4 * 3600)
        assert world.clock.now() - began >= 1800
        await world.until_steady()
        assert site.images() == {"app"}


async def test_a_deployment_can_be_stopped_and_goes_back(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, next=RUNS) as world:
        site = Site(world)
        await site.create()
        await site.deploy()
        await world.until(lambda: site.stage() == "BAKE_TIME")
        arn = site.deployment()["serviceDeploymentArn"]
        await world.call("StopServiceDeployment", {"serviceDeploymentArn": arn})
        await world.until(lambda: site.deployment()["status"] == "ROLLBACK_SUCCESSFUL")
        await world.until_steady()
        assert (site.images(), site.weights) == ({"app"}, (100, 0))
        with pytest.raises(AwsError, match="not in progress"):
            await world.call("StopServiceDeployment", {"serviceDeploymentArn": arn})


async def test_a_newer_deployment_overtakes_one_in_flight(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, next=RUNS, newest=RUNS) as world:
        site = Site(world)
        await site.create(
            strategy="CANARY", canaryConfiguration={"canaryPercent": 10.0, "canaryBakeTimeInMinutes": 60}
        )
        await site.deploy()
        await world.until(lambda: site.weights == (90, 10))
        await site.deploy("newest")
        # What was shifted is taken back before its tasks go.
        await world.until(lambda: site.weights == (100, 0))
        await world.until(lambda: site.weights == (90, 10))
        assert site.images() == {"app", "newest"}
        await world.until_steady(limit=3 * 3600)
        assert site.images() == {"newest"}


async def test_a_restart_in_the_middle_goes_on_where_it_was(tmp_path: Path) -> None:
    clock = VirtualClock()
    engine = FakeEngine(clock, {"app": RUNS, "next": RUNS})
    async with virtual_world(tmp_path, engine=engine, clock=clock) as world:
        site = Site(world)
        await site.create()
        await site.deploy()
        await world.until(lambda: site.stage() == "BAKE_TIME")
        balancer = world.balancer
    async with virtual_world(tmp_path, engine=engine, clock=clock, balancer=balancer) as again:
        site.world = again
        await again.until_steady()
        assert (site.images(), site.weights) == ({"next"}, (0, 100))
    await engine.close()


async def test_alarms_undo_a_rolling_deployment_and_hold_it_until_they_have_kept_silent(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, next=RUNS, newest=RUNS) as world:
        world.watch(errors="OK")
        with pytest.raises(AwsError, match="alarms were not found: none"):
            await world.register()
            await world.create_service(
                deploymentConfiguration={"alarms": {"alarmNames": ["none"], "enable": True, "rollback": True}}
            )
        await world.create_service(
            deploymentConfiguration={"alarms": {"alarmNames": ["errors"], "enable": True, "rollback": True}}
        )
        await world.until_steady()
        await world.register(image="next")
        await world.call("UpdateService", {"service": "web", "taskDefinition": "web"})
        await world.until(lambda: [e["containers"][0]["image"] for e in world.running()] == ["next"])
        assert world.service()["deployments"][0]["rolloutState"] == "IN_PROGRESS"
        world.alarms["errors"] = "ALARM"
        await world.until(lambda: [e["containers"][0]["image"] for e in world.running()] == ["app"])
        await world.until_steady()
        assert any("errors went into ALARM" in each for each in world.events())


@pytest.mark.parametrize(
    ("configuration", "why"),
    [
        ({"strategy": "CANARY", "canaryConfiguration": {"canaryPercent": 0.0}}, "canaryPercent must be between"),
        ({"strategy": "LINEAR", "linearConfiguration": {"stepPercent": 1.0}}, "stepPercent must be between"),
        ({"linearConfiguration": {"stepPercent": 10.0}}, "only be specified with the deployment strategy LINEAR"),
        ({"bakeTimeInMinutes": 2000}, "bakeTimeInMinutes must be between"),
        (
            {
                "strategy": "BLUE_GREEN",
                "lifecycleHooks": [{"targetType": "PAUSE", "lifecycleStages": ["TEST_TRAFFIC_SHIFT"]}],
            },
            "not supported at the lifecycle stage TEST_TRAFFIC_SHIFT",
        ),
        (
            {"strategy": "BLUE_GREEN", "lifecycleHooks": [{"targetType": "AWS_LAMBDA"}]},
            "does not offer lifecycle hooks that call Lambda",
        ),
        (
            {
                "deploymentCircuitBreaker": {
                    "enable": True,
                    "rollback": True,
                    "thresholdConfiguration": {"type": "BOUNDED_PERCENT", "value": 120},
                }
            },
            "must be 100 or less",
        ),
    ],
)
async def test_a_wrong_configuration_is_refused(tmp_path: Path, configuration: dict[str, Any], why: str) -> None:
    async with virtual_world(tmp_path) as world:
        await world.register()
        with pytest.raises(AwsError, match=why):
            await world.create_service(deploymentConfiguration=configuration)


async def test_without_a_second_target_group_traffic_cannot_be_shifted(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        group = world.balancer.group()
        await world.register(portMappings=[{"containerPort": 80}])
        with pytest.raises(AwsError, match="alternateTargetGroupArn is required"):
            await world.create_service(
                loadBalancers=[{"targetGroupArn": group, "containerName": "app", "containerPort": 80}],
                deploymentConfiguration={"strategy": "BLUE_GREEN"},
            )
