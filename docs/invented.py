"""Parameters for other people's templates: what somebody would give who has read them and has an account to use.

Owns the rules by which a value follows from a parameter's type and name, and the things that are made in the account
for those that must exist: a cluster, a listener, a role. They are made when they are first needed. Names that a
template wants for things of its own are others on the second attempt (`fresh`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.cloudformation import documents

BUCKET = "corpus"
_SOMEBODYS = re.compile(r"(vpc|subnet|sg|ami)-[0-9a-f]{8,17}")
_SSM = re.compile(r"AWS::SSM::Parameter::Value<(.+)>")
# For patterns; the first that fits is taken.
_PLAIN = (
    "value1",
    "Value1",
    "value-1",
    "10.0.0.0/16",
    "example.com",
    "user@example.com",
    "123456789012",
    "Abcdefg1!",
)
Call = Callable[..., Awaitable[Any]]


class Invented:
    """Values for the templates of one account. `call` speaks to it; `facts` are what it had from the beginning."""

    def __init__(self, call: Call, facts: dict[str, Any], account: str, region: str) -> None:
        self._call = call
        self._facts = facts
        self._account = account
        self._region = region
        self._made: dict[str, str] = {}
        self._count = 0

    async def values(
        self, declared: list[dict[str, Any]], body: str, place: str, files: Mapping[str, Any], *, fresh: bool
    ) -> list[dict[str, str]]:
        """A value for each parameter of GetTemplateSummary that has no default or one that names somebody's
        resource. `place` is the template's path among `files`, which lie in the bucket."""
        document = documents.read(body)
        found = []
        self._count = 0
        for each in declared:
            name, kind, default = each["ParameterKey"], each["ParameterType"], each.get("DefaultValue")
            allowed = (each.get("ParameterConstraints") or {}).get("AllowedValues")
            value = await self._by_type(name, kind, default)
            if value is None and default is not None and not _SOMEBODYS.fullmatch(default):
                continue
            if value is None and allowed:
                value = str(allowed[0])
            if value is None and "cidr" in name.lower():
                # Of subnets each needs one of its own.
                value = "10.0.0.0/16" if "vpc" in name.lower() else f"10.0.{len(found)}.0/24"
            if value is None:
                value = _of_mappings(name, document) or await self._by_name(name, kind, place, files, fresh)
            pattern = document["Parameters"][name].get("AllowedPattern")
            if pattern and default is None and not re.fullmatch(pattern, value):
                value = next((each for each in _PLAIN if re.fullmatch(pattern, each)), value)
            found.append({"ParameterKey": name, "ParameterValue": value})
        return found

    def _subnet(self) -> str:
        """Another one each time, for load balancers want several."""
        subnets = self._facts["subnets"]
        self._count += 1
        return str(subnets[(self._count - 1) % len(subnets)])

    async def _by_type(self, name: str, kind: str, default: str | None) -> str | None:
        stored = _SSM.fullmatch(kind)
        if stored:
            return await self._stored(name, stored[1], default)
        facts = self._facts
        if kind == "AWS::EC2::Subnet::Id":
            return self._subnet()
        names = {
            "AWS::EC2::VPC::Id": facts["vpc"],
            "AWS::EC2::SecurityGroup::Id": facts["group"],
            "AWS::EC2::SecurityGroup::GroupName": facts["group_name"],
            "AWS::EC2::KeyPair::KeyName": "key",
            "AWS::EC2::Image::Id": facts["image"],
            "AWS::EC2::AvailabilityZone::Name": f"{self._region}a",
            "List<AWS::EC2::Subnet::Id>": ",".join(facts["subnets"][:2]),
            "List<AWS::EC2::SecurityGroup::Id>": facts["group"],
            "List<AWS::EC2::AvailabilityZone::Name>": f"{self._region}a,{self._region}b",
            "List<AWS::EC2::VPC::Id>": facts["vpc"],
        }
        found: str | None = names.get(kind)
        return found

    async def _stored(self, name: str, kind: str, default: str | None) -> str | None:
        """The name of a parameter in the store, which is put there. AWS's own are there."""
        wanted = default or f"/corpus/{name}"
        if not wanted.startswith("/aws/"):
            # A version is asked for by the templates of the CDK, in a rule.
            value = await self._by_type(name, kind, None) or ("21" if wanted.endswith("/version") else "value1")
            await self._call("ssm", "PutParameter", Name=wanted, Value=value, Type="String", Overwrite=True)
        return None if default else wanted

    async def _by_name(self, name: str, kind: str, place: str, files: Mapping[str, Any], fresh: bool) -> str:
        """For strings and numbers, by what the name speaks of."""
        plain = name.lower()
        many = kind == "CommaDelimitedList"
        if kind in ("Number", "List<Number>"):
            return "256" if "cpu" in plain else "512" if "memory" in plain else "1"
        if "url" in plain or "uri" in plain or "prefix" in plain:
            found = self._address(plain, place, files)
            if found:
                return found
        lazily: tuple[tuple[str, Callable[[], Awaitable[str]]], ...] = (
            ("listener", self._listener),
            ("targetgroup", self._target_group),
            ("subnetgroup", self._subnet_group),
            ("fargateservice", self._service),
            ("role", self._role),
            ("kms", self._key),
            ("topic", self._topic),
            ("artifactkey", self._key),
            ("servicearn", self._service_arn),
            ("repositoryarn", self._repository),
        )
        for words, make in lazily:
            # What is to be called something is a thing of the template's own.
            if words in plain and not (plain.endswith("name") and words in ("role", "topic", "targetgroup")):
                return await self._once(words, make)
        if "cluster" in plain and "stack" not in plain:
            return await self._once("cluster", self._cluster)
        facts = self._facts
        for words, value in (
            (("stack",), re.sub(r"[^A-Za-z0-9]", "", name)),
            (("vpcid", "vpc"), facts["vpc"]),
            (("subnet",), ",".join(facts["subnets"][:2]) if many else self._subnet()),
            (("securitygroup",), facts["group"]),
            (("keyname", "keypair"), f"key{name.lower()}" if fresh else "key"),
            (("bucket",), f"corpus-{plain}" if fresh else BUCKET),
            (("email",), "user@example.com"),
            (("image", "repository"), "app"),
            (("hostedzoneid",), "Z0123456789ABCDEFGHIJ"),
            (("zone",), f"{self._region}a"),
            (("certificate", "certarn", "acm"), facts["certificate"] or "value1"),
            (("arn",), f"arn:aws:iam::{self._account}:role/app"),
            (("domain",), "example.com"),
            (("cpu",), "256"),
            (("memory",), "512"),
        ):
            if any(word in plain for word in words):
                return str(value)
        return "value1"

    def _address(self, plain: str, place: str, files: Mapping[str, Any]) -> str:
        """Of another template of the set, which its name tells; or of the folder, for prefixes."""
        folder = place.rpartition("/")[0]
        root = f"https://{BUCKET}.s3.amazonaws.com/{folder}" + ("/" if folder else "")
        if "prefix" in plain:
            return root
        word = re.sub(r"url|uri|template|stack|s3", "", plain)
        near = [each for each in files if each.rpartition("/")[0] == folder and each != place]
        chosen = [each for each in near if word and word in each.rpartition("/")[2]]
        # A parent is not to be its own grandchild's.
        chosen.sort(key=lambda each: ("grand" in each, len(each)))
        return root + chosen[0].rpartition("/")[2] if chosen else ""

    # What must exist

    async def _once(self, what: str, make: Callable[[], Awaitable[str]]) -> str:
        if what not in self._made:
            self._made[what] = await make()
        return self._made[what]

    async def _cluster(self) -> str:
        await self._call("ecs", "CreateCluster", clusterName="shared")
        return "shared"

    async def _service_arn(self) -> str:
        await self._once("fargateservice", self._service)
        return f"arn:aws:ecs:{self._region}:{self._account}:service/shared/shared"

    async def _service(self) -> str:
        cluster = await self._once("cluster", self._cluster)
        container = {"name": "app", "image": "app", "essential": True}
        await self._call(
            "ecs",
            "RegisterTaskDefinition",
            family="shared",
            cpu="256",
            memory="512",
            networkMode="awsvpc",
            requiresCompatibilities=["FARGATE"],
            containerDefinitions=[container],
        )
        network = {"awsvpcConfiguration": {"subnets": self._facts["subnets"][:1]}}
        await self._call(
            "ecs",
            "CreateService",
            cluster=cluster,
            serviceName="shared",
            taskDefinition="shared",
            desiredCount=0,
            launchType="FARGATE",
            networkConfiguration=network,
        )
        return "shared"

    async def _target_group(self) -> str:
        made = await self._call(
            "elbv2",
            "CreateTargetGroup",
            Name="shared",
            Protocol="HTTP",
            Port=80,
            VpcId=self._facts["vpc"],
            TargetType="ip",
        )
        group = str(made["TargetGroups"][0]["TargetGroupArn"])
        # Services take a group only once a load balancer uses it.
        await self._serve(group)
        return group

    async def _listener(self) -> str:
        await self._once("targetgroup", self._target_group)
        return self._made["served"]

    async def _serve(self, group: str) -> None:
        made = await self._call("elbv2", "CreateLoadBalancer", Name="shared", Subnets=self._facts["subnets"][:2])
        listener = await self._call(
            "elbv2",
            "CreateListener",
            LoadBalancerArn=made["LoadBalancers"][0]["LoadBalancerArn"],
            Protocol="HTTP",
            Port=80,
            DefaultActions=[{"Type": "forward", "TargetGroupArn": group}],
        )
        self._made["served"] = str(listener["Listeners"][0]["ListenerArn"])

    async def _subnet_group(self) -> str:
        await self._call(
            "rds",
            "CreateDBSubnetGroup",
            DBSubnetGroupName="shared",
            DBSubnetGroupDescription="shared",
            SubnetIds=self._facts["subnets"][:2],
        )
        return "shared"

    async def _role(self) -> str:
        services = ["ecs-tasks", "ecs", "codebuild", "codepipeline", "events", "application-autoscaling"]
        trust = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": [f"{each}.amazonaws.com" for each in services]},
                    "Action": "sts:AssumeRole",
                }
            ],
        }
        made = await self._call("iam", "CreateRole", RoleName="shared", AssumeRolePolicyDocument=json.dumps(trust))
        whole = "arn:aws:iam::aws:policy/AdministratorAccess"
        await self._call("iam", "AttachRolePolicy", RoleName="shared", PolicyArn=whole)
        return str(made["Role"]["Arn"])

    async def _key(self) -> str:
        return str((await self._call("kms", "CreateKey"))["KeyMetadata"]["Arn"])

    async def _topic(self) -> str:
        return str((await self._call("sns", "CreateTopic", Name="shared"))["TopicArn"])

    async def _repository(self) -> str:
        try:
            await self._call("ecr", "CreateRepository", repositoryName="shared")
        except AwsError as error:
            if error.code != "RepositoryAlreadyExistsException":
                raise
        return f"arn:aws:ecr:{self._region}:{self._account}:repository/shared"


def _of_mappings(name: str, document: Mapping[str, Any]) -> str:
    """A parameter that chooses in a mapping."""
    mappings = document.get("Mappings") or {}
    if not mappings:
        return ""
    chosen = next(iter(mappings))
    if name == "MapName":
        return str(chosen)
    if name == "MapKey" or name.endswith("Selector"):
        return str(next(iter(mappings[chosen])))
    return ""
