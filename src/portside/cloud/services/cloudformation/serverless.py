"""AWS::Serverless-2016-10-31: functions, APIs and tables in a few words, made into what they stand for.

Owns what the transform is told of the account, and how its process is run; the rules are AWS's own, in
`serverless_process.py`. What comes out goes the way of every template: types that this cloud cannot make are
refused by name.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from portside.cloud.services.calls import Caller, Calls

NAME = "AWS::Serverless-2016-10-31"
LIMIT = 60.0
# Each process takes some 55 MB.
_AT_ONCE = ThreadPoolExecutor(max_workers=2, thread_name_prefix="serverless")


class ServerlessError(Exception):
    """The transform fails; the text is what follows `Transform AWS::Serverless-2016-10-31 failed with: `."""


async def apply(
    document: dict[str, Any], values: Mapping[str, Any], calls: Calls, caller: Caller
) -> dict[str, Any]:
    """The template with its serverless resources replaced."""
    _refuse_published(document)
    given = {
        "document": document,
        "values": dict(values),
        "policies": await _policies(calls, caller) if _names_policies(document) else {},
    }
    loop = asyncio.get_running_loop()
    answer = await loop.run_in_executor(_AT_ONCE, _run, json.dumps(given), caller.region)
    if "error" in answer:
        raise ServerlessError(answer["error"])
    found: dict[str, Any] = answer["document"]
    # The section says how it was written, not what it makes.
    found.pop("Globals", None)
    return found


def _refuse_published(document: dict[str, Any]) -> None:
    for name, each in (document.get("Resources") or {}).items():
        if not isinstance(each, dict) or each.get("Type") != "AWS::Serverless::Application":
            continue
        location = (each.get("Properties") or {}).get("Location")
        if isinstance(location, dict) and "ApplicationId" in location:
            raise ServerlessError(
                f"Resource with id [{name}] is an application of the AWS Serverless Application Repository, which "
                "portside's local cloud does not offer; give the address of a template."
            )


def _names_policies(document: dict[str, Any]) -> bool:
    parts = [document.get("Globals"), *(document.get("Resources") or {}).values()]
    return any('"Policies"' in json.dumps(each, default=str) for each in parts if each)


async def _policies(calls: Calls, caller: Caller) -> dict[str, str]:
    """The managed policies of AWS by name. The transform looks at them in nobody's name."""
    account = Caller.root(caller.account, caller.region)
    found: dict[str, str] = {}
    params: dict[str, Any] = {"Scope": "AWS", "MaxItems": 1000}
    while True:
        answer = await calls("iam", "ListPolicies", params, account)
        found |= {each["PolicyName"]: each["Arn"] for each in answer.get("Policies") or []}
        if not answer.get("IsTruncated"):
            return found
        params = params | {"Marker": answer["Marker"]}


def _run(given: str, region: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "portside.cloud.services.cloudformation.serverless_process"]
    # Nothing in it may reach for somebody's account.
    kept = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    surroundings = kept | {"AWS_DEFAULT_REGION": region, "AWS_EC2_METADATA_DISABLED": "true"}
    try:
        done = subprocess.run(
            command, input=given, capture_output=True, text=True, timeout=LIMIT, env=surroundings, check=True
        )
        answer: dict[str, Any] = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise ServerlessError(f"Internal transform failure: it was not done after {LIMIT:.0f} seconds.") from None
    except (subprocess.CalledProcessError, ValueError) as error:
        said = str(getattr(error, "stderr", "") or error).strip().splitlines()[-1:]
        raise ServerlessError(f"Internal transform failure: {''.join(said)}") from None
    return answer
