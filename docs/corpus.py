"""Writes docs/reference/corpus.md: what templates that other people wrote come to in the local cloud.

`make corpus` calls it with the folder of the corpus, which is not part of this project; without one it says so and
writes nothing. Each template gets a cloud of its own, whose machine has every image and whose targets are all healthy,
and parameters by the rules of `values`. A stack that is created is deleted again.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import multiprocessing
import os
import re
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from portside.cloud.app import Cloud
from portside.cloud.kernel.clock import SystemClock
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller
from portside.cloud.settings import CloudSettings, Home
from portside.testing.machine import FakeMachine

PAGE = Path(__file__).parent / "reference" / "corpus.md"
ACCOUNT, REGION = "000000000000", "us-east-1"
CALLER = Caller(ACCOUNT, REGION, f"arn:aws:iam::{ACCOUNT}:root", endpoint="http://127.0.0.1:4566")
CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]
BUCKET = "corpus"
SUFFIXES = (".yaml", ".yml", ".json", ".template")
LIMIT = 120.0
WORKERS = 2


@dataclass(frozen=True, slots=True)
class Outcome:
    file: str
    status: str
    reason: str = ""


class Account:
    """A whole cloud, and what an account has before the first stack."""

    def __init__(self, cloud: Cloud, clock: SystemClock) -> None:
        self._cloud = cloud
        self._clock = clock
        self.facts: dict[str, Any] = {}

    async def call(self, service: str, operation: str, **params: Any) -> Any:
        return await self._cloud.dispatcher(service, operation, params, CALLER)

    async def prepare(self, files: dict[str, bytes], body: str) -> None:
        """Default VPC, key pair, bucket with the folder's files, and a certificate if the template speaks of one."""
        vpc = (await self.call("ec2", "DescribeVpcs"))["Vpcs"][0]
        subnets = (await self.call("ec2", "DescribeSubnets"))["Subnets"]
        groups = (await self.call("ec2", "DescribeSecurityGroups"))["SecurityGroups"]
        images = (await self.call("ec2", "DescribeImages", Owners=["amazon"]))["Images"]
        await self.call("ec2", "CreateKeyPair", KeyName="key")
        await self.call("s3", "CreateBucket", Bucket=BUCKET)
        for key, content in files.items():
            await self.call("s3", "PutObject", Bucket=BUCKET, Key=key, Body=content)
        self.facts = {
            "vpc": vpc["VpcId"],
            "cidr": vpc["CidrBlock"],
            "subnets": [each["SubnetId"] for each in subnets[:2]],
            "group": groups[0]["GroupId"],
            "group_name": groups[0]["GroupName"],
            "image": images[0]["ImageId"],
            "certificate": await self._certificate() if "ertificate" in body else "",
        }

    async def _certificate(self) -> str:
        from portside.cloud.services.certificates import authority

        mine = authority.new_authority("of the corpus", 1, self._clock.now())
        pair = authority.issue(mine, ("app.example.com",), "EC_prime256v1", 2, self._clock.now())
        made = await self.call(
            "acm", "ImportCertificate", Certificate=pair.chain.encode(), PrivateKey=pair.key.encode()
        )
        return str(made["CertificateArn"])

    async def settle(self, stack: str) -> str:
        end = self._clock.now() + LIMIT
        while True:
            status: str = (await self.call("cloudformation", "DescribeStacks", StackName=stack))["Stacks"][0][
                "StackStatus"
            ]
            if not status.endswith("_IN_PROGRESS") or self._clock.now() > end:
                return status
            await self._clock.sleep_until(self._clock.now() + 0.05)

    async def reason(self, stack: str) -> str:
        """Of the oldest event that failed and was not merely cancelled; else why the stack turned back."""
        answer = await self.call("cloudformation", "DescribeStackEvents", StackName=stack)
        failed = [
            each
            for each in answer["StackEvents"]
            if each["ResourceStatus"].endswith("_FAILED")
            and "cancelled" not in each.get("ResourceStatusReason", "")
        ]
        if not failed:
            turned = [
                each
                for each in answer["StackEvents"]
                if each["ResourceStatus"] == "ROLLBACK_IN_PROGRESS" and each.get("ResourceStatusReason")
            ]
            return str(turned[-1]["ResourceStatusReason"]) if turned else ""
        first = failed[-1]
        return f"{first['LogicalResourceId']} ({first['ResourceType']}): {first.get('ResourceStatusReason', '')}"


def values(declared: list[dict[str, Any]], facts: dict[str, Any]) -> list[dict[str, str]]:
    """A value for each parameter of GetTemplateSummary that has no default or one that names somebody's resource."""
    found = []
    for each in declared:
        name, kind, default = each["ParameterKey"], each["ParameterType"], each.get("DefaultValue")
        many = kind.startswith("List<") or kind == "CommaDelimitedList"
        allowed = (each.get("ParameterConstraints") or {}).get("AllowedValues")
        special = _special(kind, facts)
        if special is not None:
            value = special
        elif default:
            continue
        elif allowed:
            value = str(allowed[0])
        elif default == "":
            continue
        else:
            value = _named(name, kind, facts, many)
        if "cidr" in name.lower() and not default and not allowed:
            # Of subnets each needs one of its own.
            value = "10.0.0.0/16" if "vpc" in name.lower() else f"10.0.{len(found)}.0/24"
        found.append({"ParameterKey": name, "ParameterValue": value})
    return found


def _special(kind: str, facts: dict[str, Any]) -> str | None:
    """For the types whose values must exist."""
    if kind.startswith("AWS::SSM::"):
        return None
    names = {
        "AWS::EC2::VPC::Id": facts["vpc"],
        "AWS::EC2::Subnet::Id": facts["subnets"][0],
        "AWS::EC2::SecurityGroup::Id": facts["group"],
        "AWS::EC2::SecurityGroup::GroupName": facts["group_name"],
        "AWS::EC2::KeyPair::KeyName": "key",
        "AWS::EC2::Image::Id": facts["image"],
        "AWS::EC2::AvailabilityZone::Name": f"{REGION}a",
        "List<AWS::EC2::Subnet::Id>": ",".join(facts["subnets"]),
        "List<AWS::EC2::SecurityGroup::Id>": facts["group"],
        "List<AWS::EC2::AvailabilityZone::Name>": f"{REGION}a,{REGION}b",
        "List<AWS::EC2::VPC::Id>": facts["vpc"],
    }
    found: str | None = names.get(kind)
    return found


def _named(name: str, kind: str, facts: dict[str, Any], many: bool) -> str:
    """For a string, by what its name speaks of."""
    plain = name.lower()
    if kind in ("Number", "List<Number>"):
        return "1"
    for words, value in (
        (("vpcid", "vpc"), facts["vpc"]),
        (("subnet",), ",".join(facts["subnets"]) if many else facts["subnets"][0]),
        (("securitygroup",), facts["group"]),
        (("keyname", "keypair"), "key"),
        (("bucket",), BUCKET),
        (("email",), "user@example.com"),
        (("image", "repository"), "app"),
        (("zone",), f"{REGION}a"),
        (("certificate", "certarn", "acm"), facts["certificate"] or "value1"),
        (("arn",), f"arn:aws:iam::{ACCOUNT}:role/app"),
    ):
        if any(word in plain for word in words):
            return str(value)
    return "value1"


async def one(shown: str, body: str, files: dict[str, bytes]) -> Outcome:
    clock = SystemClock()
    with tempfile.TemporaryDirectory() as directory:
        home = Home(Path(directory))
        home.state.mkdir(parents=True)
        os.chdir(home.state)
        settings = CloudSettings(port=0, address="127.0.0.89")
        async with Cloud(home, settings, FakeMachine(clock)) as cloud:
            account = Account(cloud, clock)
            await account.prepare(files, body)
            try:
                return await walk(account, shown, body)
            except AwsError as error:
                return Outcome(shown, "refused", f"{error.code}: {error.message}")


async def walk(account: Account, shown: str, body: str) -> Outcome:
    """Create, and delete again."""
    where = {"TemplateBody": body}
    if len(body.encode()) > 51200:
        await account.call("s3", "PutObject", Bucket=BUCKET, Key="whole", Body=body.encode())
        where = {"TemplateURL": f"https://{BUCKET}.s3.amazonaws.com/whole"}
    summary = await account.call("cloudformation", "GetTemplateSummary", **where)
    made = await account.call(
        "cloudformation",
        "CreateStack",
        StackName="corpus",
        Parameters=values(summary.get("Parameters") or [], account.facts),
        Capabilities=CAPABILITIES,
        **where,
    )
    stack = made["StackId"]
    status = await account.settle(stack)
    if status != "CREATE_COMPLETE":
        return Outcome(shown, status, await account.reason(stack))
    await account.call("cloudformation", "DeleteStack", StackName=stack)
    gone = await account.settle(stack)
    if gone == "DELETE_COMPLETE":
        return Outcome(shown, status)
    return Outcome(shown, f"{status}, then {gone}", await account.reason(stack))


def run(work: tuple[Path, Path]) -> Outcome:
    """In a process of its own: one cloud after the other, without their logs."""
    folder, file = work
    shown = file.as_posix().partition("corpus/")[2]
    files = {
        each.relative_to(folder).as_posix(): each.read_bytes()
        for each in sorted(folder.rglob("*"))
        if each.is_file() and each.suffix in SUFFIXES
    }
    with contextlib.redirect_stderr(io.StringIO()):
        try:
            return asyncio.run(asyncio.wait_for(one(shown, file.read_text(), files), 3 * LIMIT))
        except Exception as error:
            return Outcome(shown, "failed", repr(error))


def templates(corpus: Path) -> list[tuple[Path, Path]]:
    """Every template, with the folder of the set that it belongs to."""
    found = []
    for kind in ("cfn", "snapshot-template"):
        for folder in sorted((corpus / kind).iterdir()):
            files = sorted(each for each in folder.rglob("*") if each.is_file() and each.suffix in SUFFIXES)
            found += [(folder, each) for each in files]
    return found


def cell(text: str) -> str:
    """Ids made anew by each run would make the page another one each time."""
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", " ".join(text.split()))
    text = re.sub(r"\b(vpc|subnet|sg|i|ami|rtb|igw|eipalloc|nat|vpce|acl|eni|lt)-[0-9a-f]{8,17}\b", r"\1-ID", text)
    return text.replace("|", "\\|")[:300]


def page(outcomes: list[Outcome]) -> str:
    counts = Counter(each.status for each in outcomes)
    lines = [
        "<!-- Generated by `make corpus`; edit the code instead. -->",
        "",
        "# Other people's templates",
        "",
        f"What {len(outcomes)} templates that other people published come to in the local cloud, with invented parameters.",
        "",
        "| outcome | templates |",
        "|---|---|",
        *(f"| {status} | {number} |" for status, number in counts.most_common()),
        "",
        "| template | outcome | reason |",
        "|---|---|---|",
        *(f"| {each.file} | {each.status} | {cell(each.reason)} |" for each in outcomes),
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    corpus = Path(sys.argv[1]).resolve()
    if not corpus.is_dir():
        print("There is no corpus of templates here; nothing to do.")
        return 0
    wanted = [pair for pair in templates(corpus) if all(word in pair[1].as_posix() for word in sys.argv[2:])]
    with multiprocessing.Pool(WORKERS, maxtasksperchild=8) as pool:
        outcomes = []
        for each in pool.imap(run, wanted):
            print(f"{each.file}: {each.status} {cell(each.reason)}", flush=True)
            outcomes.append(each)
    if len(sys.argv) == 2:
        PAGE.write_text(page(outcomes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
