"""Services from creation to deletion, with a fake engine and virtual time."""

from pathlib import Path

import pytest

from portside.cloud.protocol.errors import AwsError
from portside.testing.engine import EXITS, RUNS, Program
from worlds.ecs import VirtualWorld, virtual_world

BREAKER = {"deploymentConfiguration": {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}}


def revisions(world: VirtualWorld) -> list[str]:
    return [task["taskDefinitionArn"].rpartition(":")[2] for task in world.running()]


async def test_a_service_reaches_a_steady_state(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await world.register()
        await world.create_service(count=2)
        await world.until(lambda: len(world.running()) == 2)
        assert not world.steady(), "running for a moment is not yet healthy"
        await world.until_steady()
        assert len(world.engine.running) == 2
        events = world.events()
        assert events[0] == "(service web) has reached a steady state."
        assert "deployment completed" in events[1]
        assert events[-1].startswith("(service web) has started 2 tasks: (task ")


async def test_a_killed_task_is_replaced_within_a_second(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await world.register()
        await world.create_service()
        await world.until_steady()
        before = world.running()[0]["taskArn"]
        world.engine.kill(world.engine.running[0].id)
        await world.until(lambda: any(t["taskArn"] != before for t in world.running()), limit=1.0)
        gone = world.tasks("STOPPED")[0]
        assert (gone["taskArn"], gone["stopCode"]) == (before, "EssentialContainerExited")
        assert gone["stoppedReason"] == "Essential container in task exited"
        assert gone["containers"][0]["exitCode"] == 137
        assert len(world.engine.states) == 1, "the dead container is removed"


async def test_a_container_removed_from_outside_is_replaced(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await world.register()
        await world.create_service()
        await world.until_steady()
        before = world.running()[0]["taskArn"]
        await world.engine.remove(world.engine.running[0].id)
        await world.until(lambda: any(t["taskArn"] != before for t in world.running()), limit=1.0)


async def test_scaling_out_and_in(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, instances=3) as world:
        await world.register()
        await world.create_service(count=6)
        await world.until_steady()
        zones = sorted(task["availabilityZone"] for task in world.running())
        assert zones == ["us-east-1a"] * 2 + ["us-east-1b"] * 2 + ["us-east-1c"] * 2
        await world.call("UpdateService", {"service": "web", "desiredCount": 3})
        await world.until(lambda: len(world.tasks()) == 3 and world.steady())
        assert len({task["availabilityZone"] for task in world.running()}) == 3, "scale-in keeps the balance"
        assert len(world.engine.states) == 3


async def test_rolling_update_keeps_the_minimum_and_ends_with_one_deployment(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, new=RUNS) as world:
        await world.register()
        await world.create_service(count=4)
        await world.until_steady()
        await world.register(image="new")
        await world.call("UpdateService", {"service": "web", "taskDefinition": "web"})
        least, most = 4, 0
        while not world.steady():
            await world.clock.advance(1)
            least, most = min(least, len(world.running())), max(most, len(world.engine.running))
        assert (least, most) == (4, 8)
        assert revisions(world) == ["2"] * 4
        assert {state.image for state in world.engine.running} == {"sha256:id-new"}
        stopped = world.tasks("STOPPED")
        assert {task["stopCode"] for task in stopped} == {"ServiceSchedulerInitiated"}
        assert stopped[0]["stoppedReason"].startswith("Scaling activity initiated by (deployment ecs-svc/")


async def test_without_a_minimum_old_tasks_make_room_first(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await world.register(portMappings=[{"containerPort": 80, "hostPort": 80}])
        configuration = {"minimumHealthyPercent": 0, "maximumPercent": 100}
        await world.create_service(deploymentConfiguration=configuration)
        await world.until_steady()
        await world.call("UpdateService", {"service": "web", "forceNewDeployment": True})
        most = 0
        while not world.steady():
            await world.clock.advance(0.5)
            most = max(most, len(world.engine.running))
        assert most == 1


async def test_br_04_an_image_that_exits_at_once_trips_the_breaker(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, broken=EXITS) as world:
        await world.register(image="broken")
        await world.create_service(
            deploymentConfiguration={"deploymentCircuitBreaker": {"enable": True, "rollback": True}}
        )
        start = world.clock.now()
        await world.until(lambda: world.service()["deployments"][0]["rolloutState"] == "FAILED")
        assert world.clock.now() - start < 300
        deployment = world.service()["deployments"][0]
        assert deployment["failedTasks"] == 3
        assert deployment["rolloutStateReason"] == "ECS deployment circuit breaker: tasks failed to start."
        started = len(world.engine.created)
        await world.clock.advance(4000)
        assert len(world.engine.created) == started == 3, "nothing is launched any more"


async def test_br_04_without_a_breaker_the_crash_loop_is_throttled(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, broken=EXITS) as world:
        await world.register(image="broken")
        await world.create_service()
        await world.clock.advance(3600)
        assert 5 < len(world.engine.created) < 15
        impaired = [e for e in world.events() if "unable to consistently start tasks successfully" in e]
        assert len(impaired) == 1, "said once"
        assert world.service()["deployments"][0]["failedTasks"] > 5


async def test_the_breaker_rolls_back_and_leaves_the_good_tasks_alone(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, broken=EXITS) as world:
        await world.register()
        await world.create_service(**BREAKER)
        await world.until_steady()
        good = world.running()[0]["taskArn"]
        first = world.service()["deployments"][0]["id"]
        await world.register(image="broken")
        await world.call("UpdateService", {"service": "web", "taskDefinition": "web"})
        bad = world.service()["deployments"][0]["id"]
        await world.until(lambda: world.service()["taskDefinition"].endswith("web:1"))
        primary = world.service()["deployments"][0]
        assert primary["rolloutStateReason"] in (
            f"ECS deployment circuit breaker: rolling back to deploymentId {first}.",
            f"ECS deployment {primary['id']} completed.",
        )
        assert primary["id"] not in (bad, first)
        await world.until_steady()
        assert [task["taskArn"] for task in world.running()] == [good]
        events = "\n".join(world.events())
        assert f"(deployment {bad}) deployment failed: tasks failed to start." in events
        assert "rolling back to" in events


async def test_a_failed_deployment_without_rollback_keeps_the_old_tasks(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, broken=EXITS) as world:
        await world.register()
        await world.create_service(
            deploymentConfiguration={"deploymentCircuitBreaker": {"enable": True, "rollback": False}}
        )
        await world.until_steady()
        await world.register(image="broken")
        await world.call("UpdateService", {"service": "web", "taskDefinition": "web"})
        await world.until(lambda: world.service()["deployments"][0]["rolloutState"] == "FAILED")
        assert revisions(world) == ["1"]
        world.engine.kill(world.engine.running[0].id)
        await world.until(lambda: len(world.running()) == 1, limit=60)
        assert revisions(world) == ["1"], "the old revision is kept up"
        shown = [(d["status"], d["rolloutState"]) for d in world.service()["deployments"]]
        assert shown == [("PRIMARY", "FAILED"), ("ACTIVE", "COMPLETED")]


async def test_a_service_that_is_healthy_for_a_while_forgets_its_failures(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, flaky=Program(seconds=20, code=1)) as world:
        await world.register(image="flaky")
        await world.create_service()
        await world.until(lambda: world.service()["deployments"][0]["failedTasks"] == 2)
        world.engine.programs["flaky"] = RUNS
        await world.until_steady()
        assert world.service()["deployments"][0]["failedTasks"] == 0


async def test_no_instance_gives_the_event_of_aws(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, instances=0) as world:
        await world.call("CreateCluster")
        await world.register()
        await world.create_service()
        await world.clock.idle()
        assert world.events() == [
            "(service web) was unable to place a task because no container instance met all of its requirements. "
            "Reason: No Container Instances were found in your cluster. For more information, see the "
            "Troubleshooting section of the Amazon ECS Developer Guide."
        ]
        await world.clock.advance(120)
        assert len(world.events()) == 1, "not repeated"
        world.put_instance(1)
        await world.until_steady()


@pytest.mark.parametrize(
    ("need", "why"), [({"cpu": 4096}, "insufficient CPU units"), ({"memory": 9999}, "insufficient memory")]
)
async def test_too_little_room_is_said(tmp_path: Path, need: dict[str, int], why: str) -> None:
    async with virtual_world(tmp_path) as world:
        await world.register(**need)
        await world.create_service()
        await world.clock.idle()
        arn = (await world.call("ListContainerInstances"))["containerInstanceArns"][0]
        closest = f"The closest matching (container-instance {arn.rpartition('/')[2]}) has {why} available."
        assert closest in world.events()[0]


async def test_br_14_fixed_host_port_one_instance(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await world.register(portMappings=[{"containerPort": 80, "hostPort": 80}])
        await world.create_service()
        await world.until_steady()
        await world.call("UpdateService", {"service": "web", "forceNewDeployment": True})
        await world.clock.advance(60)
        assert "is already using a port required by your task" in world.events()[0]
        assert len(world.running()) == 1
        free = {"minimumHealthyPercent": 0, "maximumPercent": 100}
        await world.call("UpdateService", {"service": "web", "deploymentConfiguration": free})
        await world.until_steady()
        await world.register(portMappings=[{"containerPort": 80}])
        full = {"minimumHealthyPercent": 100, "maximumPercent": 200}
        await world.call(
            "UpdateService", {"service": "web", "taskDefinition": "web", "deploymentConfiguration": full}
        )
        await world.until_steady()
        binding = world.running()[0]["containers"][0]["networkBindings"][0]
        assert binding["containerPort"] == 80
        assert binding["hostPort"] >= 32768


async def test_br_14_a_port_taken_by_something_else_stops_the_task_with_the_reason(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await world.register(portMappings=[{"containerPort": 80, "hostPort": 8080}])
        await world.create_service(count=0)
        await world.until_steady()
        await world.call("RunTask", {"taskDefinition": "web"})
        await world.until(lambda: len(world.running()) == 1)
        port = world.engine.running[0].ports[0]
        await world.call("StopTask", {"task": world.running()[0]["taskArn"]})
        await world.until(lambda: not world.engine.states)
        world.engine.taken_ports.add((port.host_ip, 8080))
        await world.call("RunTask", {"taskDefinition": "web"})
        await world.until(lambda: len(world.tasks("STOPPED")) == 2 and not world.engine.states)
        (failed,) = [t for t in world.tasks("STOPPED") if t["stopCode"] == "TaskFailedToStart"]
        assert "port is already allocated" in failed["stoppedReason"]
        assert failed["containers"][0]["reason"].startswith(
            "CannotStartContainerError: Error response from daemon"
        )


async def test_br_59_member_of_names_the_closest_instance(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await world.register()
        await world.create_service(
            placementConstraints=[{"type": "memberOf", "expression": "attribute:ecs.instance-type == m5.large"}]
        )
        await world.clock.idle()
        assert "is missing an attribute required by your task" in world.events()[0]
        assert world.engine.created == []
        world.put_instance(2, kind="m5.large")
        await world.until(lambda: len(world.running()) == 1)


async def test_image_that_cannot_be_pulled(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await world.register(image="nowhere:1")
        await world.create_service()
        await world.until(
            lambda: len(world.tasks("STOPPED")) == 1 and world.tasks("STOPPED")[0]["lastStatus"] == "STOPPED"
        )
        task = world.tasks("STOPPED")[0]
        assert task["stopCode"] == "TaskFailedToStart"
        assert task["stoppedReason"].startswith("CannotPullContainerError: ")
        assert "exitCode" not in {k for k, v in task["containers"][0].items() if v is not None}


async def test_a_tag_is_resolved_once_per_deployment(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await world.register()
        await world.create_service()
        await world.until_steady()
        deployment = world.database.read("SELECT images FROM ecs_deployment")[0]["images"]
        assert deployment == '{"app":"app@sha256:digest-app"}'
        assert world.running()[0]["containers"][0]["imageDigest"] == "sha256:digest-app"


async def test_delete_drains_and_leaves_it_inactive(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await world.register()
        await world.create_service(count=2)
        await world.until_steady()
        with pytest.raises(AwsError, match="scaled above 0"):
            await world.call("DeleteService", {"service": "web"})
        await world.call("UpdateService", {"service": "web", "desiredCount": 0})
        answer = await world.call("DeleteService", {"service": "web"})
        assert answer["service"]["status"] == "DRAINING"
        await world.until(lambda: world.service()["status"] == "INACTIVE")
        assert world.engine.states == []
        assert (await world.call("ListServices"))["serviceArns"] == []
        await world.create_service()
        await world.until_steady()
        assert len(world.service()["deployments"]) == 1


async def test_a_daemon_runs_once_on_each_instance(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, instances=2) as world:
        await world.register()
        await world.call(
            "CreateService", {"serviceName": "web", "taskDefinition": "web", "schedulingStrategy": "DAEMON"}
        )
        await world.until_steady()
        assert len({task["containerInstanceArn"] for task in world.running()}) == 2
        world.put_instance(3)
        await world.until(lambda: len(world.running()) == 3 and world.steady())
        assert world.service()["desiredCount"] == 3
        await world.register()
        await world.call("UpdateService", {"service": "web", "taskDefinition": "web"})
        await world.until(lambda: revisions(world) == ["2"] * 3 and world.steady())
        assert len({task["containerInstanceArn"] for task in world.running()}) == 3


async def test_draining_an_instance_moves_its_tasks(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, instances=2) as world:
        await world.register()
        await world.create_service(count=2)
        await world.until_steady()
        arn = (await world.call("ListContainerInstances"))["containerInstanceArns"][0]
        await world.call("UpdateContainerInstancesState", {"containerInstances": [arn], "status": "DRAINING"})
        least = 2
        while not all(task["containerInstanceArn"] != arn for task in world.tasks()):
            await world.clock.advance(1)
            least = min(least, len(world.running()))
        assert least == 2
        await world.until_steady()
        assert len(world.running()) == 2


async def test_a_terminated_instance_takes_its_tasks_along(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, instances=2) as world:
        await world.register()
        await world.create_service(count=2)
        await world.until_steady()
        ec2_id = next(iter(world.ec2.instances))
        del world.ec2.instances[ec2_id]
        world.ecs.capacity.wake()
        await world.until(lambda: len(world.tasks("STOPPED")) == 1)
        assert world.tasks("STOPPED")[0]["stoppedReason"] == f"Host EC2 (instance {ec2_id}) terminated."
        await world.until(lambda: len(world.running()) == 2 and len(world.engine.states) == 2, limit=30)
        assert (await world.call("DescribeClusters"))["clusters"][0]["registeredContainerInstancesCount"] == 1


async def test_ec2_is_asked_only_when_something_may_have_changed(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, instances=0) as world:
        world.ec2.calls = 0
        await world.register()
        await world.clock.advance(3600)
        assert world.ec2.calls == 0, "an idle cloud asks nothing"
        await world.call("CreateCluster")
        await world.clock.advance(3600)
        await world.call("CreateCluster", {"clusterName": "other"})
        await world.clock.advance(3600)
        assert world.ec2.calls == 1, "there may have been instances before the first cluster"
        world.put_instance(1, cluster="later")
        await world.clock.idle()
        assert (await world.call("ListContainerInstances"))["containerInstanceArns"] == []
        await world.call("CreateCluster", {"clusterName": "later"})
        await world.clock.idle()
        assert (
            len((await world.call("ListContainerInstances", {"cluster": "later"}))["containerInstanceArns"]) == 1
        )
