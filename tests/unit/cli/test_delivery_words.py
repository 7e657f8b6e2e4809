"""What is said about a pipeline: the picture, the preview, spans of time."""

from __future__ import annotations

import pytest

from delivery_answers import (
    DECLARED,
    EXECUTIONS,
    OLD,
    WAITING,
    Answers,
    at,
    codepipeline,
    execution,
    stage,
)
from portside.cli import picture
from portside.deploy import pipeline
from portside.deploy.explain import Why
from portside.deploy.pipeline import Commit
from portside.deploy.preview import Image, Preview


def read(states, executions):
    return pipeline.read(Answers(codepipeline=codepipeline(states, executions)), DECLARED)


def lines(states, executions, why=(), width=80):
    return picture.text(read(states, executions), why, at(75), width)


def test_the_picture_says_who_waits_for_what():
    found = lines(WAITING, EXECUTIONS)
    assert found == [
        "helloworld-codepipeline  waits before Approval  1 min",
        "commit     cccccccc  third",
        "execution  three  by WebhookV2  queued",
        "",
        "Source      Source   succeeded        1 min  bbbbbbbb",
        "Build       Build    succeeded        1 min  bbbbbbbb",
        "Staging     Deploy   succeeded        1 min  bbbbbbbb",
        "Approval    Approve  waits for you    1 min  bbbbbbbb",
        "            approve or reject; cccccccc waits for bbbbbbbb to leave",
        "Production  Deploy   succeeded        1 min  aaaaaaaa",
        "",
        "Next: `portside pipeline approve` shows what would change, and asks; `reject`",
        "      refuses.",
    ]


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_of_an_action_is_wider_than_the_terminal(width):
    found = lines(WAITING, EXECUTIONS, width=width)
    assert max(len(line) for line in found) <= width
    assert ("approve or reject" in found[7]) is (width == 120)
    assert "cccccccc waits for bbbbbbbb to leave" in " ".join(found)


def test_a_failure_is_told_with_the_last_lines_of_its_log():
    states = [stage("Source", "Succeeded", "one"), stage("Build", "Failed", "one")]
    states += [stage(s["name"]) for s in DECLARED["stages"][2:]]
    why = (Why("Build", "Build", "phase BUILD FAILED", "build b:1", ("npm error", "code E404")),)
    found = lines(states, [execution("one", "Failed", OLD)], why)
    assert found[0] == "helloworld-codepipeline  failed  30 s"
    assert found[-6:] == [
        "Build failed: phase BUILD FAILED",
        "The last lines of build b:1:",
        "  | npm error",
        "  | code E404",
        "",
        "Next: commit a correction, or `portside pipeline retry`.",
    ]


def test_a_closed_stage_says_why_and_who_stands_before_it():
    closed = {"enabled": False, "disabledReason": "the week is over"}
    states = [stage("Source", "Succeeded", "one")]
    waiting = [{"pipelineExecutionId": "one"}]
    states.append(stage("Build", inboundTransitionState=closed, inboundExecutions=waiting))
    states += [stage(s["name"]) for s in DECLARED["stages"][2:]]
    found = lines(states, [execution("one", "InProgress", OLD)])
    assert found[0].startswith("helloworld-codepipeline  waits before Build")
    assert "closed: the week is over; aaaaaaaa waits to get in" in found[5]


def test_before_the_first_execution():
    assert lines([stage(s["name"]) for s in DECLARED["stages"]], [])[0].endswith("no execution yet")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (0.9, "0 s"), (59, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h"), (200000, "2 d")],
)
def test_spans(seconds, text):
    assert picture.span(seconds) == text


def test_a_preview_in_words():
    found = Preview(
        "production-web-service",
        Image("old", "sha256:1111111111111111"),
        Image("new", "sha256:2222222222222222"),
        (Commit("b" * 40, "second\n\nat length"),),
        complete=True,
        template='--- now\n+++ then\n-  "Memory": 1\n+  "Memory": 2',
    )
    assert picture.preview(found) == [
        "production-web-service:",
        "  image     now   old  sha256:111111111111",
        "            then  new  sha256:222222222222",
        "  commits   1 since the one that runs there",
        "    bbbbbbbb  second",
        "  template",
        "    --- now",
        "    +++ then",
        '    -  "Memory": 1',
        '    +  "Memory": 2',
    ]


def test_a_preview_of_a_first_deployment_and_of_what_is_unknown():
    found = Preview("s", None, Image("new"), (), complete=False, template="+x")
    assert picture.preview(found) == [
        "s:",
        "  there is no such stack yet: it would be created",
        "  image     then  new  not in the registry",
        "  template  all of it is new",
    ]
    found = Preview("s", Image("a", "sha256:1"), Image("b", "sha256:1"), (), True, "", "no artifact App")
    shown = picture.preview(found)
    assert "  the image is the same" in shown
    assert "  template  unknown: no artifact App" in shown


def test_long_lines_are_broken_between_words_and_indented():
    from portside.cli.terminal import fitted

    long = "  Why:  Stage Build of pipeline helloworld-codepipeline has neither failed nor been stopped."
    assert fitted(long, 50).splitlines() == [
        "  Why:  Stage Build of pipeline",
        "        helloworld-codepipeline has neither failed",
        "        nor been stopped.",
    ]
    assert (
        fitted("    a/very/long/path/that/has/no/blank/in/it", 20)
        == "    a/very/long/path/that/has/no/blank/in/it"
    )
    assert fitted("short\n\nlines", 20) == "short\n\nlines"


def test_every_line_of_a_quoted_log_is_marked_as_one():
    from portside.cli.picture import reasons
    from portside.deploy.explain import Why

    why = Why(stage="Build", action="Build", reason="it failed", source="build 1", lines=("one\n  two", "three"))
    assert reasons((why,))[2:] == ["The last lines of build 1:", "  | one", "  |   two", "  | three"]
