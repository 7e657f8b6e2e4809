"""Writes docs/reference/corpus.md: what templates that other people wrote come to in the local cloud.

`make corpus` calls it with the folder of the corpus, which is not part of this project; without one it says so and
writes nothing. Each template gets a cloud of its own, whose machine has every image and whose targets are all healthy,
and parameters by the rules of `invented.py`. What a template imports is made first, from a template of its set if there
is one; where it wants a name that the account has already, it is given other names; wait conditions get their signal.
A stack that is created is deleted again.
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

import aiohttp

from portside.cloud.app import Cloud
from portside.cloud.kernel.clock import SystemClock
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller
from portside.cloud.settings import CloudSettings, Home
from portside.testing.machine import FakeMachine

sys.path.insert(0, str(Path(__file__).parent))
from invented import BUCKET, Invented

PAGE = Path(__file__).parent / "reference" / "corpus.md"
ACCOUNT, REGION = "000000000000", "us-east-1"
CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]
SUFFIXES = (".yaml", ".yml", ".json", ".template")
# Refusals that AWS would not give name who gives them.
OURS = "portside's local cloud"
LIMIT = 120.0
_MISSING = re.compile(r"No export named (\S+) found")
WORKERS = 2
DEPTH = 3
ADDRESS = "127.0.0.89"


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
        self.files: dict[str, bytes] = {}
        self.invented: Invented
        self._stacks = 0
        endpoint = f"http://{ADDRESS}:{cloud.server.port}"
        self._caller = Caller.root(ACCOUNT, REGION, endpoint=endpoint)
        self._told: set[str] = set()

    async def call(self, service: str, operation: str, **params: Any) -> Any:
        return await self._cloud.dispatcher(service, operation, params, self._caller)

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
        self.files = files
        facts = {
            "vpc": vpc["VpcId"],
            "cidr": vpc["CidrBlock"],
            "subnets": [each["SubnetId"] for each in subnets],
            "group": groups[0]["GroupId"],
            "group_name": groups[0]["GroupName"],
            "image": images[0]["ImageId"],
            "certificate": await self._certificate() if "ertificate" in body else "",
        }
        self.invented = Invented(self.call, facts, ACCOUNT, REGION)

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
            if status == "CREATE_IN_PROGRESS":
                await self._signal(stack)
            await self._clock.sleep_until(self._clock.now() + 0.05)

    async def _signal(self, stack: str) -> None:
        """Say to each handle that a condition waits for that all is well, as a program on an instance would."""
        answer = await self.call("cloudformation", "DescribeStackResources", StackName=stack)
        kinds = {each["ResourceType"]: each["ResourceStatus"] for each in answer["StackResources"]}
        if kinds.get("AWS::CloudFormation::WaitCondition") != "CREATE_IN_PROGRESS":
            return
        for each in answer["StackResources"]:
            url = each.get("PhysicalResourceId") or ""
            if each["ResourceType"] != "AWS::CloudFormation::WaitConditionHandle" or url in self._told:
                continue
            self._told.add(url)
            word = {"Status": "SUCCESS", "UniqueId": "corpus", "Reason": "done", "Data": "done"}
            async with aiohttp.ClientSession() as session, session.put(url, json=word) as response:
                response.raise_for_status()

    async def create(self, body: str, place: str, *, name: str = "", fresh: bool = False) -> tuple[str, str]:
        """The id of a new stack and the status that it comes to."""
        where = {"TemplateBody": body}
        if len(body.encode()) > 51200:
            await self.call("s3", "PutObject", Bucket=BUCKET, Key="whole", Body=body.encode())
            where = {"TemplateURL": f"https://{BUCKET}.s3.amazonaws.com/whole"}
        summary = await self.call("cloudformation", "GetTemplateSummary", **where)
        declared = summary.get("Parameters") or []
        self._stacks += 1
        made = await self.call(
            "cloudformation",
            "CreateStack",
            StackName=name or f"corpus{self._stacks}",
            Parameters=await self.invented.values(declared, body, place, self.files, fresh=fresh),
            Capabilities=CAPABILITIES,
            **where,
        )
        return made["StackId"], await self.settle(made["StackId"])

    async def provide(self, export: str, place: str, depth: int = 0) -> bool:
        """Make a stack of another template of the set that exports a name."""
        for other, content in self.files.items():
            text = content.decode(errors="replace")
            if other == place or "Export" not in text:
                continue
            cut = max((at for at in range(len(export)) if export[at:] in text), key=lambda at: -at, default=None)
            if cut is None or len(export) - cut < 3:
                continue
            prefix = export[:cut].rstrip("-:")
            name = prefix if re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", prefix) else ""
            with contextlib.suppress(AwsError):
                stack, status = await self.create(text, other, name=name)
                if status != "CREATE_COMPLETE" and depth < DEPTH:
                    missing = _MISSING.search(await self.reason(stack))
                    await self.call("cloudformation", "DeleteStack", StackName=stack)
                    await self.settle(stack)
                    if missing and await self.provide(missing[1], other, depth + 1):
                        stack, status = await self.create(text, other, name=name)
                exports = (await self.call("cloudformation", "ListExports"))["Exports"]
                if export in {each["Name"] for each in exports}:
                    return True
                await self.call("cloudformation", "DeleteStack", StackName=stack)
                await self.settle(stack)
        return False

    async def reason(self, stack: str) -> str:
        """Of the oldest event that failed and was not merely cancelled; else why the stack turned back."""
        events: list[dict[str, Any]] = []
        more: dict[str, str] = {}
        while True:
            answer = await self.call("cloudformation", "DescribeStackEvents", StackName=stack, **more)
            events += answer["StackEvents"]
            if not answer.get("NextToken"):
                break
            more = {"NextToken": answer["NextToken"]}
        failed = [
            each
            for each in events
            if each["ResourceStatus"].endswith("_FAILED")
            and "cancelled" not in each.get("ResourceStatusReason", "")
        ]
        if not failed:
            turned = [
                each
                for each in events
                if each["ResourceStatus"] == "ROLLBACK_IN_PROGRESS" and each.get("ResourceStatusReason")
            ]
            return str(turned[-1]["ResourceStatusReason"]) if turned else ""
        first = failed[-1]
        return f"{first['LogicalResourceId']} ({first['ResourceType']}): {first.get('ResourceStatusReason', '')}"


async def one(shown: str, body: str, place: str, files: dict[str, bytes]) -> Outcome:
    clock = SystemClock()
    with tempfile.TemporaryDirectory() as directory:
        home = Home(Path(directory))
        home.state.mkdir(parents=True)
        os.chdir(home.state)
        settings = CloudSettings(port=0, address=ADDRESS)
        async with Cloud(home, settings, FakeMachine(clock)) as cloud:
            account = Account(cloud, clock)
            await account.prepare(files, body)
            try:
                return await walk(account, shown, body, place)
            except AwsError as error:
                return Outcome(shown, "refused", f"{error.code}: {error.message}")


async def walk(account: Account, shown: str, body: str, place: str) -> Outcome:
    """Create, and delete again."""
    stack, status = await account.create(body, place)
    tried: set[str] = set()
    fresh = False
    while status == "ROLLBACK_COMPLETE":
        reason = await account.reason(stack)
        missing = _MISSING.search(reason)
        if missing and missing[1] not in tried:
            tried.add(missing[1])
            if not await account.provide(missing[1], place):
                break
        elif ("already exists" in reason or "Embedded stack" in reason) and not fresh:
            fresh = True
        else:
            break
        stack, status = await account.create(body, place, fresh=fresh)
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
            return asyncio.run(
                asyncio.wait_for(
                    one(shown, file.read_text(), file.relative_to(folder).as_posix(), files), 3 * LIMIT
                )
            )
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
    ours = [each for each in outcomes if OURS in each.reason]
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
        f"{len(ours)} of them end as they do because the local cloud lacks something that AWS has, marked *own*; with all",
        "others the reason lies in the template or in its parameters.",
        "",
        "| template | outcome | reason |",
        "|---|---|---|",
        *(
            f"| {each.file} | {each.status}{' *own*' if each in ours else ''} | {cell(each.reason)} |"
            for each in outcomes
        ),
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
