"""portside status: stacks, tasks, targets and the address, as the AWS API tells them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit

from portside.cli import picture
from portside.cli.context import Work
from portside.cli.terminal import Terminal, words
from portside.deploy import pipeline
from portside.deploy import status as reading
from portside.deploy.errors import DeployError
from portside.deploy.pipeline import Picture
from portside.deploy.status import AppStatus


def status(terminal: Terminal, work: Work, as_json: bool) -> bool:
    """Prints the picture; True if all that was asked for runs and answers."""
    app, environment = work.app, work.environment
    stacks = [
        app.repository_stack,
        app.cluster_stack(environment),
        app.load_balancer_stack(environment),
        app.service_stack(environment),
    ]
    found = reading.read(work.aws, stacks, app.service_stack(environment), app.load_balancer_stack(environment))
    also = _own_address(work, found)
    delivery = _pipeline(work)
    if as_json:
        shown = None
        if delivery is not None and delivery.newest is not None:
            shown = {"name": delivery.name, "execution": asdict(delivery.newest), "failed": delivery.failed}
        terminal.json({**asdict(found), "also": also, "healthy": found.healthy, "pipeline": shown})
    else:
        _print(terminal, found, also)
        if delivery is not None:
            terminal.data(_line(delivery))
    return found.healthy


def _print(terminal: Terminal, found: AppStatus, also: str) -> None:
    width = max(len(stack.name) for stack in found.stacks)
    for stack in found.stacks:
        reason = f"  {stack.reason}" if stack.reason and "ROLLBACK" in stack.status else ""
        terminal.data(f"{stack.name:<{width}}  {words(stack.status)}{reason}")
    service = found.service
    if service is not None:
        terminal.data("")
        terminal.data(f"service  {service.name}")
        terminal.data(f"image    {service.image}")
        terminal.data(
            f"tasks    {service.running} of {service.desired} running"
            + (f", {service.pending} pending" if service.pending else "")
        )
        terminal.data(f"rollout  {service.rollout.lower() or 'none'}  {service.rollout_reason}".rstrip())
        for target in service.targets:
            terminal.data(f"target   {target.id}:{target.port}  {target.state}  {target.reason}".rstrip())
        for event in service.events[:3]:
            terminal.data(f"event    {event}")
    if found.url:
        terminal.data("")
        terminal.data(f"url      {found.url}")
        if also:
            terminal.data(f"also     {also}")


def _own_address(work: Work, found: AppStatus) -> str:
    """The load balancer's own loopback address, for clients that cannot resolve *.localhost."""
    if work.running is None or not found.url:
        return ""
    parts = urlsplit(found.url)
    with work.aws.errors("the load balancer cannot be read"):
        rows: list[dict[str, Any]] = work.aws.client("elbv2").describe_load_balancers()["LoadBalancers"]
    for row in rows:
        if row["DNSName"].lower() == parts.hostname:
            for zone in row.get("AvailabilityZones", []):
                for address in zone.get("LoadBalancerAddresses", []):
                    return f"{parts.scheme}://{address['IpAddress']}:{parts.port}"
    return ""


def _pipeline(work: Work) -> Picture | None:
    """None where there is none, or none that can be read: the app's own state is what counts here."""
    if work.app.settings.pipeline is None:
        return None
    try:
        return pipeline.read(work.aws, pipeline.declaration(work.aws, work.app.pipeline_stack))
    except DeployError:
        return None


def _line(found: Picture) -> str:
    newest = found.newest
    if newest is None:
        return "pipeline no execution yet"
    return f"pipeline {picture.state(found, newest)}  {newest.commit.short}  {newest.commit.subject}".rstrip()
