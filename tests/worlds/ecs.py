"""ECS with everything around it faked: EC2, Auto Scaling, load balancers, the engine and time."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from portside.cloud.kernel.clock import Clock, Pace
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.machine.addresses import Addresses
from portside.cloud.machine.engine import Conflict, Engine
from portside.cloud.protocol.errors import AwsError
from portside.cloud.protocol.models import model
from portside.cloud.protocol.shapes import violations
from portside.cloud.services.calls import Caller, Params, RoleSession
from portside.cloud.services.ecs.images import EngineImages
from portside.cloud.services.ecs.orchestrator import Ecs
from portside.cloud.services.ecs.outside import Credentials, Endpoint
from portside.cloud.services.logs.api import LogsApi
from portside.testing.calls import ScriptedCalls
from portside.testing.clock import VirtualClock
from portside.testing.engine import RUNS, FakeEngine, Program
from portside.testing.server import ACCOUNT, REGION, quiet_log

CLOUD = "test"
CALLER = Caller.root(ACCOUNT, REGION)


class NoRegistry:
    """An account without images."""

    def resolve(self, reference: str, region: str) -> None:
        return None

    def archive(self, image: Any) -> AsyncIterator[bytes]:
        raise AssertionError("nothing to load")


@dataclass
class FakeRoles:
    """Implements `Roles`; every role exists but those in `missing`."""

    clock: Clock
    missing: set[str] = field(default_factory=set)
    assumed: list[tuple[str, str]] = field(default_factory=list)

    async def assume(
        self, role: str, session_name: str, service: str, caller: Caller, seconds: int = 3600, source: str = ""
    ) -> RoleSession:
        if role in self.missing:
            raise AwsError("AccessDenied", f"{service} is not authorized to perform: sts:AssumeRole", 403)
        self.assumed.append((role, service))
        arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/{role.rpartition('/')[2]}/{session_name}"
        number = len(self.assumed)
        return RoleSession(role, arn, "AROA", f"ASIA{number}", "secret", "token", self.clock.now() + seconds)


@dataclass
class FakeOutside:
    """Implements `Outside`: a bridge, a name server and a network for credentials, each of which may be missing."""

    engine: Engine
    bridge_address: str = "172.17.0.1"
    no_names: str = ""
    relative: bool = True

    async def endpoint(self) -> Endpoint:
        return Endpoint("http://172.17.0.1:4566")

    async def credentials(self) -> Credentials:
        with suppress(Conflict):
            await self.engine.create_network("link-local", {}, subnet="169.254.170.0/23", gateway="169.254.170.2")
        return Credentials("link-local", "http://169.254.170.2:4566", self.relative)

    def name_server(self) -> str:
        return "" if self.no_names else self.bridge_address

    def why_no_names(self) -> str:
        return self.no_names

    def bridge(self) -> str:
        return self.bridge_address


@dataclass
class FakeRegistry:
    """Cloud Map: the entries of each service."""

    entries: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)

    def register(self, params: Params) -> Params:
        self.entries.setdefault(params["ServiceId"], {})[params["InstanceId"]] = params["Attributes"]
        return {"OperationId": "1"}

    def deregister(self, params: Params) -> Params:
        del self.entries[params["ServiceId"]][params["InstanceId"]]
        return {"OperationId": "2"}


@dataclass
class FakeEc2:
    """Running instances, by id: (type, zone, user data)."""

    instances: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    calls: int = 0

    def launch(self, number: int, cluster: str = "default", kind: str = "t3.small", zone: str = "a") -> str:
        ec2_id = f"i-{number:017x}"
        script = f"#!/bin/bash\necho ECS_CLUSTER={cluster} >> /etc/ecs/ecs.config\n"
        self.instances[ec2_id] = (kind, REGION + zone, script)
        return ec2_id

    def describe_groups(self, params: Params) -> Params:
        self.calls += 1
        return {"AutoScalingGroups": []}

    def describe(self, params: Params) -> Params:
        return {
            "Reservations": [
                {
                    "Instances": [
                        {
                            "InstanceId": ec2_id,
                            "InstanceType": kind,
                            "State": {"Name": "running"},
                            "Placement": {"AvailabilityZone": zone},
                            "ImageId": "ami-1",
                            "Architecture": "x86_64",
                            "Tags": [{"Key": "aws:autoscaling:groupName", "Value": self.groups[ec2_id]}]
                            if ec2_id in self.groups
                            else [],
                        }
                    ]
                }
                for ec2_id, (kind, zone, _) in self.instances.items()
            ]
        }

    def attribute(self, params: Params) -> Params:
        script = self.instances[params["InstanceId"]][2]
        return {"UserData": {"Value": base64.b64encode(script.encode()).decode()}}

    def subnets(self, params: Params) -> Params:
        """`subnet-a` is in zone a."""
        found = [{"SubnetId": each, "AvailabilityZone": REGION + each[-1]} for each in params["SubnetIds"]]
        return {"Subnets": found}

    def types(self, params: Params) -> Params:
        sizes = {"t3.micro": (2, 1024), "t3.small": (2, 2048), "m5.large": (2, 8192)}
        kind = params["InstanceTypes"][0]
        cpus, memory = sizes[kind]
        return {"InstanceTypes": [{"VCpuInfo": {"DefaultVCpus": cpus}, "MemoryInfo": {"SizeInMiB": memory}}]}


@dataclass
class FakeBalancer:
    """Target groups with the states of their targets. A new target is `initial` until `settle` or a set state;
    one that is deregistered drains until it is told to be gone."""

    groups: dict[str, dict[tuple[str, int], str]] = field(default_factory=dict)
    attached: set[str] = field(default_factory=set)
    types: dict[str, str] = field(default_factory=dict)
    first_state: str = "healthy"
    rules: dict[str, dict[str, int]] = field(default_factory=dict)
    written: list[tuple[str, dict[str, int]]] = field(default_factory=list)
    drains: bool = False
    fails: bool = False

    def group(self, name: str = "web", *, attached: bool = True, kind: str = "instance") -> str:
        arn = f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:targetgroup/{name}/0123456789abcdef"
        self.groups[arn] = {}
        self.types[arn] = kind
        if attached:
            self.attached.add(arn)
        return arn

    def rule(self, name: str, group: str) -> str:
        """A listener rule that forwards to a group; the default one of a listener if it is named so."""
        arn = f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:listener-rule/app/lb/1/2/{name}"
        self.rules[arn] = {group: 1}
        return arn

    def describe_rules(self, params: Params) -> Params:
        (arn,) = params["RuleArns"]
        if arn not in self.rules:
            raise AwsError("RuleNotFound", "One or more rules not found")
        groups = [{"TargetGroupArn": group, "Weight": weight} for group, weight in self.rules[arn].items()]
        actions = [{"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}]
        return {"Rules": [{"RuleArn": arn, "IsDefault": arn.endswith("default"), "Actions": actions}]}

    def modify_rule(self, params: Params) -> Params:
        return self._weigh(params["RuleArn"], params["Actions"])

    def modify_listener(self, params: Params) -> Params:
        arn = params["ListenerArn"].replace(":listener/", ":listener-rule/") + "/default"
        return self._weigh(arn, params["DefaultActions"])

    def _weigh(self, arn: str, actions: list[Params]) -> Params:
        (action,) = actions
        given = {each["TargetGroupArn"]: each["Weight"] for each in action["ForwardConfig"]["TargetGroups"]}
        self.rules[arn] = given
        self.written.append((arn, given))
        return {}

    def set_all(self, arn: str, state: str) -> None:
        for target in self.groups[arn]:
            self.groups[arn][target] = state

    def finish_draining(self) -> None:
        for targets in self.groups.values():
            for target in [t for t, state in targets.items() if state == "draining"]:
                del targets[target]

    def _targets(self, params: Params) -> dict[tuple[str, int], str]:
        if self.fails:
            raise AwsError("InternalFailure", "the balancer is away", 500)
        found = self.groups.get(params["TargetGroupArn"])
        if found is None:
            raise AwsError("TargetGroupNotFound", "One or more target groups not found")
        return found

    def describe_groups(self, params: Params) -> Params:
        arn = params["TargetGroupArns"][0]
        if arn not in self.groups:
            raise AwsError("TargetGroupNotFound", "One or more target groups not found")
        balancers = ["arn:lb"] if arn in self.attached else []
        return {"TargetGroups": [{"LoadBalancerArns": balancers, "TargetType": self.types.get(arn, "instance")}]}

    def register(self, params: Params) -> Params:
        targets = self._targets(params)
        for target in params["Targets"]:
            key = (target["Id"], target["Port"])
            if targets.get(key) in (None, "draining"):
                targets[key] = self.first_state
        return {}

    def deregister(self, params: Params) -> Params:
        for target in params["Targets"]:
            key = (target["Id"], target["Port"])
            targets = self._targets(params)
            if self.drains and key in targets:
                targets[key] = "draining"
            else:
                targets.pop(key, None)
        return {}

    def health(self, params: Params) -> Params:
        targets = self._targets(params)
        wanted = [(t["Id"], t["Port"]) for t in params.get("Targets") or []] or list(targets)
        return {
            "TargetHealthDescriptions": [
                {
                    "Target": {"Id": key[0], "Port": key[1]},
                    "TargetHealth": {"State": targets.get(key, "unused"), "Description": "Health checks failed"},
                }
                for key in wanted
            ]
        }


class World:
    """`await world.call("RunTask", {...})`; `world.clock`, `world.engine`, `world.ec2`, `world.balancer`."""

    def __init__(
        self,
        path: Path,
        clock: Clock,
        engine: Engine,
        pace: Pace,
        cloud: str = CLOUD,
        registry: Any = None,
        balancer: FakeBalancer | None = None,
    ) -> None:
        self.database = Database(path)
        self.clock = clock
        self.engine = engine
        self.calls = ScriptedCalls()
        self.ec2 = FakeEc2()
        self.balancer = balancer or FakeBalancer()
        ids = Ids()
        log = quiet_log()
        self.logs = LogsApi(database=self.database, ids=ids, clock=clock, log=log)
        self.calls.add(self.logs.service())
        self.roles = FakeRoles(clock)
        self.outside = FakeOutside(engine)
        self.registry = FakeRegistry()
        self.alarms: dict[str, str] = {}
        self.files: dict[tuple[str, str], bytes] = {}
        self.calls.answers |= {
            ("servicediscovery", "RegisterInstance"): self.registry.register,
            ("servicediscovery", "DeregisterInstance"): self.registry.deregister,
            ("s3", "GetObject"): self._file,
            ("ec2", "DescribeSubnets"): self.ec2.subnets,
            ("autoscaling", "DescribeAutoScalingGroups"): self.ec2.describe_groups,
            ("ec2", "DescribeInstances"): self.ec2.describe,
            ("ec2", "DescribeInstanceAttribute"): self.ec2.attribute,
            ("ec2", "DescribeInstanceTypes"): self.ec2.types,
            ("cloudwatch", "PutMetricData"): lambda params: {},
            ("elbv2", "DescribeTargetGroups"): self.balancer.describe_groups,
            ("elbv2", "DescribeRules"): self.balancer.describe_rules,
            ("elbv2", "ModifyRule"): self.balancer.modify_rule,
            ("elbv2", "ModifyListener"): self.balancer.modify_listener,
            ("elbv2", "RegisterTargets"): self.balancer.register,
            ("elbv2", "DeregisterTargets"): self.balancer.deregister,
            ("elbv2", "DescribeTargetHealth"): self.balancer.health,
        }
        self.ecs = Ecs(
            database=self.database,
            ids=ids,
            clock=clock,
            pace=pace,
            calls=self.calls,
            log=log,
            engine=engine,
            images=EngineImages(engine, registry or NoRegistry(), ACCOUNT),
            addresses=Addresses(self.database, cloud, many=True),
            roles=self.roles,
            outside=self.outside,
            cloud=cloud,
            account=ACCOUNT,
            region=REGION,
        )
        self.calls.add(self.ecs.service())

    def watch(self, **alarms: str) -> None:
        """Alarms with these states, instead of a CloudWatch."""
        self.alarms |= alarms
        self.calls.answers["cloudwatch", "DescribeAlarms"] = self._alarms

    def _alarms(self, params: Params) -> Params:
        found = [
            {"AlarmName": name, "StateValue": state, "Period": 60, "EvaluationPeriods": 2}
            for name, state in self.alarms.items()
            if name in params["AlarmNames"]
        ]
        return {"MetricAlarms": found, "CompositeAlarms": []}

    def _file(self, params: Params) -> Params:
        found = self.files.get((params["Bucket"], params["Key"]))
        if found is None:
            raise AwsError("NoSuchKey", "The specified key does not exist.", 404)
        return {"Body": found}

    async def call(self, operation: str, params: Params | None = None, service: str = "ecs") -> Params:
        given = params or {}
        described = model(service)
        assert described is not None
        found = violations(described.operation_model(operation).input_shape, given)
        assert not found, found
        return await self.calls(service, operation, given, CALLER)

    async def register(self, family: str = "web", image: str = "app", **container: Any) -> str:
        made = {"name": "app", "image": image, "memory": 128, **container}
        answer = await self.call("RegisterTaskDefinition", {"family": family, "containerDefinitions": [made]})
        arn: str = answer["taskDefinition"]["taskDefinitionArn"]
        return arn

    async def create_service(self, name: str = "web", definition: str = "web", count: int = 1, **more: Any) -> str:
        answer = await self.call(
            "CreateService", {"serviceName": name, "taskDefinition": definition, "desiredCount": count, **more}
        )
        arn: str = answer["service"]["serviceArn"]
        return arn

    def put_instance(self, number: int, **more: Any) -> str:
        ec2_id = self.ec2.launch(number, **more)
        self.ecs.capacity.wake()
        return ec2_id

    # What tests look at; no waiting in it

    def service(self, name: str = "web") -> Params:
        answer: Params = self._now("DescribeServices", {"services": [name]})
        found: Params = answer["services"][0]
        return found

    def tasks(self, status: str = "RUNNING") -> list[Params]:
        """The tasks with this desired status, oldest first."""
        arns = self._now("ListTasks", {"desiredStatus": status})["taskArns"]
        found: list[Params] = self._now("DescribeTasks", {"tasks": arns})["tasks"] if arns else []
        return sorted(found, key=lambda each: each["createdAt"])

    def running(self) -> list[Params]:
        return [each for each in self.tasks() if each["lastStatus"] == "RUNNING"]

    def events(self, name: str = "web") -> list[str]:
        """Newest first."""
        return [event["message"] for event in self.service(name)["events"]]

    def steady(self, name: str = "web") -> bool:
        shown = self.service(name)
        return (
            len(shown["deployments"]) == 1
            and shown["runningCount"] == shown["desiredCount"]
            and shown["deployments"][0]["rolloutState"] == "COMPLETED"
        )

    def _now(self, operation: str, params: Params) -> Params:
        answer = self.ecs.service().operations[operation](CALLER, params)
        assert isinstance(answer, dict)
        return answer


class VirtualWorld(World):
    """With a fake engine and virtual time."""

    clock: VirtualClock
    engine: FakeEngine

    async def until(self, reached: Any, limit: float = 3600.0) -> None:
        await self.clock.until(reached, limit)

    async def until_steady(self, name: str = "web", limit: float = 3600.0) -> None:
        await self.until(lambda: self.steady(name), limit)


@asynccontextmanager
async def virtual_world(
    path: Path,
    *,
    engine: FakeEngine | None = None,
    clock: VirtualClock | None = None,
    instances: int = 1,
    pace: Pace | None = None,
    registry: Any = None,
    balancer: FakeBalancer | None = None,
    **programs: Program,
) -> AsyncIterator[VirtualWorld]:
    """Runs until the block ends. Give the same path, clock and engine again for a restart."""
    time = clock or VirtualClock()
    fake = engine or FakeEngine(time, {"app": RUNS, **programs})
    world = VirtualWorld(
        path / "state.db", time, fake, pace or Pace(1.0, 0.0), registry=registry, balancer=balancer
    )
    for number in range(1, instances + 1):
        world.ec2.launch(number, zone="abc"[(number - 1) % 3])
    if instances and not world.database.read("SELECT 1 FROM ecs_cluster"):
        await world.call("CreateCluster")
    async with world.ecs:
        if instances:
            world.ecs.capacity.wake()
        await time.idle()
        try:
            yield world
        finally:
            if engine is None:
                await fake.close()
    world.database.close()
