"""The part of `portside down` that is about delivery: what goes with the pipeline, and in which order.

The service stacks go before the pipeline's, for CloudFormation deletes a stack with the role that last updated it,
and the pipeline's stack holds those roles. So that no commit brings a service back meanwhile, the pipeline is
closed and what it runs is stopped first.
"""

from __future__ import annotations

from dataclasses import dataclass

from portside.cli import repositories, worktree
from portside.cli.context import Work
from portside.cli.terminal import Board
from portside.cli.up_delivery import MADE_FOR
from portside.deploy import builds, connections, deployment, pipeline
from portside.deploy.errors import DeployError


@dataclass(frozen=True, slots=True)
class Plan:
    """`environments` to take away, and whether the pipeline goes with them."""

    environments: tuple[str, ...]
    pipeline: bool
    notes: tuple[str, ...] = ()


def plan(work: Work) -> Plan:
    app = work.app
    if not any(deployment.find(work.aws, name) for name in (app.pipeline_stack, app.build_stack)):
        return Plan((work.environment,), pipeline=False)
    made: list[str] = []
    asked: list[str] = []
    for environment in app.settings.environments:
        record = deployment.find(work.aws, app.cluster_stack(environment))
        if environment == work.environment or record is None:
            continue
        made_for_pipeline = MADE_FOR.items() <= deployment.tags(record).items()
        (made if made_for_pipeline else asked).append(environment)
    if asked:
        note = f"The pipeline stays, for {', '.join(asked)} is still there; it can no longer deploy to "
        return Plan((work.environment,), pipeline=False, notes=(f"{note}{work.environment}.",))
    # An environment whose cluster is gone may still have had a service.
    return Plan((work.environment, *made), pipeline=True)


def halt(board: Board, work: Work) -> None:
    """Lets nothing more in, and ends what runs."""
    app = work.app
    board.put("halt", app.pipeline_stack, "pipeline", "stopping")
    try:
        declared = pipeline.declaration(work.aws, app.pipeline_stack)
    except DeployError:
        declared = None  # its stack never got that far
    if declared is not None:
        for stage in declared["stages"][1:]:
            pipeline.close(work.aws, declared["name"], stage["name"], "it is being taken away")
        pipeline.abandon_all(work.aws, declared["name"], "it is being taken away")
    builds.stop_all(work.aws, app.build_stack)
    board.put("halt", app.pipeline_stack, "pipeline", "stopped")


def disconnect(board: Board, work: Work) -> None:
    """On the local cloud nothing is left. On AWS the connection stays: a person has authorised it."""
    if work.running is None:
        return
    connection = connections.find(work.aws, work.app.name)
    if connection is not None:
        connections.remove(work.aws, connection)
    settings = work.app.settings.pipeline
    tree = worktree.find(work.directory)
    if settings is None or tree is None or pipeline.names(work.aws):
        return
    if repositories.listed(work.running).get(settings.repository) == str(tree.root):
        repositories.unbind(work.running, settings.repository)
        board.put("repository", settings.repository, f"stood for {tree.root}", "unbound")
