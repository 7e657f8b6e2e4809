"""What DescribeServiceDeployments and DescribeServiceRevisions tell."""

from pathlib import Path

from portside.testing.engine import EXITS, RUNS
from worlds.ecs import virtual_world

BREAKER = {"deploymentConfiguration": {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}}


async def test_a_rolled_back_deployment_says_so(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, broken=EXITS) as world:
        await world.register()
        await world.create_service(**BREAKER)
        await world.until_steady()
        await world.register(image="broken")
        await world.call("UpdateService", {"service": "web", "taskDefinition": "web"})
        await world.clock.idle()
        listed = (await world.call("ListServiceDeployments", {"service": "web"}))["serviceDeployments"]
        assert [each["status"] for each in listed] == ["IN_PROGRESS", "SUCCESSFUL"]
        await world.until_steady()
        listed = (await world.call("ListServiceDeployments", {"service": "web"}))["serviceDeployments"]
        assert [each["status"] for each in listed] == ["ROLLBACK_SUCCESSFUL", "SUCCESSFUL"]
        arns = [each["serviceDeploymentArn"] for each in listed]
        full = (await world.call("DescribeServiceDeployments", {"serviceDeploymentArns": arns}))[
            "serviceDeployments"
        ]
        assert full[0]["deploymentCircuitBreaker"] == {"status": "TRIGGERED", "failureCount": 3, "threshold": 3}
        assert full[0]["statusReason"] == "ECS deployment circuit breaker: tasks failed to start."
        assert full[0]["sourceServiceRevisions"][0]["arn"] == full[1]["targetServiceRevision"]["arn"]
        back = full[0]["rollback"]["serviceRevisionArn"]
        revision = (await world.call("DescribeServiceRevisions", {"serviceRevisionArns": [back]}))[
            "serviceRevisions"
        ][0]
        assert revision["taskDefinition"].endswith("web:1")
        assert revision["containerImages"] == [
            {"containerName": "app", "image": "app", "imageDigest": "sha256:digest-app"}
        ]
        only = {"service": "web", "status": ["SUCCESSFUL"]}
        assert len((await world.call("ListServiceDeployments", only))["serviceDeployments"]) == 1
        missing = await world.call("DescribeServiceDeployments", {"serviceDeploymentArns": [arns[0] + "x"]})
        assert missing["failures"] == [{"arn": arns[0] + "x", "reason": "MISSING"}]


async def test_one_that_is_overtaken_is_stopped(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, two=RUNS) as world:
        await world.register()
        await world.create_service()
        await world.call("UpdateService", {"service": "web", "forceNewDeployment": True})
        await world.until_steady()
        listed = (await world.call("ListServiceDeployments", {"service": "web"}))["serviceDeployments"]
        assert [each["status"] for each in listed] == ["SUCCESSFUL", "STOPPED"]


async def test_a_rollback_that_fails_is_not_rolled_back_again(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, broken=EXITS) as world:
        await world.register()
        configuration = BREAKER["deploymentConfiguration"] | {"minimumHealthyPercent": 0, "maximumPercent": 100}
        await world.create_service(deploymentConfiguration=configuration)
        await world.until_steady()
        world.engine.programs["app"] = EXITS  # the good revision has gone bad as well
        await world.register(image="broken")
        await world.call("UpdateService", {"service": "web", "taskDefinition": "web"})
        await world.until(lambda: world.service()["taskDefinition"].endswith("web:1"))
        await world.until(lambda: world.service()["deployments"][0]["rolloutState"] == "FAILED")
        created = len(world.engine.created)
        await world.clock.advance(3600)
        assert len(world.engine.created) == created == 7
        listed = (await world.call("ListServiceDeployments", {"service": "web"}))["serviceDeployments"]
        assert listed[0]["status"] == "ROLLBACK_FAILED"


async def test_br_03_a_rollback_leaves_the_revision_that_runs_active(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, broken=EXITS) as world:
        good = await world.register()
        await world.create_service(**BREAKER)
        await world.until_steady()
        await world.register(image="broken")
        await world.call("UpdateService", {"service": "web", "taskDefinition": "web"})
        await world.until_steady()
        assert world.service()["taskDefinition"] == good
        shown = await world.call("DescribeTaskDefinition", {"taskDefinition": good})
        assert shown["taskDefinition"]["status"] == "ACTIVE"
        assert [each["taskDefinitionArn"] for each in world.running()] == [good]


async def test_br_12_an_old_task_runs_until_its_target_is_drained(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        group = world.balancer.group()
        world.balancer.drains = True
        await world.register(portMappings=[{"containerPort": 80}])
        balancer = {"targetGroupArn": group, "containerName": "app", "containerPort": 80}
        await world.create_service(loadBalancers=[balancer])
        await world.until_steady()
        await world.call("UpdateService", {"service": "web", "forceNewDeployment": True})
        await world.until(lambda: "draining" in world.balancer.groups[group].values())
        await world.clock.advance(20)
        assert len(world.engine.running) == 2, "the old container still answers what it was asked"
        world.balancer.finish_draining()
        drained = world.clock.now()
        await world.until(lambda: len(world.engine.running) == 1)
        assert world.clock.now() - drained < 3
        await world.until_steady()
        assert list(world.balancer.groups[group].values()) == ["healthy"]
