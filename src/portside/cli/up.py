"""portside up: from the directory of an app to its URL.

The repository, cluster and load balancer first, then the image and the service that runs it, each only if it
differs from what is there already; last, with a [pipeline], what brings commits there (`up_delivery.py`). Order
and templates come from the blueprint, the work is done by `deploy` and `image`.
"""

from __future__ import annotations

import re

from portside.blueprint.synth import stacks
from portside.cli import images, up_delivery, worktree
from portside.cli.context import Work
from portside.cli.stacks import deploy, parameters, report
from portside.cli.terminal import Board, Terminal
from portside.deploy import deployment, verify
from portside.deploy.deployment import Outcome, Progress
from portside.deploy.events import StackEvent
from portside.image.context import Context

TAG_LENGTH = 16
COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def up(terminal: Terminal, work: Work) -> bool:
    """True if anything was changed."""
    app, aws = work.app, work.aws
    made = stacks(app, work.environment)
    outcomes: list[Outcome] = []
    context = Context(work.directory / app.settings.build.context, app.settings.build.dockerfile)
    with terminal.board() as board:
        tag = _tag(board, work, context)
        pushed = False
        for stack in made:
            if stack.kind == "service":
                pushed = images.build(board, work, context, tag)
            given = {"Tag": tag} if stack.kind == "service" else {}
            outcomes.append(deploy(board, work, stack, parameters(work, stack, given)))
        changed = pushed or any(outcome.action != "unchanged" for outcome in outcomes)
        url = next((o.outputs["URL"] for o in outcomes if "URL" in o.outputs), "")
        service = outcomes[-1].stack
        if changed:
            board.put("answer", app.name, "behind the load balancer", "waiting")
        running = verify.wait_until_answering(aws, service, tag)
        if changed:
            board.put("answer", app.name, f"{running} of {running} targets", "healthy")
        delivered, notes = up_delivery.up(board, work, context)
    if not changed and not delivered:
        terminal.say(
            f"Nothing to change: {app.name} in {work.environment} is as portside.toml and the sources say."
        )
    for note in notes:
        terminal.say(note)
    terminal.data(url)
    return changed or delivered


def _tag(board: Board, work: Work, context: Context) -> str:
    """What to deploy: the commit that runs if it has the same sources, else a name made of the sources.

    So `up` leaves alone what the pipeline brought, as long as nothing was edited since.
    """
    settings = work.app.settings.build
    digest = context.digest(settings.args)
    stack = work.app.service_stack(work.environment)
    record = deployment.find(work.aws, stack)
    if record is not None and record["StackStatus"].endswith("_IN_PROGRESS") and work.app.settings.pipeline:

        def happened(event: StackEvent) -> None:
            report(board, stack, event)

        record = deployment.settle(work.aws, record, Progress(happened=happened))
    running = deployment.parameters(record or {}).get("Tag", "")
    if COMMIT.fullmatch(running):
        tree = worktree.find(work.directory)
        if tree is not None and context.root.resolve().is_relative_to(tree.root):
            inside = tree.inside(context.root)
            if tree.digest_at(running, inside, settings.dockerfile, settings.args) == digest:
                return running
    return digest[:TAG_LENGTH]
