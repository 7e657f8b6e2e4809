"""deploy's view of a pipeline against scripted answers: what it reads, sends, and shows before an approval."""

from __future__ import annotations

import pytest

from delivery_answers import (
    DECLARED,
    EXECUTIONS,
    NEW,
    NEWER,
    OLD,
    STACK,
    WAITING,
    Answers,
    archive,
    codepipeline,
    execution,
    paginator,
    refused,
    stage,
    world,
)
from portside.deploy import pipeline, preview
from portside.deploy.errors import DeployError, NotAccepted
from portside.deploy.pipeline import Commit


def read(states, executions):
    return pipeline.read(Answers(codepipeline=codepipeline(states, executions)), DECLARED)


def test_who_is_where_and_who_waits():
    found = read(WAITING, EXECUTIONS)
    approval = found.stage("Approval")
    assert (approval.execution, approval.waiting) == ("two", ("three",))
    assert found.execution("three").commit == Commit(NEWER, "third")
    assert found.newest.id == "three"
    assert pipeline.waiting(found).token == "t-2"
    assert not found.failed
    # The second waits for a person, the third for the second: nothing moves by itself.
    assert not found.moving


def test_a_pipeline_moves_while_an_action_runs_or_an_execution_has_not_begun():
    states = [stage("Source", "InProgress", "one"), *[stage(s["name"]) for s in DECLARED["stages"][1:]]]
    assert read(states, [execution("one", "InProgress", "")]).moving
    states = [stage(s["name"]) for s in DECLARED["stages"]]
    assert read(states, [execution("one", "InProgress", "")]).moving
    assert not read(states, []).moving


@pytest.mark.parametrize(
    ("statuses", "failed"),
    [
        (["Failed", "Succeeded"], True),
        (["Succeeded", "Failed"], False),
        (["Superseded", "Failed"], True),
        (["Stopped"], True),
        (["InProgress", "Failed"], False),
        ([], False),
    ],
)
def test_it_has_failed_if_the_newest_execution_that_counts_has(statuses, failed):
    rows = [execution(str(number), status, OLD) for number, status in enumerate(statuses)]
    assert read([stage(s["name"]) for s in DECLARED["stages"]], rows).failed is failed


def test_a_pipeline_that_is_not_there_names_the_remedy():
    def missing(name):
        raise refused("PipelineNotFoundException", "no pipeline")

    with pytest.raises(DeployError, match="there is no pipeline shop") as error:
        pipeline.declaration(Answers(codepipeline={"get_pipeline": missing}), "shop")
    assert "portside up" in error.value.next

    def denied(name):
        raise refused("AccessDeniedException", "you may not")

    with pytest.raises(NotAccepted, match="you may not"):
        pipeline.declaration(Answers(codepipeline={"get_pipeline": denied}), "shop")


def test_an_answer_carries_the_token_of_what_was_shown():
    sent = []
    answers = codepipeline(WAITING, EXECUTIONS, put_approval_result=lambda **given: sent.append(given))
    aws = Answers(codepipeline=answers)
    found = pipeline.read(aws, DECLARED)
    pipeline.answer(aws, found, pipeline.waiting(found), approved=False, comment="not this one")
    assert sent == [
        {
            "pipelineName": "helloworld-codepipeline",
            "stageName": "Approval",
            "actionName": "Approve",
            "token": "t-2",
            "result": {"status": "Rejected", "summary": "not this one"},
        }
    ]


def test_without_an_approval_there_is_nothing_to_answer():
    with pytest.raises(DeployError, match="waits for nobody"):
        pipeline.waiting(read([stage(s["name"]) for s in DECLARED["stages"]], []))


FAILED = [
    stage("Source", "Succeeded", "two"),
    stage("Build", "Failed", "two"),
    stage("Staging", "Succeeded", "one"),
    stage("Approval", "Succeeded", "one"),
    stage("Production", "Failed", "one"),
]


def test_retry_takes_the_failed_stage_of_the_newest_execution_unless_told():
    sent = []
    answers = codepipeline(FAILED, EXECUTIONS[1:], retry_stage_execution=lambda **given: sent.append(given))
    aws = Answers(codepipeline=answers)
    found = pipeline.read(aws, DECLARED)
    assert pipeline.retry(aws, found, "", everything=False).name == "Build"
    assert pipeline.retry(aws, found, "Production", everything=True).name == "Production"
    assert [(s["stageName"], s["pipelineExecutionId"], s["retryMode"]) for s in sent] == [
        ("Build", "two", "FAILED_ACTIONS"),
        ("Production", "one", "ALL_ACTIONS"),
    ]
    with pytest.raises(DeployError, match="has no stage Prod") as error:
        pipeline.retry(aws, found, "Prod", everything=False)
    assert "Source, Build, Staging, Approval, Production" in error.value.why
    with pytest.raises(DeployError, match="nothing to try again"):
        pipeline.retry(aws, read(WAITING, EXECUTIONS), "", everything=False)


def test_stop_takes_the_newest_that_goes_on():
    sent = []
    answers = codepipeline(WAITING, EXECUTIONS, stop_pipeline_execution=lambda **given: sent.append(given))
    aws = Answers(codepipeline=answers)
    pipeline.stop(aws, pipeline.read(aws, DECLARED), abandon=True, reason="enough")
    assert sent[0]["pipelineExecutionId"] == "three"
    assert sent[0]["abandon"] is True
    with pytest.raises(DeployError, match="nothing to stop"):
        pipeline.stop(aws, read(WAITING, [execution("one", "Failed", OLD)]), abandon=False, reason="")


def test_abandoning_all_bears_with_what_ended_meanwhile():
    def ended(**given):
        raise refused("PipelineExecutionNotStoppableException")

    aws = Answers(codepipeline=codepipeline(WAITING, EXECUTIONS, stop_pipeline_execution=ended))
    pipeline.abandon_all(aws, "helloworld-codepipeline", "away")

    def denied(**given):
        raise refused("AccessDeniedException")

    aws = Answers(codepipeline=codepipeline(WAITING, EXECUTIONS, stop_pipeline_execution=denied))
    with pytest.raises(NotAccepted):
        pipeline.abandon_all(aws, "helloworld-codepipeline", "away")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("plain", "plain"),
        ('{"ProviderType":"GitHub","CommitMessage":"from a connection"}', "from a connection"),
        ("{not json", "{not json"),
        ('{"other": 1}', '{"other": 1}'),
    ],
)
def test_the_message_of_a_revision(given, message):
    assert pipeline.summary(given) == message


# What approving would change


def shown(aws, log=None):
    found = pipeline.read(aws, DECLARED)
    (made,) = preview.previews(aws, found, pipeline.waiting(found), "helloworld", log)
    return made


def test_image_commits_and_template_before_and_after():
    made = shown(world())
    assert made.stack == STACK
    assert (made.now.tag, made.now.digest) == (OLD, "sha256:old")
    assert (made.then.tag, made.then.digest) == (NEW, "sha256:new")
    assert not made.same_image
    # Neither the one that runs, nor the newer one that does not wait for this answer.
    assert [commit.id for commit in made.commits] == [NEW]
    assert made.complete
    assert '-      "Memory": 128' in made.template
    assert '+      "Memory": 256' in made.template


def test_no_difference_is_said_as_none():
    made = shown(world(memory=256, digests={OLD: "sha256:same", NEW: "sha256:same"}))
    assert made.template == ""
    assert made.template_unknown == ""
    assert made.same_image


def test_the_first_deployment_has_nothing_before_it():
    made = shown(world(present=""))
    assert made.now is None
    assert made.then.digest == "sha256:new"
    assert '+      "Memory": 256' in made.template


def test_a_checkout_knows_commits_that_the_pipeline_never_saw():
    asked = []

    def log(old, new):
        asked.append((old, new))
        return (Commit(NEW, "second"), Commit("d" * 40, "between"))

    assert len(shown(world(), log).commits) == 2
    assert asked == [(OLD, NEW)]
    # A checkout without them leaves it to the pipeline's history.
    assert [commit.id for commit in shown(world(), lambda old, new: None).commits] == [NEW]


def test_a_history_that_does_not_reach_back_says_so():
    made = shown(world(present="1234567890abcdef"))
    assert not made.complete
    assert [commit.id for commit in made.commits] == [NEW, OLD]


def test_a_template_that_is_not_in_the_artifact_is_unknown_not_unchanged():
    made = shown(world(content=archive(other="x")))
    assert "App holds no templates/p.template" in made.template_unknown
    made = shown(world(content=b"no archive"))
    assert made.template_unknown


def test_an_image_that_is_not_there_has_no_digest():
    made = shown(world(digests={}))
    assert made.then.digest == ""
    assert not made.same_image


def test_executions_are_read_as_far_as_asked_for():
    taken = []

    def pages(**asked):
        for number in range(100):
            taken.append(number)
            yield {"pipelineExecutionSummaries": [execution(str(number), "Succeeded", OLD)]}

    aws = Answers(codepipeline={"get_paginator": paginator(list_pipeline_executions=pages)})
    assert len(pipeline.executions(aws, "p", 3)) == 3
    assert len(taken) <= 4
