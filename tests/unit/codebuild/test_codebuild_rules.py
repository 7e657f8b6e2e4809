"""Patterns, names and projects: values in, values out."""

import pytest

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.codebuild import junit
from portside.cloud.services.codebuild.selection import select
from portside.cloud.services.codebuild.sources import repository_name
from portside.cloud.services.codebuild.specs import drives_an_engine, project_spec
from portside.cloud.services.codebuild.stored_values import split

FILES = ["/s/a", "/s/b.txt", "/s/d/c.txt", "/s/d/e/f", "/s/.hidden", "/tmp/x", "/other/y"]


@pytest.mark.parametrize(
    ("base", "patterns", "exclude", "expected"),
    [
        ("", ["**/*"], [], {"a", "b.txt", "d/c.txt", "d/e/f", ".hidden"}),
        ("", ["*"], [], {"a", "b.txt", ".hidden"}),
        ("", ["d/*"], [], {"d/c.txt"}),
        ("", ["d/**/*"], ["d/e/*"], {"d/c.txt"}),
        ("d", ["**/*"], [], {"c.txt", "e/f"}),
        ("/s/d", ["c.txt"], [], {"c.txt"}),
        ("?", ["c.txt"], [], {"c.txt"}),
        ("", ["**/*.txt", "a"], [], {"a", "b.txt", "d/c.txt"}),
        ("", ["/tmp/x"], [], {"tmp/x"}),
        ("", ["[ab]*"], [], {"a", "b.txt"}),
        ("", ["../s/a"], [], {"a"}),
        ("", ["none"], [], set()),
    ],
)
def test_patterns_select_files(base, patterns, exclude, expected):
    found = select("/s", base, patterns, exclude)
    assert {name for path in FILES if (name := found.name(path))} == expected


def test_only_what_can_match_is_fetched():
    assert select("/s", "", ["build.json"]).roots == ("/s/build.json",)
    assert select("/s", "dist", ["**/*", "a/b"]).roots == ("/s/dist",)
    assert select("/s", "", ["x/*.js", "y/z"]).roots == ("/s/x", "/s/y/z")
    assert select("/s", "", ["~/.m2/**/*"]).roots == ("/root/.m2",)


@pytest.mark.parametrize(
    ("location", "name"),
    [
        ("https://github.com/octo/app.git", "octo/app"),
        ("https://github.com/octo/app", "octo/app"),
        ("https://token@github.com/octo/app", "octo/app"),
        ("git@github.com:octo/app.git", "octo/app"),
        ("https://git-codecommit.us-east-1.amazonaws.com/v1/repos/app", "app"),
    ],
)
def test_a_repository_is_known_by_its_owner_and_name(location, name):
    assert repository_name(location) == name


def test_a_secret_is_named_by_id_or_arn():
    assert split("id") == ("id", "", "", "")
    assert split("id:key:stage") == ("id", "key", "stage", "")
    arn = "arn:aws:secretsmanager:us-east-1:000000000000:secret:name-AbCdEf"
    assert split(f"{arn}:key::version") == (arn, "key", "", "version")


def test_junit_reports():
    text = b'<testsuites><testsuite name="s"><testcase name="a" time="0.5"/><testcase name="b"><error message="m"/></testcase></testsuite></testsuites>'
    cases = junit.cases(text, "/s/r.xml")
    assert [(c["name"], c["status"], c.get("message")) for c in cases] == [
        ("a", "SUCCEEDED", None),
        ("b", "ERROR", "m"),
    ]
    assert junit.summary(cases)["statusCounts"]["ERROR"] == 1
    assert junit.verdict(cases) == "FAILED"
    for bad in (b"<html/>", b"no", b'<!DOCTYPE x [<!ENTITY a "b">]><testsuite/>'):
        with pytest.raises(junit.ReportUnreadable):
            junit.cases(bad, "x")


GOOD = {
    "source": {"type": "NO_SOURCE", "buildspec": "version: 0.2\nphases: {}"},
    "artifacts": {"type": "NO_ARTIFACTS"},
    "environment": {"type": "LINUX_CONTAINER", "image": "i", "computeType": "BUILD_GENERAL1_SMALL"},
    "serviceRole": "arn:aws:iam::000000000000:role/r",
}


def test_a_project_gets_its_defaults():
    spec = project_spec("app", GOOD, {}, "key")
    assert (spec["timeoutInMinutes"], spec["queuedTimeoutInMinutes"], spec["encryptionKey"]) == (60, 480, "key")
    assert spec["environment"]["privilegedMode"] is False


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"image": "aws/codebuild/docker:1.12.1"}, True),
        ({"image": "aws/codebuild/docker:17.09.0", "privilegedMode": False}, True),
        ({"image": "aws/codebuild/standard:7.0", "privilegedMode": True}, True),
        ({"image": "aws/codebuild/standard:7.0", "privilegedMode": False}, False),
        ({"image": "docker:1.12.1"}, False),
    ],
)
def test_privileged_builds_and_the_first_images_for_docker_drive_an_engine(environment, expected):
    assert drives_an_engine(environment) is expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": {"type": "NO_SOURCE"}}, "needs a buildspec"),
        ({"source": {"type": "NO_SOURCE", "buildspec": "b.yml"}}, "needs a buildspec"),
        ({"source": {"type": "CODEPIPELINE"}}, "both be of type CODEPIPELINE"),
        ({"source": {"type": "S3", "location": "bucket"}}, "BUCKET/PATH"),
        ({"source": {"type": "GITHUB"}}, "location must be given"),
        ({"artifacts": {"type": "S3"}}, "name of a bucket"),
        ({"environment": GOOD["environment"] | {"type": "WINDOWS_CONTAINER"}}, "does not offer the environment type"),
        ({"environment": GOOD["environment"] | {"environmentVariables": [{"name": "CODEBUILD_A", "value": ""}]}}, "reserved"),
        ({"serviceRole": "r"}, "Invalid service role"),
        ({"timeoutInMinutes": 4}, "from 5 to 2160"),
        ({"environment": GOOD["environment"] | {"registryCredential": {"credential": "c"}}}, "registryCredential"),
        ({"badgeEnabled": True}, "does not offer build badges"),
        ({"buildBatchConfig": {"serviceRole": "x"}}, "does not offer batch builds"),
        ({"secondarySources": [{"type": "GITHUB", "location": "l"}]}, "sourceIdentifier must be given"),
        ({"cache": {"type": "S3"}}, "location must be given"),
    ],
)  # fmt: skip
def test_a_project_that_cannot_be(change, message):
    with pytest.raises(AwsError, match=message) as caught:
        project_spec("app", GOOD | change, {}, "key")
    assert caught.value.code == "InvalidInputException"
