"""The build and pipeline stacks: names that agree, rights that end, and a build that does what it says."""

import json
import stat
import subprocess

import pytest
import yaml

from portside.blueprint import pipeline
from portside.blueprint.app import App
from portside.blueprint.build import specification
from portside.blueprint.settings import Settings, SettingsError, parse
from portside.blueprint.synth import delivery

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def app(directory=".", **settings):
    given = {"name": "helloworld", "pipeline": {"repository": "ada/shop", "directory": directory}} | settings
    return App(Settings(**given))


def documents(made):
    return [json.loads(stack.template) for stack in delivery(made)]


def declared(made):
    return documents(made)[1]["Resources"]["Pipeline"]["Properties"]


def deployments(made):
    return [
        action["Configuration"]
        for stage in declared(made)["Stages"]
        for action in stage["Actions"]
        if action["ActionTypeId"]["Category"] == "Deploy"
    ]


def test_only_with_a_pipeline_in_the_settings():
    assert delivery(App(Settings(name="helloworld"))) == []
    assert [stack.stack for stack in delivery(app())] == ["helloworld-codebuild", "helloworld-codepipeline"]


def test_a_person_stands_before_every_environment_but_the_first():
    assert pipeline.stages(app()) == ["Source", "Build", "Staging", "Approval", "Production"]
    three = app(environments={"test": {}, "uat": {}, "live": {}})
    names = ["Source", "Build", "Test", "Approve-Uat", "Uat", "Approve-Live", "Live"]
    assert pipeline.stages(three) == names
    for made in (app(), three):
        assert [stage["Name"] for stage in declared(made)["Stages"]] == pipeline.stages(made)


def test_the_pipeline_deploys_the_stacks_that_up_deploys():
    made = app("web")
    found = deployments(made)
    assert [each["StackName"] for each in found] == [made.service_stack(e) for e in ("staging", "production")]
    assert [each["TemplatePath"] for each in found] == [
        "App::web/templates/staging-helloworld-service.template",
        "App::web/templates/production-helloworld-service.template",
    ]
    for each in found:
        assert json.loads(each["ParameterOverrides"]) == {
            "Tag": {"Fn::GetParam": ["BuildOutput", "build.json", "tag"]}
        }


def test_execution_mode_and_trigger_come_from_the_settings():
    properties = declared(app())
    assert (properties["PipelineType"], properties["ExecutionMode"]) == ("V2", "QUEUED")
    push = properties["Triggers"][0]["GitConfiguration"]["Push"]
    assert push == [{"Branches": {"Includes": ["main"]}}]
    properties = declared(
        app(
            build={"context": "../shop"},
            pipeline={
                "repository": "ada/shop",
                "directory": "web",
                "branch": "trunk",
                "execution_mode": "SUPERSEDED",
            },
        )
    )
    assert properties["ExecutionMode"] == "SUPERSEDED"
    push = properties["Triggers"][0]["GitConfiguration"]["Push"]
    assert push == [{"Branches": {"Includes": ["trunk"]}, "FilePaths": {"Includes": ["shop/**", "web/**"]}}]


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('execution_mode = "PARALLEL"', "pipeline.execution_mode"),
        ('directory = "/web"', "pipeline.directory"),
        ('directory = "../web"', "pipeline.directory"),
        ('directory = "web/../.."', "pipeline.directory"),
        ('templates = ""', "pipeline.templates"),
        ('bransh = "main"', "pipeline.bransh"),
    ],
)
def test_what_a_pipeline_cannot_be_is_refused_by_name(line, key, tmp_path):
    text = f'name = "shop"\n[pipeline]\nrepository = "ada/shop"\n{line}\n'
    with pytest.raises(SettingsError) as error:
        parse(text, tmp_path / "portside.toml")
    assert (error.value.key, error.value.line) == (key, 4)


def test_a_near_key_of_the_pipeline_is_named(tmp_path):
    with pytest.raises(SettingsError, match="unknown key") as error:
        parse('name = "shop"\n[pipeline]\nrepository = "a/b"\nbranches = "x"\n', tmp_path / "portside.toml")
    assert "`branch`" in error.value.remedy


def statements(document):
    for name, resource in document["Resources"].items():
        properties = resource["Properties"]
        found = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
        if resource["Type"] == "AWS::IAM::Policy":
            found.append(properties["PolicyDocument"])
        for document in found:
            assert document["Version"] == "2012-10-17"
            yield from ((name, statement) for statement in document["Statement"])


UNLIMITED = {
    "ecr:GetAuthorizationToken",
    "ecs:DeregisterTaskDefinition",
    "ecs:DescribeTaskDefinition",
    "logs:DescribeLogGroups",
}


def test_rights_name_actions_and_resources():
    seen = 0
    for document in documents(app()):
        for name, statement in statements(document):
            seen += 1
            assert not [action for action in statement["Action"] if "*" in action], name
            if statement["Resource"] == "*":
                assert set(statement["Action"]) <= UNLIMITED, name
            if "iam:PassRole" in statement["Action"]:
                assert statement["Condition"]["StringEquals"]["iam:PassedToService"], name
    assert seen > 15


def test_roles_trust_their_service_for_this_account_only():
    roles = [r for d in documents(app()) for r in d["Resources"].values() if r["Type"] == "AWS::IAM::Role"]
    assert len(roles) == 4
    for role in roles:
        (statement,) = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}


def test_an_environment_s_deploy_role_reaches_only_its_own_stack():
    found = documents(app())[1]["Resources"]["StagingDeployRole"]["Properties"]["Policies"]
    assert "production" not in json.dumps(found)


# What the specification does, run by a shell with an `aws` and a `docker` that write down what they were asked.

AWS = """#!/bin/sh
printf '%s\\n' "aws $*" >> "$SEEN"
case "$*" in
  *get-login-password*) echo secret ;;
  *batch-get-image*)
    printf 'application/vnd.oci.image.index.v1+json\\t{\\n  "manifests": "%s"\\n}\\n' "two  blanks" ;;
  *put-image*) if [ -n "$REFUSAL" ]; then echo "$REFUSAL" >&2; exit 254; fi; echo '{"image": {}}' ;;
esac
"""
DOCKER = """#!/bin/sh
printf '%s\\n' "docker $*" >> "$SEEN"
case "$1" in login) cat > /dev/null ;; pull) exit "$MISSING" ;; build) exit "$BUILD" ;; esac
"""


class Ran:
    def __init__(self, tmp_path, made, *, missing="1", refusal="", arguments="", build="0", commit=COMMIT):
        for name, text in (("aws", AWS), ("docker", DOCKER)):
            path = tmp_path / name
            path.write_text(text)
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        self.log = tmp_path / "seen"
        self.log.write_text("")
        source = tmp_path / "source"
        source.mkdir(exist_ok=True)
        document = yaml.safe_load(specification(made))
        script = []
        for phase in ("pre_build", "build", "post_build"):
            assert document["phases"][phase]["on-failure"] == "ABORT"
            script += [f"{{\n{command}\n}} || exit 1" for command in document["phases"][phase]["commands"]]
        self.done = subprocess.run(
            ["sh", "-c", "\n".join(script)],
            cwd=source,
            capture_output=True,
            text=True,
            timeout=30,
            env={
                "PATH": f"{tmp_path}:/usr/bin:/bin",
                "SEEN": str(self.log),
                "CODEBUILD_RESOLVED_SOURCE_VERSION": commit,
                "REPOSITORY_NAME": "helloworld",
                "REPOSITORY_URI": "1.dkr.ecr.x.amazonaws.com/helloworld",
                "BUILD_ARGUMENTS": arguments,
                "MISSING": missing,
                "REFUSAL": refusal,
                "BUILD": build,
            },
        )
        self.seen = self.log.read_text()
        self.output = source / "build.json"
        assert document["artifacts"]["files"] == ["build.json"]
        assert document["env"]["exported-variables"] == ["TAG"]

    def lines(self, start):
        return [line for line in self.seen.splitlines() if line.startswith(start)]


def test_a_build_makes_pushes_and_points_latest_at_the_same_manifest(tmp_path):
    made = app("web", build={"context": "src", "dockerfile": "Other", "args": {"MODE": "a b"}})
    ran = Ran(tmp_path, made, arguments="BASE=node:1 X=2")
    assert ran.done.returncode == 0, ran.done.stderr
    name = f"1.dkr.ecr.x.amazonaws.com/helloworld:{COMMIT}"
    assert ran.lines("docker") == [
        "docker login --username AWS --password-stdin 1.dkr.ecr.x.amazonaws.com",
        f"docker pull {name}",
        f"docker build --build-arg MODE=a b --build-arg BASE=node:1 --build-arg X=2 --file web/src/Other "
        f"--tag {name} web/src",
        f"docker push {name}",
    ]
    assert "--image-tag latest" in ran.seen
    assert (
        '{\n  "manifests": "two  blanks"\n}' in ran.seen
    )  # the manifest byte for byte, or it would be another one
    assert "--image-manifest-media-type application/vnd.oci.image.index.v1+json" in ran.seen
    assert json.loads(ran.output.read_text()) == {"tag": COMMIT}


def test_a_commit_that_was_built_is_not_built_again(tmp_path):
    ran = Ran(tmp_path, app(), missing="0")
    assert ran.done.returncode == 0
    assert [line.split()[1] for line in ran.lines("docker")] == ["login", "pull"]
    assert "not built again" in ran.done.stdout
    assert json.loads(ran.output.read_text()) == {"tag": COMMIT}


def test_latest_that_is_there_already_is_no_failure_and_any_other_refusal_is(tmp_path):
    there = "An error occurred (ImageAlreadyExistsException) when calling the PutImage operation"
    assert Ran(tmp_path, app(), refusal=there).done.returncode == 0
    refused = Ran(tmp_path, app(), refusal="AccessDeniedException")
    assert refused.done.returncode == 1
    assert "AccessDeniedException" in refused.done.stderr


def test_a_failed_build_pushes_nothing(tmp_path):
    ran = Ran(tmp_path, app(), build="1")
    assert ran.done.returncode == 1
    assert "docker push" not in ran.seen
    assert "put-image" not in ran.seen


def test_without_a_commit_nothing_is_built(tmp_path):
    assert Ran(tmp_path, app(), commit="").done.returncode == 1
