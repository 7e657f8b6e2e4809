"""The records of CloudFormation: stacks, resources, leftovers, events, change sets, exports and imports.

Owns the dataclasses, the statuses, the table of allowed moves between them and the migrations; not the SQL that
loads and stores them (`rows.py`) nor any decision (`plan.py`, `stack_loop.py`).
"""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum
from typing import Any

from portside.cloud.kernel.record import record

Params = dict[str, Any]


class StackStatus(StrEnum):
    """As the API spells them."""

    REVIEW_IN_PROGRESS = "REVIEW_IN_PROGRESS"
    CREATE_IN_PROGRESS = "CREATE_IN_PROGRESS"
    CREATE_COMPLETE = "CREATE_COMPLETE"
    CREATE_FAILED = "CREATE_FAILED"
    ROLLBACK_IN_PROGRESS = "ROLLBACK_IN_PROGRESS"
    ROLLBACK_COMPLETE = "ROLLBACK_COMPLETE"
    ROLLBACK_FAILED = "ROLLBACK_FAILED"
    UPDATE_IN_PROGRESS = "UPDATE_IN_PROGRESS"
    UPDATE_COMPLETE_CLEANUP_IN_PROGRESS = "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"
    UPDATE_COMPLETE = "UPDATE_COMPLETE"
    UPDATE_FAILED = "UPDATE_FAILED"
    UPDATE_ROLLBACK_IN_PROGRESS = "UPDATE_ROLLBACK_IN_PROGRESS"
    UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS = "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS"
    UPDATE_ROLLBACK_COMPLETE = "UPDATE_ROLLBACK_COMPLETE"
    UPDATE_ROLLBACK_FAILED = "UPDATE_ROLLBACK_FAILED"
    DELETE_IN_PROGRESS = "DELETE_IN_PROGRESS"
    DELETE_COMPLETE = "DELETE_COMPLETE"
    DELETE_FAILED = "DELETE_FAILED"
    IMPORT_IN_PROGRESS = "IMPORT_IN_PROGRESS"
    IMPORT_COMPLETE = "IMPORT_COMPLETE"
    IMPORT_ROLLBACK_IN_PROGRESS = "IMPORT_ROLLBACK_IN_PROGRESS"
    IMPORT_ROLLBACK_COMPLETE = "IMPORT_ROLLBACK_COMPLETE"

    @property
    def busy(self) -> bool:
        """An operation is under way; REVIEW_IN_PROGRESS only waits for a change set."""
        return self.value.endswith("_IN_PROGRESS") and self is not StackStatus.REVIEW_IN_PROGRESS


S = StackStatus

# (from, to): who may make the move.
TRANSITIONS: dict[tuple[StackStatus, StackStatus], str] = {
    (S.REVIEW_IN_PROGRESS, S.CREATE_IN_PROGRESS): "api",
    (S.CREATE_IN_PROGRESS, S.CREATE_COMPLETE): "loop",
    (S.CREATE_IN_PROGRESS, S.CREATE_FAILED): "loop",
    (S.CREATE_IN_PROGRESS, S.ROLLBACK_IN_PROGRESS): "loop",
    (S.CREATE_IN_PROGRESS, S.DELETE_IN_PROGRESS): "loop",
    (S.ROLLBACK_IN_PROGRESS, S.ROLLBACK_COMPLETE): "loop",
    (S.ROLLBACK_IN_PROGRESS, S.ROLLBACK_FAILED): "loop",
    (S.UPDATE_IN_PROGRESS, S.UPDATE_COMPLETE_CLEANUP_IN_PROGRESS): "loop",
    (S.UPDATE_IN_PROGRESS, S.UPDATE_FAILED): "loop",
    (S.UPDATE_IN_PROGRESS, S.UPDATE_ROLLBACK_IN_PROGRESS): "loop",
    (S.UPDATE_COMPLETE_CLEANUP_IN_PROGRESS, S.UPDATE_COMPLETE): "loop",
    (S.UPDATE_COMPLETE_CLEANUP_IN_PROGRESS, S.UPDATE_ROLLBACK_IN_PROGRESS): "api",
    (S.UPDATE_ROLLBACK_IN_PROGRESS, S.UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS): "loop",
    (S.UPDATE_ROLLBACK_IN_PROGRESS, S.UPDATE_ROLLBACK_FAILED): "loop",
    (S.UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS, S.UPDATE_ROLLBACK_COMPLETE): "loop",
    (S.DELETE_IN_PROGRESS, S.DELETE_COMPLETE): "loop",
    (S.DELETE_IN_PROGRESS, S.DELETE_FAILED): "loop",
    (S.CREATE_COMPLETE, S.UPDATE_IN_PROGRESS): "api",
    (S.UPDATE_COMPLETE, S.UPDATE_IN_PROGRESS): "api",
    (S.UPDATE_ROLLBACK_COMPLETE, S.UPDATE_IN_PROGRESS): "api",
    (S.CREATE_FAILED, S.UPDATE_IN_PROGRESS): "api",
    (S.UPDATE_FAILED, S.UPDATE_IN_PROGRESS): "api",
    (S.UPDATE_FAILED, S.UPDATE_ROLLBACK_IN_PROGRESS): "api",
    (S.UPDATE_ROLLBACK_FAILED, S.UPDATE_ROLLBACK_IN_PROGRESS): "api",
    **{
        (status, S.DELETE_IN_PROGRESS): "api"
        for status in S
        if not status.busy and status is not S.DELETE_COMPLETE
    },
}

UPDATABLE = frozenset(
    {
        S.CREATE_COMPLETE, S.UPDATE_COMPLETE, S.UPDATE_ROLLBACK_COMPLETE, S.IMPORT_COMPLETE,
        S.IMPORT_ROLLBACK_COMPLETE,
    }
)  # fmt: skip
TRANSITIONS |= {
    (S.REVIEW_IN_PROGRESS, S.IMPORT_IN_PROGRESS): "api",
    (S.IMPORT_IN_PROGRESS, S.IMPORT_COMPLETE): "loop",
    (S.IMPORT_IN_PROGRESS, S.IMPORT_ROLLBACK_IN_PROGRESS): "loop",
    (S.IMPORT_ROLLBACK_IN_PROGRESS, S.IMPORT_ROLLBACK_COMPLETE): "loop",
    (S.IMPORT_COMPLETE, S.UPDATE_IN_PROGRESS): "api",
    (S.IMPORT_ROLLBACK_COMPLETE, S.UPDATE_IN_PROGRESS): "api",
    **{(status, S.IMPORT_IN_PROGRESS): "api" for status in UPDATABLE},
}
# An operation without rollback stopped here. An update may go on from it if it does not roll back either.
STOPPED = frozenset({S.CREATE_FAILED, S.UPDATE_FAILED})

USER_INITIATED = "User Initiated"
# The key in the state of a resource that says that it was there before its stack.
IMPORTED = "imported"


class ResourceStatus(StrEnum):
    """As the API spells them."""

    CREATE_IN_PROGRESS = "CREATE_IN_PROGRESS"
    CREATE_COMPLETE = "CREATE_COMPLETE"
    CREATE_FAILED = "CREATE_FAILED"
    UPDATE_IN_PROGRESS = "UPDATE_IN_PROGRESS"
    UPDATE_COMPLETE = "UPDATE_COMPLETE"
    UPDATE_FAILED = "UPDATE_FAILED"
    DELETE_IN_PROGRESS = "DELETE_IN_PROGRESS"
    DELETE_COMPLETE = "DELETE_COMPLETE"
    DELETE_FAILED = "DELETE_FAILED"
    DELETE_SKIPPED = "DELETE_SKIPPED"
    IMPORT_IN_PROGRESS = "IMPORT_IN_PROGRESS"
    IMPORT_COMPLETE = "IMPORT_COMPLETE"
    IMPORT_FAILED = "IMPORT_FAILED"
    IMPORT_ROLLBACK_COMPLETE = "IMPORT_ROLLBACK_COMPLETE"

    @property
    def busy(self) -> bool:
        return self.value.endswith("_IN_PROGRESS")

    @property
    def failed(self) -> bool:
        return self.value.endswith("_FAILED")

    @property
    def gone(self) -> bool:
        return self in (ResourceStatus.DELETE_COMPLETE, ResourceStatus.DELETE_SKIPPED)


@record(frozen=True, slots=True)
class Value:
    """A parameter of a stack. `resolved` is what an SSM parameter held when the operation began.

    `hidden`: a nested stack was given what its parent does not show.

    `unknown`, in change sets of nested stacks only: the value depends on what does not exist yet, and `value` is
    what stands in for it.
    """

    key: str
    value: str
    resolved: str | None = None
    hidden: bool = False
    unknown: bool = False

    @property
    def effective(self) -> str:
        return self.value if self.resolved is None else self.resolved


@record(frozen=True, slots=True)
class Spec:
    """What the user asked for: everything that one create or update hands over.

    `body` is the template as the engine works with it, `original` as it was sent where transforms have changed it.
    `trouble` is what AWS would only find once the operation has begun: a transform that fails, a parameter that
    names what does not exist.
    """

    body: str
    parameters: tuple[Value, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    capabilities: tuple[str, ...] = ()
    notifications: tuple[str, ...] = ()
    role: str = ""
    rollback: Params = field(default_factory=dict)
    original: str = ""
    trouble: str = ""
    # What parameters of the store held when the operation began, by `name` or `name:version`.
    stored: dict[str, str] = field(default_factory=dict)

    @property
    def sent(self) -> str:
        """The template as its user sent it."""
        return self.original or self.body


@record(frozen=True, slots=True)
class Output:
    key: str
    value: str
    description: str = ""
    export: str = ""


@record(frozen=True, slots=True)
class Stack:
    """One stack. `operation` names the running (or last) pass over its resources.

    During an update `spec` is the wanted state and `previous` the one to go back to. `skip` are the resources that
    a continued rollback leaves as they are; `force` lets it leave all that fail, and lets a deletion do so.
    `policy` is the stack policy, `policy_override` the one that stands in for it during one update.
    `monitored_until` is when the time ends in which alarms are watched after the last resource.
    `parent` and `root` are the stacks that a nested stack belongs to; while it is `held` it can still turn back
    with its parent after its own update. `nested_sets` are the change sets of the running (or last) operation's
    nested stacks, by logical id.
    """

    id: str
    region: str
    account: str
    name: str
    status: StackStatus
    spec: Spec
    created: float
    reason: str = ""
    previous: Spec | None = None
    updated: float | None = None
    deleted: float | None = None
    outputs: tuple[Output, ...] = ()
    description: str = ""
    termination_protection: bool = False
    disable_rollback: bool = False
    on_failure: str = "ROLLBACK"
    timeout_minutes: int | None = None
    operation: str = ""
    started: float = 0.0
    token: str = ""
    change_set: str = ""
    retain: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    caller_arn: str = ""
    caller_role: str = ""
    endpoint: str = ""
    cancelled: bool = False
    skip: tuple[str, ...] = ()
    force: bool = False
    retain_except_on_create: bool = False
    express: bool = False
    policy: str = ""
    policy_override: str = ""
    monitored_until: float = 0.0
    parent: str = ""
    root: str = ""
    held: bool = False
    nested_sets: dict[str, str] = field(default_factory=dict)


@record(frozen=True, slots=True)
class Applied:
    """What a physical resource was last made to be.

    `properties` are evaluated, with dynamic references still in their literal form; `name` is the one chosen
    for the physical resource, by which it is found again if its identifier was never learned. `masked` are the
    properties as they are shown, if they hold a secret; `hidden` says that the attributes are secrets.
    """

    physical_id: str = ""
    name: str = ""
    properties: Params = field(default_factory=dict)
    attributes: Params = field(default_factory=dict)
    metadata: Params = field(default_factory=dict)
    tags: tuple[tuple[str, str], ...] = ()
    dependencies: tuple[str, ...] = ()
    deletion_policy: str = "Delete"
    replace_policy: str = "Delete"
    state: Params = field(default_factory=dict)
    creation_policy: Params = field(default_factory=dict)
    update_policy: Params = field(default_factory=dict)
    # What the dynamic references in `properties` to the parameter store stood for, as far as that was known
    # when the operation began.
    stored: dict[str, str] = field(default_factory=dict)
    masked: Params | None = None
    hidden: bool = False

    @property
    def shown(self) -> Params:
        """The properties as events show them."""
        return self.properties if self.masked is None else self.masked


class Kind(StrEnum):
    """What a step does to its resource."""

    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    DELETE = "delete"


class Phase(StrEnum):
    """How far a step has come. A step found in CALL after a restart may or may not have been carried out."""

    CHECK = "check"
    CALL = "call"
    SETTLE = "settle"


@record(frozen=True, slots=True)
class Step:
    """The intent of one piece of work on one resource, written before the service is called.

    `progress` is what a wait for signals or a rolling update has come to.
    """

    kind: Kind
    phase: Phase
    target: Applied
    token: str
    started: float
    due: float = 0.0
    polls: int = 0
    attempts: int = 0
    shown: Params = field(default_factory=dict)
    progress: Params = field(default_factory=dict)


@record(frozen=True, slots=True)
class Resource:
    """A logical resource of a stack.

    `touched` says that the current update changed it; `previous` is then what it was, None if it is new.
    """

    stack_id: str
    logical_id: str
    type: str
    status: ResourceStatus
    changed: float
    applied: Applied
    reason: str = ""
    operation: str = ""
    step: Step | None = None
    touched: bool = False
    previous: Applied | None = None


@record(frozen=True, slots=True)
class Leftover:
    """A physical resource to be removed in the clean-up phase of an update or of its rollback.

    `whole` says that the logical resource goes with it; otherwise it was only replaced.
    """

    number: int
    stack_id: str
    logical_id: str
    type: str
    applied: Applied
    whole: bool
    policy: str
    step: Step | None = None
    attempts: int = 0


@record(frozen=True, slots=True)
class Event:
    id: str
    stack_id: str
    stack_name: str
    logical_id: str
    physical_id: str
    type: str
    time: float
    status: str
    reason: str = ""
    properties: str = ""
    token: str = ""


class ChangeSetStatus(StrEnum):
    CREATE_COMPLETE = "CREATE_COMPLETE"
    FAILED = "FAILED"


class ExecutionStatus(StrEnum):
    UNAVAILABLE = "UNAVAILABLE"
    AVAILABLE = "AVAILABLE"
    EXECUTE_IN_PROGRESS = "EXECUTE_IN_PROGRESS"
    EXECUTE_COMPLETE = "EXECUTE_COMPLETE"
    EXECUTE_FAILED = "EXECUTE_FAILED"
    OBSOLETE = "OBSOLETE"


@record(frozen=True, slots=True)
class ChangeSet:
    """A plan waiting to be executed, with the values it was made from.

    `followers` are listed only as long as no property values are asked for (`changes.may_follow`), and
    `warning` is only told where they are. `imports` are the resources to be imported: logical id, type, physical
    id and name of each.

    `nested` says that nested stacks have change sets of their own, `inner` which: ids by logical id. Those have a
    `parent` and a `root`, the ids of change sets too. `settled`: what the stack inside is asked for was known in
    full, so that the specification can be executed as it stands.
    """

    id: str
    name: str
    stack_id: str
    stack_name: str
    kind: str
    status: ChangeSetStatus
    execution: ExecutionStatus
    created: float
    spec: Spec
    changes: tuple[Params, ...] = ()
    reason: str = ""
    description: str = ""
    on_stack_failure: str = ""
    hidden: bool = False
    followers: tuple[Params, ...] = ()
    warning: str = ""
    imports: tuple[tuple[str, str, str, str], ...] = ()
    deployment: Params = field(default_factory=dict)
    imports_existing: bool = False
    client_token: str = ""
    nested: bool = False
    inner: dict[str, str] = field(default_factory=dict)
    parent: str = ""
    root: str = ""
    settled: bool = True


MIGRATIONS = (
    """
    CREATE TABLE cfn_stack (
        id TEXT PRIMARY KEY, region TEXT NOT NULL, name TEXT NOT NULL, status TEXT NOT NULL,
        created REAL NOT NULL, record TEXT NOT NULL
    );
    CREATE UNIQUE INDEX cfn_stack_live ON cfn_stack (region, name) WHERE status <> 'DELETE_COMPLETE';
    CREATE TABLE cfn_resource (
        stack_id TEXT NOT NULL, logical_id TEXT NOT NULL, type TEXT NOT NULL, physical_id TEXT NOT NULL,
        status TEXT NOT NULL, record TEXT NOT NULL, PRIMARY KEY (stack_id, logical_id)
    );
    CREATE INDEX cfn_resource_physical ON cfn_resource (physical_id);
    CREATE TABLE cfn_leftover (
        number INTEGER PRIMARY KEY AUTOINCREMENT, stack_id TEXT NOT NULL, record TEXT NOT NULL
    );
    CREATE INDEX cfn_leftover_stack ON cfn_leftover (stack_id);
    CREATE TABLE cfn_event (
        number INTEGER PRIMARY KEY AUTOINCREMENT, stack_id TEXT NOT NULL, id TEXT NOT NULL,
        stack_name TEXT NOT NULL, logical_id TEXT NOT NULL, physical_id TEXT NOT NULL, type TEXT NOT NULL,
        time REAL NOT NULL, status TEXT NOT NULL, reason TEXT NOT NULL, properties TEXT NOT NULL,
        token TEXT NOT NULL
    );
    CREATE INDEX cfn_event_stack ON cfn_event (stack_id, number);
    CREATE TABLE cfn_change_set (
        id TEXT PRIMARY KEY, stack_id TEXT NOT NULL, name TEXT NOT NULL, created REAL NOT NULL,
        hidden INTEGER NOT NULL, record TEXT NOT NULL
    );
    CREATE INDEX cfn_change_set_stack ON cfn_change_set (stack_id, name);
    CREATE TABLE cfn_export (
        region TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, stack_id TEXT NOT NULL,
        PRIMARY KEY (region, name)
    );
    CREATE TABLE cfn_import (
        region TEXT NOT NULL, name TEXT NOT NULL, stack_id TEXT NOT NULL, PRIMARY KEY (region, name, stack_id)
    );
    CREATE TABLE cfn_token (
        region TEXT NOT NULL, stack_id TEXT NOT NULL, token TEXT NOT NULL, operation TEXT NOT NULL,
        PRIMARY KEY (region, stack_id, token)
    );
    """,
    "CREATE INDEX cfn_event_id ON cfn_event (id);",
    "DROP INDEX cfn_event_id; CREATE UNIQUE INDEX cfn_event_id ON cfn_event (id, stack_id);",
    "DROP INDEX cfn_event_id; CREATE UNIQUE INDEX cfn_event_id ON cfn_event (stack_id, id);",
)
