"""What the parts of one look at one service share: the transaction, what was seen, when to look again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from portside.cloud.kernel.clock import Pace
from portside.cloud.kernel.database import Transaction
from portside.cloud.kernel.ids import Ids
from portside.cloud.services.ecs import announcements
from portside.cloud.services.ecs.fargate import Room
from portside.cloud.services.ecs.records import Deployment, DeploymentStatus, Service
from portside.cloud.services.ecs.wakes import Wakes


@dataclass(frozen=True, slots=True)
class TargetSeen:
    """What a target group says of one task: ELB's state, and its description of a failure."""

    state: str
    description: str = ""
    port: int = 0


Seen = Mapping[tuple[str, str], TargetSeen]  # (task, target group)


@dataclass(slots=True)
class Look:
    """Of one turn. `service` is the record as the turn has left it so far."""

    tx: Transaction
    ids: Ids
    now: float
    pace: Pace
    wakes: Wakes
    service: Service
    seen: Seen
    room: Room | None = None
    rechecks: list[float] = field(default_factory=list)

    @property
    def daemon(self) -> bool:
        return bool(self.service.spec.get("schedulingStrategy") == "DAEMON")

    def again_at(self, at: float) -> None:
        """The service must be looked at then, whatever else happens."""
        self.rechecks.append(at)

    def announce(self, text: str, *, complaint: bool = False) -> None:
        announcements.announce(self.tx, self.ids, self.service, text, self.now, complaint=complaint)

    def wake_task(self, arn: str) -> None:
        self.tx.after_commit(lambda: self.wakes.task(arn))


def primary_of(deployments: list[Deployment]) -> Deployment | None:
    return next((each for each in deployments if each.status is DeploymentStatus.PRIMARY), None)
