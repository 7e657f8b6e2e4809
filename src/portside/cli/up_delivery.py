"""The part of `portside up` that brings commits: repository, connection, the other environments, build, pipeline.

What the pipeline deploys comes from the repository, so it is made only if the templates there are those that
portside.toml gives. Nothing is written into the checkout.
"""

from __future__ import annotations

from dataclasses import replace

from portside.blueprint.settings import Pipeline
from portside.blueprint.synth import Synthesised, delivery, stacks
from portside.cli import images, repositories, worktree
from portside.cli.context import Work
from portside.cli.stacks import deploy, parameters
from portside.cli.terminal import Board
from portside.cli.worktree import Worktree
from portside.deploy import connections, deployment
from portside.deploy.errors import DeployError
from portside.image import debian
from portside.image.context import Context

# On the stacks of an environment that nobody asked for by name: they go when the pipeline goes.
MADE_FOR = {"portside:made-for": "pipeline"}
CONSOLE = "https://console.aws.amazon.com/codesuite/settings/connections"


def up(board: Board, work: Work, context: Context) -> tuple[bool, list[str]]:
    """Whether anything was changed, and what there is to say about it."""
    settings = work.app.settings.pipeline
    if settings is None:
        return False, []
    tree = worktree.find(work.directory)
    if tree is None:
        return False, [
            f"The pipeline is left out: {work.directory.resolve()} lies in no git work tree.",
            "`git init`, commit, and run `portside up` again.",
        ]
    problem = _out_of_step(work, settings, tree)
    if problem:
        return False, ["The pipeline is left as it is.", *problem]
    notes: list[str] = []
    if work.running is not None:
        notes += _bind(board, work, settings, tree)
    connection, made = connections.ensure(work.aws, work.app.name)
    if connection.status != "AVAILABLE":
        return made, [
            f"The pipeline is left out: the connection {connection.name} is {connection.status}, not authorised.",
            f"Authorise it at {CONSOLE}?region={work.aws.region}, and run `portside up` again.",
        ]
    changed = made
    for environment in work.app.settings.environments:
        if environment != work.environment:
            changed |= _environment(board, work, environment)
    values = {"ConnectionArn": connection.arn}
    for stack in delivery(work.app):
        given = {"BuildArguments": _arguments(board, work, context)} if stack.kind == "build" else values
        changed |= deploy(board, work, stack, parameters(work, stack, given)).action != "unchanged"
    if changed:
        way = ", ".join(work.app.settings.environments)
        notes.append(f"Commits on {settings.branch} of {settings.repository} now go through {way}:")
        notes.append("`portside pipeline status -w` shows how.")
    return changed, notes


def _out_of_step(work: Work, settings: Pipeline, tree: Worktree) -> list[str]:
    """What keeps the pipeline from working with this checkout, and what to do; nothing if all is well."""
    directory = tree.inside(work.directory)
    if directory != work.app.in_repository():
        raise DeployError(
            "portside.toml: pipeline.directory is wrong",
            f"it says {settings.directory}, but the app lies in {directory} of {tree.root}",
            f'Set directory = "{directory}" in [pipeline].',
        )
    if tree.commit(settings.branch) is None:
        return [
            f"The checkout {tree.root} has no branch {settings.branch}.",
            "Commit to it, or name another branch in [pipeline]; then run `portside up` again.",
        ]
    command = f"portside synth {work.directory} -o {work.directory / settings.templates}"
    stale: list[str] = []
    for environment in work.app.settings.environments:
        path = work.app.service_template(environment)
        found = tree.committed(settings.branch, path)
        wanted = next(s for s in stacks(work.app, environment) if s.kind == "service").template
        if found is None:
            stale.append(f"{path} is not on {settings.branch}")
        elif found.decode("utf-8", "replace") != wanted:
            stale.append(f"{path} on {settings.branch} is not what portside.toml gives")
    if not stale:
        return []
    return [f"{stale[0]}{f', nor are {len(stale) - 1} more' if len(stale) > 1 else ''}.",
            f"Run `{command}`, commit it to {settings.branch}, and run `portside up` again."]  # fmt: skip


def _bind(board: Board, work: Work, settings: Pipeline, tree: Worktree) -> list[str]:
    assert work.running is not None
    bound = repositories.listed(work.running).get(settings.repository)
    if bound is None:
        repositories.bind(work.running, settings.repository, tree.root)
        board.put("repository", settings.repository, f"stands for {tree.root}", "bound")
        return []
    if bound != str(tree.root):
        return [f"{settings.repository} is bound to {bound}, not to {tree.root}: commits come from there."]
    return []


def _environment(board: Board, work: Work, environment: str) -> bool:
    """Cluster and load balancer of an environment whose service the pipeline deploys."""
    there = replace(work, environment=environment)
    changed = False
    for stack in stacks(work.app, environment):
        if stack.kind in ("cluster", "load balancer"):
            outcome = deploy(board, there, stack, parameters(there, stack, {}), _tags(work, stack))
            changed |= outcome.action != "unchanged"
    return changed


def _tags(work: Work, stack: Synthesised) -> dict[str, str]:
    """Made for the pipeline, unless somebody has asked for it by name before."""
    record = deployment.find(work.aws, stack.stack)
    if record is not None and record["StackStatus"] not in deployment.UNBORN:
        return deployment.tags(record)
    return MADE_FOR


def _arguments(board: Board, work: Work, context: Context) -> str:
    """What builds on this machine need to be told. Found out once, for trying to pull takes its time."""
    if work.running is None:
        return ""
    record = deployment.find(work.aws, work.app.build_stack)
    argument = work.app.settings.build.node_base_argument
    if record is not None and record["StackStatus"] not in deployment.UNBORN:
        known = deployment.parameters(record).get("BuildArguments", "")
        if known in ("", f"{argument}={debian.reference()}"):
            return known
    found = images.base_arguments(board, work, context)
    return " ".join(f"{name}={value}" for name, value in sorted(found.items()))
