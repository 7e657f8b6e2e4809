"""Builds from start to end, with the driver run by a real shell."""

import gzip
import json

import pytest

from portside.cloud.machine.engine import Unavailable
from portside.cloud.services.calls import PIPELINE_KEY
from worlds.codebuild import ROLE, World, archive, contexts, phases, unpacked

GREETING = """
version: 0.2
phases:
  pre_build:
    commands:
      - GREETING=hello
      - mkdir -p sub && cd sub
  build:
    commands:
      - echo "$GREETING from $(basename "$PWD")"
"""


@pytest.fixture
async def world(tmp_path):
    async with World(tmp_path).running() as made:
        yield made


async def test_a_build_succeeds_and_its_shell_lasts_from_phase_to_phase(world):
    world.project(buildspec=GREETING)
    build = await world.build()
    assert build["buildStatus"] == "SUCCEEDED"
    assert list(phases(build)) == [
        "SUBMITTED", "QUEUED", "PROVISIONING", "DOWNLOAD_SOURCE", "INSTALL", "PRE_BUILD", "BUILD", "POST_BUILD",
        "UPLOAD_ARTIFACTS", "FINALIZING", "COMPLETED",
    ]  # fmt: skip
    assert set(phases(build).values()) == {"SUCCEEDED", ""}
    assert world.output(build) == ["hello from sub"]
    lines = [line.split(" ", 3)[-1] for line in world.lines(build) if line.startswith("[Container]")]
    assert "Entering phase BUILD" in lines
    assert "Running command GREETING=hello" in lines
    assert "Phase complete: BUILD State: SUCCEEDED" in lines
    assert world.engine.states == []
    assert list((world.path / "builds").iterdir()) == []
    assert world.services.callers == {ROLE}


async def test_a_cloud_that_dies_before_it_has_cleared_up_does_so_at_its_next_start(tmp_path, monkeypatch):
    made = World(tmp_path)
    remove = made.engine.remove

    async def until_complete(container):
        if started and made.find(started[0])["buildComplete"]:
            raise Unavailable("the cloud is killed now")
        await remove(container)

    started = []
    async with made.running() as world:
        world.project(buildspec=GREETING)
        monkeypatch.setattr(world.engine, "remove", until_complete)
        started.append(world.call("StartBuild", projectName="app")["build"]["id"])
        await world.reached(started[0], "COMPLETED")
        assert len(world.engine.states) == 1
    monkeypatch.undo()
    async with made.running() as world:
        build = await world.finished(started[0])
        assert build["buildStatus"] == "SUCCEEDED"
        assert world.engine.states == []


async def test_what_stayed_in_the_engine_for_a_project_goes_with_it(world):
    world.project(buildspec=GREETING)
    await world.build()
    assert world.guards.forgotten == []
    world.call("DeleteProject", name="app")
    await world.clock.idle()
    assert world.guards.forgotten == ["app"]


async def test_in_version_0_1_every_command_has_a_shell_of_its_own(world):
    spec = """
version: 0.1
environment_variables:
  plaintext:
    COLOUR: blue
phases:
  build:
    commands:
      - cd / && OTHER=1
      - echo "$COLOUR-$OTHER-$(basename "$PWD")"
"""
    world.project(buildspec=spec)
    assert world.output(await world.build()) == ["blue--src"]


async def test_a_failed_build_phase_still_has_its_post_build_and_says_which_command(world):
    spec = """
version: 0.2
phases:
  build:
    commands:
      - KEPT=yes
      - echo begun; exit 3
      - echo never
    finally:
      - echo "finally $KEPT"
  post_build:
    commands:
      - echo "post $KEPT $CODEBUILD_BUILD_SUCCEEDING"
"""
    world.project(buildspec=spec)
    build = await world.build()
    assert build["buildStatus"] == "FAILED"
    assert phases(build)["BUILD"] == "FAILED"
    assert phases(build)["POST_BUILD"] == "SUCCEEDED"
    reason = "Error while executing command: echo begun; exit 3. Reason: exit status 3"
    assert contexts(build, "BUILD") == [("COMMAND_EXECUTION_ERROR", reason)]
    assert world.output(build) == ["begun", "finally yes", "post yes 0"]


async def test_a_failed_pre_build_skips_what_comes_after_it(world):
    world.project(
        buildspec="version: 0.2\nphases:\n  pre_build: {commands: ['false']}\n  build: {commands: [echo no]}\n"
    )
    build = await world.build()
    assert build["buildStatus"] == "FAILED"
    assert list(phases(build))[-3:] == ["PRE_BUILD", "FINALIZING", "COMPLETED"]
    assert world.output(build) == []


@pytest.mark.parametrize(
    ("phase", "rule", "expected"),
    [("pre_build", "CONTINUE", ["build", "post"]), ("build", "ABORT", []), ("build", "CONTINUE", ["post"])],
)
async def test_on_failure_decides_what_follows(world, phase, rule, expected):
    def commands(name, text):
        return f"  {name}:\n    commands: [{'exit 1' if name == phase else text}]\n" + (
            f"    on-failure: {rule}\n" if name == phase else ""
        )

    spec = "version: 0.2\nphases:\n" + commands("pre_build", "'true'") + commands("build", "echo build")
    world.project(buildspec=spec + commands("post_build", "echo post"))
    build = await world.build()
    assert build["buildStatus"] == "FAILED"
    assert world.output(build) == expected


async def test_a_phase_is_tried_again_as_often_as_it_says(world):
    spec = """
version: 0.2
phases:
  build:
    on-failure: RETRY-2
    commands: ['N=$((N + 1)); echo try $N; test $N -eq 3']
"""
    world.project(buildspec=spec)
    build = await world.build()
    assert build["buildStatus"] == "SUCCEEDED"
    assert world.output(build) == ["try 1", "try 2", "try 3"]


async def test_secrets_are_values_in_the_build_and_stars_in_its_log(world):
    world.services.parameters["/db/password"] = "hunter2-hunter2"
    world.services.secrets["login"] = json.dumps({"user": "admin-of-all", "more": "x"})
    spec = """
version: 0.2
env:
  variables: {PLAIN: from-buildspec, OVER: buildspec}
  parameter-store: {PASSWORD: /db/password}
  secrets-manager: {LOGIN: "login:user"}
  exported-variables: [RESULT, MISSING]
phases:
  build:
    commands:
      - echo "$PASSWORD $LOGIN $PLAIN $OVER"
      - test "$PASSWORD" = hunter2-hunter2
      - RESULT=$(printf 'two\\nlines')
"""
    environment = {"environmentVariables": [{"name": "OVER", "value": "project"}]}
    world.project(buildspec=spec, environment=environment)
    build = await world.build(environmentVariablesOverride=[{"name": "OVER", "value": "start"}])
    assert build["buildStatus"] == "SUCCEEDED"
    assert world.output(build) == ["*** *** from-buildspec start"]
    assert build["exportedEnvironmentVariables"] == [{"name": "RESULT", "value": "two\nlines"}]


async def test_a_parameter_that_is_not_there_fails_the_download_phase(world):
    world.project(
        buildspec="version: 0.2\nenv: {parameter-store: {A: /none}}\nphases: {build: {commands: [echo no]}}\n"
    )
    build = await world.build()
    assert contexts(build, "DOWNLOAD_SOURCE") == [("Decrypted Variables Error", "parameter does not exist: /none")]


async def test_a_role_that_cannot_be_assumed_fails_the_build(world):
    world.project(buildspec=GREETING, serviceRole=ROLE + "-other")
    build = await world.build()
    assert build["buildStatus"] == "FAILED"
    ((code, message),) = contexts(build, "PROVISIONING")
    assert code == "ACCESS_DENIED"
    assert message.startswith(
        f"CodeBuild is not authorized to perform: sts:AssumeRole on service role {ROLE}-other"
    )


async def test_a_role_without_the_logs_permission_fails_the_build(world):
    world.services.denied.add(("logs", "CreateLogStream"))
    world.project(buildspec=GREETING)
    ((code, message),) = contexts(await world.build(), "PROVISIONING")
    assert code == "ACCESS_DENIED"
    assert "does not allow AWS CodeBuild to create Amazon CloudWatch Logs log streams" in message


async def test_an_image_that_is_not_there(world):
    world.images.missing.add("other:1")
    world.project(buildspec=GREETING, environment={"image": "other:1"})
    ((code, message),) = contexts(await world.build(), "PROVISIONING")
    assert code == "BUILD_CONTAINER_UNABLE_TO_PULL_IMAGE"
    assert "other:1" in message


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("version: 0.2\nphases: {buidl: {commands: [a]}}", "unknown phase buidl"),
        ("version: 0.3\nphases: {}", "invalid version 0.3"),
    ],
)
async def test_a_wrong_build_specification_tells_the_place(world, spec, message):
    world.project(buildspec=spec)
    build = await world.build()
    ((code, text),) = contexts(build, "DOWNLOAD_SOURCE")
    assert code == "YAML_FILE_ERROR"
    assert message in text


# Sources and artifacts


async def test_a_source_in_s3_and_a_report_of_it(world):
    junit = '<testsuite name="s"><testcase classname="c" name="good" time="1.5"/><testcase classname="c" name="bad"><failure message="no"/></testcase></testsuite>'
    spec = """
version: 0.2
phases: {build: {commands: ['cat data.txt; false']}}
reports: {unit: {files: ['*.xml'], base-directory: out}}
"""
    files = {"buildspec.yml": spec, "data.txt": "content\n", "out/a.xml": junit}
    world.services.objects["src", "app/code.zip"] = archive(files)
    world.project(source={"type": "S3", "location": "src/app/code.zip"})
    build = await world.build()
    assert build["buildStatus"] == "FAILED"
    assert world.output(build) == ["content"]
    (arn,) = build["reportArns"]
    (report,) = world.call("BatchGetReports", reportArns=[arn])["reports"]
    assert report["status"] == "FAILED"
    assert report["testSummary"]["statusCounts"]["SUCCEEDED"] == 1
    cases = world.call("DescribeTestCases", reportArn=arn)["testCases"]
    assert [(case["name"], case["status"]) for case in cases] == [("good", "SUCCEEDED"), ("bad", "FAILED")]
    assert cases[0]["durationInNanoSeconds"] == 1_500_000_000
    assert world.call("ListReportGroups")["reportGroups"] == [report["reportGroupArn"]]
    assert report["reportGroupArn"].endswith("report-group/app-unit")


async def test_a_source_without_a_build_specification(world):
    world.services.objects["src", "a.zip"] = archive({"x": ""})
    world.project(source={"type": "S3", "location": "src/a.zip"})
    build = await world.build()
    assert contexts(build, "DOWNLOAD_SOURCE") == [("YAML_FILE_ERROR", "YAML file does not exist")]


async def test_an_archive_cannot_leave_its_directory(world):
    world.services.objects["src", "a.zip"] = archive({"../../driver/worker": "echo owned"})
    world.project(source={"type": "S3", "location": "src/a.zip"}, buildspec=GREETING)
    ((code, message),) = contexts(await world.build(), "DOWNLOAD_SOURCE")
    assert code == "CLIENT_ERROR"
    assert "outside of its directory" in message


async def test_a_connected_repository_and_one_that_is_not(world):
    world.checkouts.paths["/code"] = {"buildspec.yml": "version: 0.2\nphases: {build: {commands: [pwd]}}"}
    source = {"type": "GITHUB", "location": "https://github.com/octo/app.git", "gitCloneDepth": 1}
    world.project(source=source)
    ((code, message),) = contexts(await world.build(), "DOWNLOAD_SOURCE")
    assert code == "CLIENT_ERROR"
    assert "portside connect octo/app PATH" in message
    world.bound["octo/app"] = "/code"
    build = await world.build()
    assert build["buildStatus"] == "SUCCEEDED"
    assert world.output(build)[0].endswith("/src/github.com/octo/app")
    assert build["resolvedSourceVersion"] == "c0ffee" * 6 + "1234"
    assert world.checkouts.cloned == [("/code", "c0ffee" * 6 + "1234", 1)]


async def test_br_62_only_secondary_artifacts(world):
    spec = """
version: 0.2
phases: {build: {commands: ['mkdir dir1 dir2; echo 1 > dir1/file1; echo 2 > dir2/file2']}}
artifacts:
  secondary-artifacts:
    a1: {base-directory: $CODEBUILD_SRC_DIR/dir1, files: [file1]}
    a2: {base-directory: $CODEBUILD_SRC_DIR/dir2, files: [file2]}
"""
    outputs = [
        {"type": "S3", "location": "out", "artifactIdentifier": name, "packaging": "ZIP", "name": name}
        for name in ("a1", "a2")
    ]
    world.project(buildspec=spec, secondaryArtifacts=outputs)
    build = await world.build()
    assert build["buildStatus"] == "SUCCEEDED"
    assert unpacked(world.services.objects["out", "a1"]) == {"file1": "1\n"}
    assert unpacked(world.services.objects["out", "a2"]) == {"file2": "2\n"}
    assert [each["artifactIdentifier"] for each in build["secondaryArtifacts"]] == ["a1", "a2"]
    assert world.services.metadata["out", "a1"] == {"codebuild-buildarn": build["arn"]}


async def test_br_63_artifacts_are_looked_up_from_the_source_root(world):
    spec = """
version: 0.2
phases:
  post_build: {commands: [cd .., 'printf x > imagedefinitions.json']}
artifacts: {files: [imagedefinitions.json]}
"""
    world.project(buildspec=spec, artifacts={"type": "S3", "location": "out", "packaging": "ZIP"})
    build = await world.build()
    assert build["buildStatus"] == "FAILED"
    assert phases(build)["POST_BUILD"] == "SUCCEEDED"
    assert contexts(build, "UPLOAD_ARTIFACTS") == [("CLIENT_ERROR", "no matching artifact paths found")]


async def test_br_66_a_push_that_fails_is_named_in_its_phase(world):
    spec = """
version: 0.2
phases:
  build: {commands: [echo built]}
  post_build: {commands: ['docker-that-is-not-there push 000000000000.dkr.ecr.us-east-1.amazonaws.com/none:1']}
artifacts: {files: [build.json]}
"""
    handed = {"pipeline": "p", "sources": [], "artifacts": [{"identifier": "Out", "bucket": "b", "key": "k"}]}
    world.project(source={"type": "CODEPIPELINE"}, artifacts={"type": "CODEPIPELINE"}, buildspec=spec)
    build = await world.build(**{PIPELINE_KEY: handed})
    assert build["buildStatus"] == "FAILED"
    assert phases(build)["POST_BUILD"] == "FAILED"
    ((code, message),) = contexts(build, "POST_BUILD")
    assert code == "COMMAND_EXECUTION_ERROR"
    assert message.endswith("/none:1. Reason: exit status 127")
    assert ("b", "k") not in world.services.objects


async def test_a_pipeline_hands_over_sources_and_gets_artifacts(world):
    spec = """
version: 0.2
phases:
  build:
    commands:
      - cat app.txt $CODEBUILD_SRC_DIR_Extra/extra.txt
      - echo "$CODEBUILD_INITIATOR $CODEBUILD_RESOLVED_SOURCE_VERSION $CODEBUILD_SOURCE_VERSION"
      - mkdir -p out/deep; printf '{"tag":"1"}' > out/deep/build.json
artifacts:
  files: [out/deep/build.json]
  discard-paths: yes
  secondary-artifacts:
    Second: {files: ['**/*.txt'], name: ignored}
"""
    world.services.objects["store", "in/app"] = archive({"buildspec.yml": spec, "app.txt": "app\n"})
    world.services.objects["store", "in/extra"] = archive({"extra.txt": "extra\n"})
    world.project(source={"type": "CODEPIPELINE"}, artifacts={"type": "CODEPIPELINE"})
    handed = {
        "pipeline": "line",
        "sources": [
            {"identifier": "App", "bucket": "store", "key": "in/app", "revision": "abc123"},
            {"identifier": "Extra", "bucket": "store", "key": "in/extra", "revision": ""},
        ],
        "artifacts": [
            {"identifier": "First", "bucket": "store", "key": "out/first"},
            {"identifier": "Second", "bucket": "store", "key": "out/second"},
        ],
    }
    build = await world.build(**{PIPELINE_KEY: handed})
    assert build["buildStatus"] == "SUCCEEDED", world.lines(build)
    assert build["initiator"] == "codepipeline/line"
    assert build["sourceVersion"] == "arn:aws:s3:::store/in/app"
    assert world.output(build) == ["app", "extra", "codepipeline/line abc123 arn:aws:s3:::store/in/app"]
    assert unpacked(world.services.objects["store", "out/first"]) == {"build.json": '{"tag":"1"}'}
    assert unpacked(world.services.objects["store", "out/second"]) == {"app.txt": "app\n"}


async def test_a_full_clone_for_a_pipeline(world):
    world.bound["octo/app"] = "/code"
    world.checkouts.paths["/code"] = {"buildspec.yml": "version: 0.2\nphases: {build: {commands: [ls]}}"}
    reference = {"repository": "octo/app", "commit": "abc", "branch": "main"}
    world.services.objects["store", "k"] = archive({"codebuild-clone-ref.json": json.dumps(reference)})
    world.project(source={"type": "CODEPIPELINE"}, artifacts={"type": "CODEPIPELINE"})
    sources = [{"identifier": "App", "bucket": "store", "key": "k", "revision": "abc"}]
    build = await world.build(**{PIPELINE_KEY: {"pipeline": "p", "sources": sources, "artifacts": []}})
    assert world.output(build) == ["buildspec.yml"]


async def test_artifacts_in_s3_go_where_the_project_says(world):
    spec = """
version: 0.2
phases: {build: {commands: ['mkdir -p dist/a; echo 1 > dist/a/x; echo 2 > dist/y; echo 3 > dist/skip']}}
artifacts: {files: ['**/*'], base-directory: 'di*', exclude-paths: [skip], name: 'n-$(echo evaluated)'}
"""
    artifacts = {
        "type": "S3",
        "location": "out",
        "path": "p",
        "namespaceType": "BUILD_ID",
        "overrideArtifactName": True,
    }
    world.project(buildspec=spec, artifacts=artifacts)
    build = await world.build()
    prefix = f"p/{build['id'].split(':')[1]}/n-evaluated"
    assert {key for _, key in world.services.objects} == {f"{prefix}/a/x", f"{prefix}/y"}
    assert build["artifacts"]["location"] == f"arn:aws:s3:::out/{prefix}"


async def test_a_cache_fills_the_next_build_until_it_is_invalidated(world):
    spec = """
version: 0.2
phases: {build: {commands: ['mkdir -p deps; cat deps/a || echo cold; echo warm > deps/a']}}
cache: {paths: ['deps/**/*']}
"""
    for name, cache in (
        ("s3", {"type": "S3", "location": "c/x"}),
        ("local", {"type": "LOCAL", "modes": ["LOCAL_CUSTOM_CACHE"]}),
    ):
        world.project(name, spec, cache=cache)
        assert world.output(await world.build(name))[-1] == "cold"
        assert world.output(await world.build(name)) == ["warm"]
        world.call("InvalidateProjectCache", projectName=name)
        assert world.output(await world.build(name))[-1] == "cold"
    assert ("c", "x/s3") in world.services.objects


async def test_the_log_goes_to_s3_and_nowhere_else_if_asked(world):
    config = {"cloudWatchLogs": {"status": "DISABLED"}, "s3Logs": {"status": "ENABLED", "location": "logs/builds"}}
    world.project(buildspec=GREETING, logsConfig=config)
    build = await world.build()
    text = gzip.decompress(world.services.objects["logs", f"builds/{build['id'].split(':')[1]}.gz"]).decode()
    assert "\nhello from sub\n" in text
    assert "groupName" not in build["logs"]


# Ends


async def test_a_stopped_build(world):
    world.engine.hangs = True
    world.project(buildspec=GREETING)
    started = world.call("StartBuild", projectName="app")["build"]
    await world.reached(started["id"], "DOWNLOAD_SOURCE")
    for _ in range(200):
        if world.engine.running:
            break
        await world._settle()
    (container,) = world.engine.running
    nonce = next(
        t
        for t in world.engine.files(container.id)["/codebuild/driver/worker"].decode().split("'")
        if t.startswith("portside-")
    )
    world.engine.print(container.id, f"{nonce} phase 0")
    await world.reached(started["id"], "INSTALL")
    world.call("StopBuild", id=started["id"])
    build = await world.finished(started["id"])
    assert build["buildStatus"] == "STOPPED"
    assert phases(build)["INSTALL"] == "STOPPED"
    assert list(phases(build))[-2:] == ["FINALIZING", "COMPLETED"]
    assert world.engine.states == []


def following(world, build):
    """The build that retries this one."""
    return world.finished(build["autoRetryConfig"]["nextAutoRetry"].partition(":build/")[2])


async def test_a_failed_build_is_retried_as_often_as_the_project_says(world):
    spec = """
version: 0.2
phases:
  build:
    commands:
      - test "$ANSWER" = 42
"""
    assert world.project(buildspec=spec, autoRetryLimit=2)["autoRetryLimit"] == 2
    wrong = {"name": "ANSWER", "value": "41"}
    first = await world.build(environmentVariablesOverride=[wrong])
    second = await following(world, first)
    third = await following(world, second)
    assert [each["buildStatus"] for each in (first, second, third)] == ["FAILED"] * 3
    assert [each["buildNumber"] for each in (first, second, third)] == [1, 2, 3]
    assert third["environment"]["environmentVariables"][0]["value"] == "41"
    assert first["autoRetryConfig"] == {
        "autoRetryLimit": 2,
        "autoRetryNumber": 0,
        "nextAutoRetry": second["arn"],
    }
    assert third["autoRetryConfig"] == {
        "autoRetryLimit": 2,
        "autoRetryNumber": 2,
        "previousAutoRetry": second["arn"],
    }
    assert len(world.call("ListBuilds")["ids"]) == 3
    # What succeeds is not retried, nor what was asked for without.
    right = await world.build(environmentVariablesOverride=[{"name": "ANSWER", "value": "42"}])
    assert "nextAutoRetry" not in right["autoRetryConfig"]
    once = await world.build(environmentVariablesOverride=[wrong], autoRetryLimitOverride=0)
    assert "autoRetryConfig" not in once
    once = await world.build(environmentVariablesOverride=[wrong], autoRetryLimitOverride=1)
    assert "nextAutoRetry" not in (await following(world, once))["autoRetryConfig"]


async def test_a_build_that_somebody_stops_is_not_retried(world):
    world.engine.hangs = True
    world.project(buildspec=GREETING, autoRetryLimit=1)
    started = world.call("StartBuild", projectName="app")["build"]
    await world.reached(started["id"], "DOWNLOAD_SOURCE")
    world.call("StopBuild", id=started["id"])
    build = await world.finished(started["id"])
    assert build["buildStatus"] == "STOPPED"
    assert world.call("ListBuilds")["ids"] == [started["id"]]


async def test_a_build_that_takes_too_long_is_timed_out(world):
    world.engine.hangs = True
    world.project(buildspec=GREETING, timeoutInMinutes=5)
    started = world.call("StartBuild", projectName="app")["build"]
    for _ in range(200):
        if world.engine.running:
            break
        await world._settle()
    await world.clock.advance(301)
    build = await world.finished(started["id"])
    assert build["buildStatus"] == "TIMED_OUT"
    assert world.engine.states == []


async def test_queued_builds_wait_for_their_turn_and_not_for_ever(world):
    world.engine.hangs = True
    world.project(buildspec=GREETING, concurrentBuildLimit=1, queuedTimeoutInMinutes=5, timeoutInMinutes=60)
    ids = [world.call("StartBuild", projectName="app")["build"]["id"] for _ in range(3)]
    await world.reached(ids[0], "DOWNLOAD_SOURCE")
    assert world.find(ids[1])["currentPhase"] == "QUEUED"
    world.call("StopBuild", id=ids[0])
    await world.finished(ids[0])
    await world.reached(ids[1], "PROVISIONING")
    assert world.find(ids[2])["currentPhase"] == "QUEUED"
    await world.clock.advance(301)
    late = await world.finished(ids[2])
    assert late["buildStatus"] == "TIMED_OUT"
    assert phases(late)["QUEUED"] == "TIMED_OUT"
    assert not world.find(ids[1])["buildComplete"]


async def test_a_killed_cloud_goes_on_with_a_running_build_and_doubles_no_line(tmp_path):
    world = World(tmp_path)
    world.engine.hangs = True
    async with world.running():
        world.project(buildspec=GREETING)
        identifier = world.call("StartBuild", projectName="app")["build"]["id"]
        for _ in range(200):
            if world.engine.running:
                break
            await world._settle()
        (container,) = world.engine.running
        nonce = next(
            t
            for t in world.engine.files(container.id)["/codebuild/driver/worker"].decode().split("'")
            if t.startswith("portside-")
        )
        world.engine.print(container.id, f"{nonce} phase 0", f"{nonce} done 0 -", f"{nonce} phase 1", "one")
        await world.reached(identifier, "PRE_BUILD")
    world.engine.print(container.id, "two", f"{nonce} done 1 -", f"{nonce} phase 2", f"{nonce} done 2 -")
    world.engine.print(container.id, f"{nonce} phase 3", f"{nonce} done 3 -", f"{nonce} end")
    world.engine.kill(container.id, 0)
    async with world.running():
        build = await world.finished(identifier)
        assert build["buildStatus"] == "SUCCEEDED"
        assert world.output(build) == ["one", "two"]
        assert len([line for line in world.lines(build) if "Entering phase PRE_BUILD" in line]) == 1
        assert list(phases(build))[4:8] == ["INSTALL", "PRE_BUILD", "BUILD", "POST_BUILD"]


async def test_a_container_that_somebody_removes_is_a_fault(world):
    world.engine.hangs = True
    world.project(buildspec=GREETING)
    identifier = world.call("StartBuild", projectName="app")["build"]["id"]
    for _ in range(200):
        if world.engine.running:
            break
        await world._settle()
    await world.engine.remove(world.engine.running[0].id)
    build = await world.finished(identifier)
    assert build["buildStatus"] == "FAULT"


async def test_only_privileged_builds_get_a_guarded_socket(world):
    world.project("plain", GREETING)
    world.project("docker", GREETING, environment={"privilegedMode": True})
    await world.build("plain")
    assert world.engine.created[-1].binds == ()
    build = await world.build("docker")
    uuid = build["id"].split(":")[1]
    assert world.engine.created[-1].binds == (f"/guards/{uuid}:/codebuild/engine",)
    assert uuid in world.guards.closed


async def test_the_first_images_for_docker_get_it_without_the_setting(world):
    world.project("oldest", GREETING, environment={"image": "aws/codebuild/docker:1.12.1"})
    build = await world.build("oldest")
    uuid = build["id"].split(":")[1]
    assert world.engine.created[-1].binds == (f"/guards/{uuid}:/codebuild/engine",)
    assert uuid in world.guards.closed
    assert build["environment"]["privilegedMode"] is False
