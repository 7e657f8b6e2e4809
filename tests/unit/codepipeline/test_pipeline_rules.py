"""Patterns of triggers, deployment windows, event patterns, variables and archives."""

from __future__ import annotations

import io
import zipfile
from datetime import UTC, datetime

import pytest

from portside.cloud.services.codepipeline import archives, events, patterns, rules, windows
from portside.cloud.services.codepipeline.variables import Unresolved, resolve


@pytest.mark.parametrize(
    ("pattern", "name", "met"),
    [
        ("main", "main", True),
        ("main", "maintenance", False),
        ("release/*", "release/1", True),
        ("release/*", "release/1/2", False),
        ("release/**", "release/1/2", True),
        ("**/*.md", "read.md", True),
        ("**/*.md", "docs/a/read.md", True),
        ("src/**", "src/a/b.py", True),
        ("src/**/b.py", "src/b.py", True),
        ("*.{js,ts}", "a.ts", True),
        ("*.{js,ts}", "a.py", False),
        ("v?.0", "v1.0", True),
        ("v?.0", "v10.0", False),
        ("a+b", "a+b", True),
    ],
)
def test_patterns(pattern, name, met):
    assert patterns.matches(pattern, name) is met


def test_excludes_win_and_what_cannot_be_told_counts_as_changed():
    criteria = {"includes": ["src/**"], "excludes": ["src/docs/**"]}
    assert patterns.touched(criteria, ["src/docs/a", "src/b"])
    assert not patterns.touched(criteria, ["src/docs/a", "other"])
    assert not patterns.touched(criteria, [])
    assert patterns.touched(criteria, None)
    assert patterns.picked({"excludes": ["main"]}, "side")
    assert not patterns.picked({"excludes": ["main"]}, "main")


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("cron", "zone", "when", "open_then"),
    [
        ("* 9-16 ? * MON-FRI *", "UTC", "2026-11-25T12:30:00", True),
        ("* 9-16 ? * MON-FRI *", "UTC", "2026-11-25T17:00:00", False),
        ("* 9-16 ? * MON-FRI *", "UTC", "2026-11-28T12:30:00", False),
        ("* 9-16 ? * MON-FRI *", "Asia/Tokyo", "2026-11-25T00:30:00", True),
        ("cron(0/15 * * * ? *)", "UTC", "2026-11-25T12:45:00", True),
        ("cron(0/15 * * * ? *)", "UTC", "2026-11-25T12:46:00", False),
        ("0 0 1 JAN,JUL ? 2026", "UTC", "2026-07-01T00:00:00", True),
        ("0 0 1 JAN,JUL ? 2026", "UTC", "2027-07-01T00:00:00", False),
    ],
)
def test_deployment_windows(cron, zone, when, open_then):
    assert windows.fault(cron, zone) == ""
    assert windows.contains(cron, zone, at(when)) is open_then


@pytest.mark.parametrize(
    ("cron", "zone"),
    [
        ("* *", "UTC"),
        ("60 * * * ? *", "UTC"),
        ("* * L * ? *", "UTC"),
        ("*/x * * * ? *", "UTC"),
        ("* * * * ? *", "Mars/X"),
    ],
)
def test_windows_that_make_no_sense_are_refused(cron, zone):
    assert windows.fault(cron, zone)


@pytest.mark.parametrize(
    ("pattern", "met"),
    [
        ({"source": ["aws.ecr"]}, True),
        ({"source": ["aws.s3"]}, False),
        ({"detail": {"tag": ["latest", "x"], "size": [7]}}, True),
        ({"detail": {"tag": [{"prefix": "lat"}]}}, True),
        ({"detail": {"tag": [{"suffix": "x"}]}}, False),
        ({"detail": {"tag": [{"anything-but": ["old"]}]}}, True),
        ({"detail": {"tag": [{"anything-but": {"prefix": "lat"}}]}}, False),
        ({"detail": {"none": [{"exists": False}]}}, True),
        ({"detail": {"tag": [{"exists": False}]}}, False),
        ({"resources": [{"wildcard": "arn:*:b"}]}, True),
        ({"detail": {"tag": [{"equals-ignore-case": "LATEST"}]}}, True),
        ({"detail": {"tag": [{"numeric": [">", 1]}]}}, False),
        ({"detail": {"none": {"deep": ["x"]}}}, False),
        (None, False),
    ],
)
def test_event_patterns(pattern, met):
    event = {"source": "aws.ecr", "resources": ["arn:a", "arn:x:b"], "detail": {"tag": "latest", "size": 7}}
    assert events.matches(pattern, event) is met


def test_variables_are_put_in_and_what_has_no_value_is_named():
    values = {"Source": {"CommitId": "abc"}, "variables": {"a-b": "1"}}
    assert resolve("x #{Source.CommitId} #{variables.a-b}", values) == "x abc 1"
    with pytest.raises(Unresolved) as error:
        resolve("#{Source.Nope}", values)
    assert error.value.reference == "#{Source.Nope}"


@pytest.mark.parametrize(
    ("operator", "value", "holds"),
    [
        ("EQ", "main", True),
        ("NE", "main", False),
        ("CONTAINS", "ai", True),
        ("MATCHES", "ma.*", True),
        ("MATCHES", "(", False),
    ],
)
def test_variable_checks(operator, value, holds):
    found = rules.variable({"Variable": "main", "Operator": operator, "Value": value})
    assert isinstance(found, rules.Holds) is holds


def test_archives_are_read_within_bounds():
    packed = archives.pack({"a.txt": b"1", "b/c.txt": b"22"})
    assert packed == archives.pack({"a.txt": b"1", "b/c.txt": b"22"})
    assert archives.read(packed, "b/c.txt") == b"22"
    assert dict(archives.files(packed)) == {"a.txt": b"1", "b/c.txt": b"22"}
    with pytest.raises(archives.NoSuchFile):
        archives.read(packed, "c.txt")
    with pytest.raises(archives.BadArchive, match="more than 1 bytes"):
        archives.read(packed, "b/c.txt", 1)
    with pytest.raises(archives.BadArchive, match="is not a zip archive"):
        archives.read(b"no", "a")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("../out", b"1")
        archive.writestr("/root", b"1")
        archive.writestr("in", b"1")
    assert dict(archives.files(out.getvalue())) == {"in": b"1"}
