"""All templates of an app, in the order in which their stacks build on one another.

Pure: the same settings give the same text, byte for byte.
"""

from __future__ import annotations

from dataclasses import dataclass

from troposphere import Template

from portside.blueprint import build, cluster, loadbalancer, pipeline, repository, service
from portside.blueprint.app import App


@dataclass(frozen=True, slots=True)
class Synthesised:
    """One stack to be: `template` is JSON; `parameters` names those that the deployer must fill in."""

    kind: str
    stack: str
    template: str
    parameters: tuple[str, ...]
    capabilities: tuple[str, ...] = ()


def stacks(app: App, environment: str) -> list[Synthesised]:
    """The four stacks of one environment, dependencies first."""
    return [
        _stack("repository", app.repository_stack, repository.template()),
        _stack(
            "cluster",
            app.cluster_stack(environment),
            cluster.template(app.settings.cluster, app.instance_type(environment)),
        ),
        _stack("load balancer", app.load_balancer_stack(environment), loadbalancer.template(app.settings)),
        _stack("service", app.service_stack(environment), service.template(app, environment)),
    ]


def delivery(app: App) -> list[Synthesised]:
    """The two stacks of delivery, in order; none unless portside.toml has a [pipeline]."""
    settings = app.settings.pipeline
    if settings is None:
        return []
    return [
        _stack("build", app.build_stack, build.template(app)),
        _stack("pipeline", app.pipeline_stack, pipeline.template(app, settings)),
    ]


def every(app: App) -> list[Synthesised]:
    """All stacks of all environments, each once."""
    found: dict[str, Synthesised] = {}
    for environment in app.settings.environments:
        for stack in stacks(app, environment):
            found.setdefault(stack.stack, stack)
    return [*found.values(), *delivery(app)]


def _stack(kind: str, name: str, template: Template) -> Synthesised:
    needs_iam = any(resource.resource["Type"].startswith("AWS::IAM::") for resource in template.resources.values())
    required = tuple(
        title for title, parameter in template.parameters.items() if "Default" not in parameter.properties
    )
    return Synthesised(
        kind, name, template.to_json(indent=2) + "\n", required, ("CAPABILITY_IAM",) if needs_iam else ()
    )
