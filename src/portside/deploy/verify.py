"""Whether what was wanted is what runs, and answers.

A stack that is complete is not yet proof: after a rollback by the circuit breaker the service is stable, with the
old image. Success is the wanted image in the primary deployment, and every target healthy.
"""

from __future__ import annotations

from portside.deploy import status
from portside.deploy.api import Aws
from portside.deploy.errors import StackFailed, TimedOut

ANSWER_LIMIT = 900.0


def wait_until_answering(aws: Aws, service_stack: str, tag: str) -> int:
    """The number of healthy targets, once there are as many as wanted. Raises StackFailed or TimedOut."""
    deadline = aws.clock.now() + ANSWER_LIMIT
    while True:
        service = status.service(aws, service_stack)
        if service is None:
            raise StackFailed(f"{service_stack} has no service")
        if not service.image.endswith(f":{tag}"):
            raise StackFailed(
                f"{service.name} does not run {tag}",
                f"it runs {service.image}; {service.rollout_reason}".rstrip("; "),
                "See `portside logs` for the app's own output.",
            )
        if service.rollout == "FAILED":
            raise StackFailed(
                f"the deployment of {service.name} failed", service.rollout_reason, "See `portside logs`."
            )
        healthy = sum(target.state == "healthy" for target in service.targets)
        if healthy >= service.desired and service.running >= service.desired:
            return healthy
        if aws.clock.now() > deadline:
            waiting = [
                f"{t.id}:{t.port} is {t.state} ({t.reason})" for t in service.targets if t.state != "healthy"
            ]
            newest = service.events[0] if service.events else ""
            raise TimedOut(
                f"{service.name} does not answer after {ANSWER_LIMIT:.0f} s",
                "; ".join(waiting or [newest or "no target is registered"]),
                "See `portside status` and `portside logs`.",
            )
        aws.clock.sleep(aws.target.poll)
