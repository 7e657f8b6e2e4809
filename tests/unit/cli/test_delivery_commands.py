"""The commands of delivery as a person gives them, against scripted answers and a page that binds checkouts."""

from __future__ import annotations

import json
import subprocess
import tarfile
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import typer

from delivery_answers import (
    EXECUTIONS,
    NEW,
    NEWER,
    OLD,
    WAITING,
    Answers,
    codepipeline,
    execution,
    refused,
    stage,
    world,
)
from portside.blueprint.app import App
from portside.blueprint.settings import Settings
from portside.blueprint.synth import stacks
from portside.cli import delivery, down_delivery, repositories, up, up_delivery, worktree
from portside.cli.context import Work, open_delivery
from portside.cli.terminal import Terminal
from portside.deploy.errors import DeployError, NotAccepted, Unreachable
from portside.image.context import Context

SETTINGS = {"name": "helloworld", "pipeline": {"repository": "ada/shop"}}


def work(aws, directory=Path(), running=None, **settings):
    return Work(directory, App(Settings(**(SETTINGS | settings))), "staging", aws, running)


@pytest.fixture
def terminal():
    return Terminal(live=False)


def test_status_prints_the_picture_and_says_whether_it_failed(terminal, capsys):
    assert delivery.status(terminal, work(Answers(codepipeline=codepipeline(WAITING, EXECUTIONS))), False, False)
    assert "waits for you" in capsys.readouterr().out
    failed = codepipeline([stage(s["stageName"]) for s in WAITING], [execution("one", "Failed", OLD)])
    assert not delivery.status(terminal, work(Answers(codepipeline=failed)), False, False)


def test_status_as_json_gives_no_token_away(terminal, capsys):
    aws = Answers(codepipeline=codepipeline(WAITING, EXECUTIONS))
    delivery.status(terminal, work(aws), False, True)
    text = capsys.readouterr().out
    found = json.loads(text)
    assert "t-2" not in text
    assert found["waits_for_approval"] == "Approval"
    assert found["execution"]["commit"]["id"] == NEWER


def test_watching_without_a_terminal_prints_changes_and_ends_at_rest(terminal, capsys):
    moving = [stage("Source", "InProgress", "two"), *[stage(s["stageName"]) for s in WAITING[1:]]]
    looks = [moving, moving, moving, WAITING]
    answers = codepipeline(WAITING, EXECUTIONS)
    answers["get_pipeline_state"] = lambda name: {"stageStates": looks.pop(0) if len(looks) > 1 else looks[0]}
    assert delivery.status(terminal, work(Answers(codepipeline=answers)), True, False)
    found = capsys.readouterr().out.splitlines()
    assert found.count("Source Source bbbbbbbb: in progress") == 1
    assert found.count("Source Source bbbbbbbb: succeeded") == 1
    assert found[-1].startswith("Next: `portside pipeline approve`")


def test_approving_shows_first_and_asks(terminal, capsys, monkeypatch, tmp_path):
    aws = world()
    sent = []
    aws.clients["codepipeline"].put_approval_result = lambda **given: sent.append(given)
    monkeypatch.setattr(typer, "confirm", lambda text, err: False)
    with pytest.raises(typer.Exit):
        delivery.approve(terminal, work(aws, tmp_path), False, "", False)
    assert sent == []
    shown = capsys.readouterr().err
    for part in ("sha256:old", "sha256:new", "second", '+      "Memory": 256', "Nothing was answered"):
        assert part in shown
    aws = world()
    aws.clients["codepipeline"].put_approval_result = lambda **given: sent.append(given)
    delivery.approve(terminal, work(aws, tmp_path), True, "looked at it", False)
    assert sent[0]["result"] == {"status": "Approved", "summary": "looked at it"}


def test_what_would_change_as_json_answers_nothing(terminal, capsys, tmp_path):
    delivery.approve(terminal, work(world(), tmp_path), False, "", True)
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["now"]["tag"], found["then"]["tag"], found["same_image"]) == (OLD, NEW, False)


def test_history_has_a_line_for_each_execution(terminal, capsys):
    delivery.history(terminal, work(Answers(codepipeline=codepipeline(WAITING, EXECUTIONS))), 20, False)
    found = capsys.readouterr().out.splitlines()
    assert len(found) == 3
    assert found[2].split()[:5] == ["one", "2026-03-01", "12:00:00Z", "succeeded", "30"]
    delivery.history(terminal, work(Answers(codepipeline=codepipeline(WAITING, EXECUTIONS))), 20, True)
    assert len(json.loads(capsys.readouterr().out)) == 3


def test_a_build_is_found_by_number_commit_or_id(terminal, capsys):
    rows = {f"p:{n}": {"id": f"p:{n}", "buildNumber": n, "buildStatus": "SUCCEEDED"} for n in (2, 1)}
    rows["p:1"]["resolvedSourceVersion"] = OLD
    aws = Answers(
        codebuild={
            "list_builds_for_project": lambda **given: {"ids": list(rows)},
            "batch_get_builds": lambda ids: {"builds": [rows[each] for each in ids]},
        }
    )
    for wanted, expected in (("", "p:2"), ("1", "p:1"), ("aaaa", "p:1"), ("p:1", "p:1")):
        assert delivery._chosen(work(aws), wanted).id == expected
    with pytest.raises(DeployError, match="there is no build 9"):
        delivery._chosen(work(aws), "9")
    delivery.build_list(terminal, work(aws), 20, False)
    assert capsys.readouterr().out.splitlines()[0].split() == ["2", "succeeded", "p:2"]


def test_an_app_without_a_pipeline_is_told_how_to_get_one(terminal, tmp_path):
    (tmp_path / "portside.toml").write_text('name = "shop"\n')
    with pytest.raises(DeployError, match=r"has no table \[pipeline\]"):
        open_delivery(terminal, tmp_path, "aws")


# portside connect


@dataclass
class Cloud:
    address: str
    port: int


class Page(BaseHTTPRequestHandler):
    bound: dict[str, str]

    def do(self):
        name = self.path.removeprefix("/_portside/repositories").strip("/").replace("%2F", "/")
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        status, answer = 200, {}
        if self.command == "GET":
            answer = {"repositories": [{"name": n, "path": p} for n, p in self.bound.items()]}
        elif self.command == "PUT":
            path = json.loads(body)["path"]
            if Path(path, ".git").exists():
                self.bound[name] = path
                answer = {"name": name, "path": path, "branches": {}}
            else:
                status, answer = 400, {"message": f"{path} cannot stand for {name}: it is no git checkout."}
        elif self.bound.pop(name, None) is None:
            status, answer = 404, {"message": f"No checkout is bound to {name}."}
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_PUT = do_DELETE = do  # noqa: N815

    def log_message(self, *words):
        pass


@pytest.fixture
def page():
    kind = type("Bound", (Page,), {"bound": {}})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        cloud = Cloud("127.0.0.1", server.server_address[1])
        yield cloud, kind.bound
        server.shutdown()
        thread.join()


def git(directory, *words):
    who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *who, *words], cwd=directory, check=True, capture_output=True, text=True, timeout=30
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    made = tmp_path / "shop"
    made.mkdir()
    git(made, "init", "-q", "-b", "main")
    (made / "Dockerfile").write_text("FROM scratch\n")
    (made / "app.js").write_text("one\n")
    git(made, "add", "-A")
    git(made, "commit", "-q", "-m", "first")
    return made


def test_connect_binds_lists_and_forgets(terminal, capsys, page, checkout):
    cloud, bound = page
    repositories.connect(terminal, cloud, "ada/shop", checkout, False, False)
    assert bound == {"ada/shop": str(checkout)}
    repositories.connect(terminal, cloud, None, None, False, False)
    assert capsys.readouterr().out == f"ada/shop  {checkout}\n"
    repositories.connect(terminal, cloud, "ada/shop", None, False, False)
    assert capsys.readouterr().out == f"{checkout}\n"
    repositories.connect(terminal, cloud, "ada/shop", None, True, False)
    assert bound == {}
    repositories.connect(terminal, cloud, None, None, False, True)
    assert json.loads(capsys.readouterr().out) == []


def test_what_cannot_be_bound_is_said_in_the_cloud_s_words(terminal, page, tmp_path):
    cloud, _ = page
    with pytest.raises(NotAccepted, match="it is no git checkout"):
        repositories.connect(terminal, cloud, "ada/shop", tmp_path, False, False)
    with pytest.raises(NotAccepted, match="No checkout is bound to ada/shop"):
        repositories.connect(terminal, cloud, "ada/shop", None, True, False)
    with pytest.raises(DeployError, match="is bound to no checkout"):
        repositories.connect(terminal, cloud, "ada/shop", None, False, False)
    with pytest.raises(DeployError, match="nothing to remove"):
        repositories.connect(terminal, cloud, None, None, True, False)


def test_a_cloud_that_does_not_answer(terminal):
    with pytest.raises(Unreachable):
        repositories.connect(terminal, Cloud("127.0.0.1", 9), None, None, False, False)


# The checkout


def test_the_log_between_two_commits(checkout):
    tree = worktree.find(checkout)
    first = git(checkout, "rev-parse", "HEAD")
    (checkout / "app.js").write_text("two\n")
    git(checkout, "commit", "-q", "-am", "second: ein Gruß")
    second = git(checkout, "rev-parse", "HEAD")
    assert [(c.id, c.subject) for c in tree.log(first, second)] == [(second, "second: ein Gruß")]
    assert tree.log("f" * 40, second) is None
    assert tree.log(first, "") is None
    assert tree.committed("main", "app.js") == b"two\n"
    assert tree.committed("main", "none") is None


def test_outside_of_any_work_tree(tmp_path):
    assert worktree.find(tmp_path) is None


# up


class Board:
    def __init__(self):
        self.lines = []

    def put(self, key, title, detail, state, **more):
        self.lines.append((title, state))

    def print(self, text):
        self.lines.append((text, ""))


def serving(tag):
    def describe_stacks(StackName):  # noqa: N803
        if tag is None:
            raise refused("ValidationError", f"Stack with id {StackName} does not exist")
        row = {"StackName": StackName, "StackId": "id", "StackStatus": "UPDATE_COMPLETE"}
        return {"Stacks": [row | {"Parameters": [{"ParameterKey": "Tag", "ParameterValue": tag}]}]}

    return Answers(cloudformation={"describe_stacks": describe_stacks})


def tag_for(aws, directory):
    return up._tag(Board(), work(aws, directory), Context(directory, "Dockerfile"))


def test_up_keeps_the_commit_that_runs_while_the_sources_are_the_same(checkout):
    commit = git(checkout, "rev-parse", "HEAD")
    content = tag_for(serving(None), checkout)
    assert len(content) == 16
    assert tag_for(serving(commit), checkout) == commit
    # A later commit that changes nothing of the context is the same, an edit is not.
    git(checkout, "commit", "-q", "--allow-empty", "-m", "nothing")
    assert tag_for(serving(commit), checkout) == commit
    (checkout / "app.js").write_text("edited\n")
    edited = tag_for(serving(commit), checkout)
    assert len(edited) == 16
    assert edited != content
    (checkout / "app.js").write_text("one\n")
    (checkout / "new.js").write_text("not committed\n")
    assert tag_for(serving(commit), checkout) != commit


# From Python 3.12 to 3.13 the way of older ones is warned of.
@pytest.mark.filterwarnings("ignore:Python 3.14 will:DeprecationWarning")
def test_up_keeps_the_commit_that_runs_under_a_python_without_filters_of_archives(checkout, monkeypatch):
    """Debian 12 has Python 3.11.2, and filters came with 3.11.4."""
    monkeypatch.delattr(tarfile, "tar_filter", raising=False)
    (checkout / "run.sh").write_text("#!/bin/sh\n")
    (checkout / "run.sh").chmod(0o755)
    git(checkout, "add", "run.sh")
    git(checkout, "commit", "-q", "-m", "a program")
    commit = git(checkout, "rev-parse", "HEAD")
    assert tag_for(serving(commit), checkout) == commit


def test_a_commit_that_the_checkout_does_not_have_is_not_kept(checkout):
    assert len(tag_for(serving("f" * 40), checkout)) == 16
    assert tag_for(serving("1234567890abcdef"), checkout) == tag_for(serving(None), checkout)


def test_an_app_in_a_sub_directory_is_compared_there(checkout):
    inner = checkout / "web"
    inner.mkdir()
    (inner / "Dockerfile").write_text("FROM scratch\n")
    git(checkout, "add", "-A")
    git(checkout, "commit", "-q", "-m", "web")
    commit = git(checkout, "rev-parse", "HEAD")
    (checkout / "app.js").write_text("another app's edit\n")
    assert tag_for(serving(commit), inner) == commit


def notes(directory, **settings):
    aws = Answers()
    changed, found = up_delivery.up(Board(), work(aws, directory, **settings), Context(directory, "Dockerfile"))
    assert not changed
    return " ".join(found)


def commit_templates(checkout, **settings):
    app = App(Settings(**(SETTINGS | settings)))
    (checkout / "templates").mkdir(exist_ok=True)
    for environment in app.settings.environments:
        for made in stacks(app, environment):
            (checkout / "templates" / f"{made.stack}.template").write_text(made.template)
    git(checkout, "add", "-A")
    git(checkout, "commit", "-q", "-m", "templates")


def test_without_a_work_tree_the_pipeline_is_left_out_and_why_is_said(tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    assert "lies in no git work tree" in notes(tmp_path)
    assert notes(tmp_path, pipeline=None) == ""


def test_missing_and_stale_templates_are_named_and_not_written(checkout):
    said = notes(checkout)
    assert "templates/staging-helloworld-service.template is not on main" in said
    assert "portside synth" in said
    assert not (checkout / "templates").exists()
    commit_templates(checkout)
    said = notes(checkout, service={"memory": 512})
    assert "templates/staging-helloworld-service.template on main is not what portside.toml gives" in said
    # What is written but not committed does not count.
    path = checkout / "templates" / "production-helloworld-service.template"
    git(checkout, "rm", "-q", "--cached", str(path))
    git(checkout, "commit", "-q", "-m", "forgotten")
    assert "production-helloworld-service.template is not on main" in notes(checkout)


def test_a_branch_that_is_not_there_is_named(checkout):
    assert "has no branch trunk" in notes(checkout, pipeline={"repository": "a/b", "branch": "trunk"})


def test_a_wrong_directory_is_an_error_with_the_right_one(checkout):
    inner = checkout / "web"
    inner.mkdir()
    (inner / "Dockerfile").write_text("FROM scratch\n")
    with pytest.raises(DeployError, match=r"pipeline\.directory is wrong") as error:
        notes(inner)
    assert 'directory = "web"' in error.value.next


def test_on_aws_a_person_authorises_the_connection_first(checkout):
    commit_templates(checkout)
    made = []

    def create_connection(**given):
        made.append(given)
        return {"ConnectionArn": "arn:aws:codeconnections:eu-west-1:1:connection/c"}

    aws = Answers(
        codeconnections={
            "list_connections": lambda **given: {"Connections": []},
            "create_connection": create_connection,
            "get_connection": lambda **given: {"Connection": {"ConnectionStatus": "PENDING"}},
        }
    )
    _, found = up_delivery.up(Board(), work(aws, checkout), Context(checkout, "Dockerfile"))
    assert made == [{"ProviderType": "GitHub", "ConnectionName": "helloworld"}]
    assert "PENDING" in found[0]
    assert "console.aws.amazon.com/codesuite/settings/connections?region=eu-west-1" in found[1]


def test_up_binds_the_checkout_unless_another_one_is_bound(page, checkout):
    cloud, bound = page
    it = work(Answers(), checkout, cloud)
    tree = worktree.find(checkout)
    assert up_delivery._bind(Board(), it, it.app.settings.pipeline, tree) == []
    assert bound == {"ada/shop": str(checkout)}
    bound["ada/shop"] = "/elsewhere"
    assert "bound to /elsewhere" in up_delivery._bind(Board(), it, it.app.settings.pipeline, tree)[0]
    assert bound == {"ada/shop": "/elsewhere"}


# down


def planned(stacks_with_tags, environment="staging"):
    def describe_stacks(StackName):  # noqa: N803
        if StackName not in stacks_with_tags:
            raise refused("ValidationError", f"Stack with id {StackName} does not exist")
        tags = [{"Key": k, "Value": v} for k, v in stacks_with_tags[StackName].items()]
        return {"Stacks": [{"StackName": StackName, "StackStatus": "CREATE_COMPLETE", "Tags": tags}]}

    it = work(Answers(cloudformation={"describe_stacks": describe_stacks}))
    return down_delivery.plan(Work(it.directory, it.app, environment, it.aws, None))


BOTH = {"helloworld-codepipeline": {}, "helloworld-codebuild": {}}


def test_what_the_pipeline_made_goes_with_it():
    found = planned(BOTH | {"staging-cluster": {}, "production-cluster": up_delivery.MADE_FOR})
    assert (found.environments, found.pipeline) == (("staging", "production"), True)


def test_what_somebody_asked_for_stays_and_so_does_the_pipeline():
    found = planned(BOTH | {"staging-cluster": {}, "production-cluster": {}})
    assert (found.environments, found.pipeline) == (("staging",), False)
    assert "production is still there" in found.notes[0]
    assert planned(BOTH | {"production-cluster": {}}, "production").pipeline


def test_without_a_pipeline_an_environment_goes_alone():
    found = planned({"staging-cluster": {}, "production-cluster": up_delivery.MADE_FOR})
    assert (found.environments, found.pipeline) == (("staging",), False)
