"""How a deployment goes about replacing the one before it: one record beside each deployment.

Owns the record, its stages and its table. A `Shift` keeps what was configured when the deployment began, so that
a later change of the service does not alter one that is under way, and what is wanted of the listener rules now.
`shifts.py` has the rules, `traffic.py` the calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from portside.cloud.services.calls import Params
from portside.cloud.services.ecs.store import Reader, Table

ALONE = -1.0  # the rules are left alone


class Strategy(StrEnum):
    ROLLING = "ROLLING"
    BLUE_GREEN = "BLUE_GREEN"
    LINEAR = "LINEAR"
    CANARY = "CANARY"


class LifecycleStage(StrEnum):
    PENDING = "PENDING"
    ROLLING = "ROLLING"
    RECONCILE_SERVICE = "RECONCILE_SERVICE"
    PRE_SCALE_UP = "PRE_SCALE_UP"
    SCALE_UP = "SCALE_UP"
    POST_SCALE_UP = "POST_SCALE_UP"
    TEST_TRAFFIC_SHIFT = "TEST_TRAFFIC_SHIFT"
    POST_TEST_TRAFFIC_SHIFT = "POST_TEST_TRAFFIC_SHIFT"
    PRE_PRODUCTION_TRAFFIC_SHIFT = "PRE_PRODUCTION_TRAFFIC_SHIFT"
    PRODUCTION_TRAFFIC_SHIFT = "PRODUCTION_TRAFFIC_SHIFT"
    POST_PRODUCTION_TRAFFIC_SHIFT = "POST_PRODUCTION_TRAFFIC_SHIFT"
    BAKE_TIME = "BAKE_TIME"
    CLEAN_UP = "CLEAN_UP"


_S = LifecycleStage
# All by the service loop. A rollback enters at PRODUCTION_TRAFFIC_SHIFT: its tasks are there already.
STAGE_TRANSITIONS: Mapping[LifecycleStage, tuple[LifecycleStage, ...]] = {
    _S.PENDING: (_S.ROLLING, _S.RECONCILE_SERVICE, _S.PRE_SCALE_UP),
    _S.ROLLING: (),
    _S.RECONCILE_SERVICE: (_S.PRE_SCALE_UP,),
    _S.PRE_SCALE_UP: (_S.SCALE_UP,),
    _S.SCALE_UP: (_S.POST_SCALE_UP,),
    _S.POST_SCALE_UP: (_S.TEST_TRAFFIC_SHIFT, _S.POST_TEST_TRAFFIC_SHIFT),
    _S.TEST_TRAFFIC_SHIFT: (_S.POST_TEST_TRAFFIC_SHIFT,),
    _S.POST_TEST_TRAFFIC_SHIFT: (_S.PRE_PRODUCTION_TRAFFIC_SHIFT,),
    _S.PRE_PRODUCTION_TRAFFIC_SHIFT: (_S.PRODUCTION_TRAFFIC_SHIFT,),
    _S.PRODUCTION_TRAFFIC_SHIFT: (
        _S.PRE_PRODUCTION_TRAFFIC_SHIFT,
        _S.POST_PRODUCTION_TRAFFIC_SHIFT,
        _S.CLEAN_UP,
    ),
    _S.POST_PRODUCTION_TRAFFIC_SHIFT: (_S.BAKE_TIME,),
    _S.BAKE_TIME: (_S.CLEAN_UP,),
    _S.CLEAN_UP: (),
}


@dataclass(frozen=True, slots=True)
class Shift:
    """`source` is the deployment that has the traffic until this one takes it over. `weight` is the share of
    production traffic, in percent, wanted for this deployment, `test` whether it should have the test traffic.
    `reached_at`: since when the rules show that weight. `routes` say for each load balancer of the service which
    target group is this deployment's `own` and which the `other`, and which rules lead to them. `stop`: what
    StopServiceDeployment has asked for. `baking_since`: a rolling deployment that is complete but for its alarms.
    """

    deployment: str
    service: str
    strategy: Strategy
    stage: LifecycleStage
    since: float
    source: str = ""
    weight: float = ALONE
    test: bool = False
    undoing: bool = False
    reached_at: float | None = None
    stop: str = ""
    stop_at: float | None = None
    started_at: float | None = None
    baking_since: float | None = None
    alarm_seconds: float = 0.0
    hooks: list[Params] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    triggered: list[str] = field(default_factory=list)
    routes: list[Params] = field(default_factory=list)
    configuration: Params = field(default_factory=dict)

    @property
    def in_steps(self) -> bool:
        return self.strategy is not Strategy.ROLLING

    @property
    def under_way(self) -> bool:
        """Traffic is not yet all where it should be: two deployments are kept up side by side."""
        return self.in_steps and self.stage not in (LifecycleStage.CLEAN_UP, LifecycleStage.ROLLING)


MIGRATIONS = (
    """
    CREATE TABLE ecs_shift (
        deployment TEXT PRIMARY KEY, service TEXT NOT NULL, strategy TEXT NOT NULL, stage TEXT NOT NULL,
        since REAL NOT NULL, source TEXT NOT NULL, weight REAL NOT NULL, test INTEGER NOT NULL,
        undoing INTEGER NOT NULL, reached_at REAL, stop TEXT NOT NULL, stop_at REAL, started_at REAL,
        baking_since REAL, alarm_seconds REAL NOT NULL, hooks TEXT NOT NULL, ignored TEXT NOT NULL,
        triggered TEXT NOT NULL, routes TEXT NOT NULL, configuration TEXT NOT NULL
    );
    CREATE INDEX ecs_shift_service ON ecs_shift (service);
    """,
)

table = Table("ecs_shift", Shift)


def of(reader: Reader, deployment: str) -> Shift | None:
    return table.get(reader, deployment)


def balancers(shift: Shift | None, configured: list[Params]) -> list[Params]:
    """The target groups that the tasks of a deployment are registered with."""
    if shift is None or not shift.routes:
        return configured
    own = {(each["targetGroupArn"], each["containerName"], each["containerPort"]): each for each in shift.routes}
    found = []
    for each in configured:
        route = own.get((each["targetGroupArn"], each["containerName"], each["containerPort"]))
        found.append(each if route is None else each | {"targetGroupArn": route["own"]})
    return found
