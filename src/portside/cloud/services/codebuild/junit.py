"""JUnit's XML to test cases, and what a report says of them.

Pure. Files of other test tools are refused by `buildspec.py`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from xml.etree import ElementTree

from portside.cloud.services.calls import Params

STATUSES = ("SUCCEEDED", "FAILED", "ERROR", "SKIPPED", "UNKNOWN")
MOST_CASES = 10_000
_LONGEST_MESSAGE = 4096
_ENTITY = re.compile(rb"<!(?:DOCTYPE|ENTITY)", re.IGNORECASE)


class ReportUnreadable(Exception):
    """The file is no JUnit report."""


def cases(content: bytes, path: str) -> list[Params]:
    """The test cases of one file, in the names of the API. Raises ReportUnreadable."""
    if _ENTITY.search(content[:4096]):
        raise ReportUnreadable(f"{path}: document types and entities are not read")
    try:
        root = ElementTree.fromstring(content)  # noqa: S314 - refused above what makes it dangerous
    except ElementTree.ParseError as error:
        raise ReportUnreadable(f"{path}: {error}") from None
    if root.tag not in ("testsuites", "testsuite"):
        raise ReportUnreadable(f"{path}: <{root.tag}> is not the root of a JUnit report")
    return [_case(case, suite, path) for suite in root.iter("testsuite") for case in suite.findall("testcase")]


def _case(case: ElementTree.Element, suite: ElementTree.Element, path: str) -> Params:
    status, message = "SUCCEEDED", ""
    for tag, meaning in (("failure", "FAILED"), ("error", "ERROR"), ("skipped", "SKIPPED")):
        found = case.find(tag)
        if found is not None:
            status = meaning
            message = (found.get("message") or (found.text or "").strip())[:_LONGEST_MESSAGE]
            break
    made: Params = {
        "testRawDataPath": path,
        "prefix": case.get("classname") or suite.get("name") or "",
        "name": case.get("name") or "",
        "status": status,
        "durationInNanoSeconds": _nanoseconds(case.get("time")),
        "testSuiteName": suite.get("name") or "",
    }
    return made | ({"message": message} if message else {})


def _nanoseconds(text: str | None) -> int:
    try:
        return int(float((text or "0").replace(",", "")) * 1_000_000_000)
    except ValueError:
        return 0


def summary(found: Iterable[Params]) -> Params:
    """The API's testSummary."""
    every = list(found)
    counts = Counter(case["status"] for case in every)
    return {
        "total": len(every),
        "statusCounts": {status: counts.get(status, 0) for status in STATUSES},
        "durationInNanoSeconds": sum(case["durationInNanoSeconds"] for case in every),
    }


def verdict(found: Iterable[Params]) -> str:
    """The status of a report."""
    return "FAILED" if any(case["status"] in ("FAILED", "ERROR") for case in found) else "SUCCEEDED"
