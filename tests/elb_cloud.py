"""ELBv2 with everything around it, real or fake, for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from portside.cloud.kernel.clock import AWS_PACE, Clock, Pace
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.machine.prober import Prober
from portside.cloud.machine.proxy import Endpoint, Proxy, ServerCertificate
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Params
from portside.cloud.services.elbv2.service import Elb
from portside.testing.calls import ScriptedCalls
from portside.testing.clock import VirtualClock
from portside.testing.prober import FakeProber
from portside.testing.proxy import FakeProxy
from portside.testing.server import ACCOUNT, REGION, quiet_log

CALLER = Caller.root(ACCOUNT, REGION)
VPC = "vpc-1"
SUBNETS = ["subnet-a", "subnet-b"]


def _subnets(params: Params) -> Params:
    known = {"subnet-a": "us-east-1a", "subnet-b": "us-east-1b", "subnet-c": "us-east-1a"}
    for subnet in params["SubnetIds"]:
        if subnet not in known:
            raise AwsError("InvalidSubnetID.NotFound", f"The subnet ID '{subnet}' does not exist")
    shown = [{"SubnetId": s, "AvailabilityZone": known[s], "VpcId": VPC} for s in params["SubnetIds"]]
    return {"Subnets": shown}


def _vpcs(params: Params) -> Params:
    if params["VpcIds"] != [VPC]:
        raise AwsError("InvalidVpcID.NotFound", "no such VPC")
    return {"Vpcs": [{"VpcId": VPC}]}


def ec2() -> ScriptedCalls:
    return ScriptedCalls(
        {
            ("ec2", "DescribeSubnets"): _subnets,
            ("ec2", "DescribeVpcs"): _vpcs,
            ("cloudwatch", "PutMetricData"): lambda params: {},
            ("ec2", "DescribeSecurityGroups"): lambda params: {"SecurityGroups": [{"GroupId": "sg-default"}]},
        }
    )


def resolve(target: str, port: int) -> Endpoint | None:
    """Instances `i-...01` have 127.0.1.1 and so on; `i-...00` is gone. Addresses are themselves."""
    if not target.startswith("i-"):
        return Endpoint(target, port)
    number = int(target[-2:], 16)
    return Endpoint(f"127.0.1.{number}", port) if number else None


def instance(number: int) -> str:
    return f"i-{number:017x}"


@dataclass
class ElbCloud:
    """ELBv2 with fakes around it, in virtual time."""

    directory: Path
    pace: Pace = AWS_PACE
    clock: VirtualClock = field(default_factory=VirtualClock)
    proxy: FakeProxy = field(default_factory=FakeProxy)

    def __post_init__(self) -> None:
        self.prober = FakeProber(self.clock)
        self.database = Database(self.directory / "state.db")
        self.calls = ec2()
        self.certificates: dict[str, ServerCertificate] = {}
        self.elb = make_elb(
            self.database,
            self.clock,
            self.pace,
            self.proxy,
            self.prober,
            calls=self.calls,
            certificates=lambda arn: self.certificates.get(arn),
        )

    async def call(self, operation: str, **params: Any) -> Params:
        result: Any = self.elb.service().operations[operation](CALLER, params)
        answer: Params = await result if hasattr(result, "__await__") else result
        return answer

    async def balancer(self, name: str = "web", **more: Any) -> str:
        made = await self.call("CreateLoadBalancer", Name=name, Subnets=SUBNETS, **more)
        return str(made["LoadBalancers"][0]["LoadBalancerArn"])

    async def group(self, name: str = "web", **more: Any) -> str:
        params = {"Name": name, "Protocol": "HTTP", "Port": 3000, "VpcId": VPC} | more
        made = await self.call("CreateTargetGroup", **params)
        return str(made["TargetGroups"][0]["TargetGroupArn"])

    async def listener(self, balancer: str, group: str, port: int = 80) -> str:
        made = await self.call(
            "CreateListener", LoadBalancerArn=balancer, Protocol="HTTP", Port=port, DefaultActions=forward(group)
        )
        return str(made["Listeners"][0]["ListenerArn"])

    async def register(self, group: str, *targets: tuple[str, int]) -> None:
        listed = [{"Id": identifier, "Port": port} for identifier, port in targets]
        await self.call("RegisterTargets", TargetGroupArn=group, Targets=listed)

    async def deregister(self, group: str, *targets: tuple[str, int]) -> None:
        listed = [{"Id": identifier, "Port": port} for identifier, port in targets]
        await self.call("DeregisterTargets", TargetGroupArn=group, Targets=listed)

    async def health(self, group: str) -> dict[int, tuple[str, str | None]]:
        """State and reason of each target, by port."""
        answer = await self.call("DescribeTargetHealth", TargetGroupArn=group)
        return {
            each["Target"]["Port"]: (each["TargetHealth"]["State"], each["TargetHealth"].get("Reason"))
            for each in answer["TargetHealthDescriptions"]
        }

    def states(self, group: str) -> dict[int, str]:
        from portside.cloud.services.elbv2 import records

        return {t.port: t.health.state.value for t in records.targets(self.database, group)}


def forward(group: str) -> list[Params]:
    return [{"Type": "forward", "TargetGroupArn": group}]


def make_elb(database: Database, clock: Clock, pace: Pace, proxy: Proxy, prober: Prober, **more: Any) -> Elb:
    calls = more.pop("calls", None) or ec2()
    settings: dict[str, Any] = {"resolve": resolve, "own_address": lambda arn: "127.0.0.1"} | more
    return Elb(
        database=database,
        ids=Ids(),
        clock=clock,
        pace=pace,
        calls=calls,
        proxy=proxy,
        prober=prober,
        log=quiet_log(),
        **settings,
    )


@asynccontextmanager
async def elb_cloud(directory: Path, pace: Pace = AWS_PACE) -> AsyncIterator[ElbCloud]:
    cloud = ElbCloud(directory, pace)
    async with cloud.elb:
        yield cloud
