"""What a resource type must be able to do, and what it is told.

Owns `Handler`, the base of every type, `Work`, one job on one resource, and which answers of a service mean
"missing" or "exists". A handler calls the public API of one AWS service and keeps nothing; when its methods are
called, and what is written down in between, is decided in `steps.py` of the service's folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from typing import Any, ClassVar

from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.record import record, replace
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls, Params
from portside.cloud.services.cloudformation.resources.naming import NameStyle

SYSTEM_PREFIX = "aws:"


class Failure(Exception):
    """The resource cannot become what it should: `code` is a HandlerErrorCode."""

    def __init__(self, message: str, code: str = "GeneralServiceException") -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class PlainFailure(Failure):
    """The message is the event's reason as it stands."""


class Foreign(Exception):
    """A resource of that name is there already, and not ours. A stack never adopts it."""

    def __init__(self, identifier: str) -> None:
        super().__init__(identifier)
        self.identifier = identifier


@record(frozen=True, slots=True)
class Work:
    """One job on one resource. `properties` are final: evaluated, fitted, dynamic references replaced.

    `state` is what the handler noted down before or after calling the service; it survives a restart.
    `old` holds the properties before an update.
    """

    calls: Calls
    caller: Caller
    stack_name: str
    stack_id: str
    logical_id: str
    properties: Params
    tags: Mapping[str, str]
    name: str = ""
    physical_id: str = ""
    token: str = ""
    state: Params = field(default_factory=dict)
    old: Params = field(default_factory=dict)
    update_policy: Params = field(default_factory=dict)
    # An update that puts the resource back to what it was.
    rolls_back: bool = False
    # The type as the template has it, and what has been answered to a request.
    type: str = ""
    answer: Callable[[str], str | None] = lambda request: None
    # What its stack does not show of the attributes of its resources.
    secrets: Callable[[], list[str]] = list

    async def call(self, service: str, operation: str, params: Params) -> Params:
        return await self.calls(service, operation, params, self.caller)

    def noted(self, **state: Any) -> Work:
        return replace(self, state=self.state | state)

    def all_tags(self, own: Any = None, *, system: bool = True) -> dict[str, str]:
        """The tags of the resource itself over those of its stack and the automatic ones."""
        mine = {each["Key"]: str(each.get("Value", "")) for each in own or self.properties.get("Tags") or []}
        found = dict(self.tags) | mine
        return (
            found if system else {key: value for key, value in found.items() if not key.startswith(SYSTEM_PREFIX)}
        )

    def tag_list(self, *, system: bool = True, key: str = "Key", value: str = "Value") -> list[dict[str, str]]:
        return [{key: name, value: text} for name, text in self.all_tags(system=system).items()]


class Handler:
    """One resource type. The defaults suit a type that is complete as soon as it is created."""

    type: ClassVar[str]
    # The property by which a user may name the physical resource, and how a name is made up otherwise.
    name_property: ClassVar[str] = ""
    name_style: ClassVar[NameStyle | None] = None
    # Whether a second resource of that name is impossible. A family, for one, has many task definitions.
    name_is_unique: ClassVar[bool] = True
    # Attributes that may change when the resource is updated in place, and those the schema does not list.
    volatile: ClassVar[frozenset[str]] = frozenset()
    attributes: ClassVar[frozenset[str]] = frozenset()
    # Whether the tags of the stack are handed on.
    tagged: ClassVar[bool] = False
    # Whether only the end of the wait tells the physical id and the attributes; it is waited for in any mode.
    answers_late: ClassVar[bool] = False
    # Properties of AWS's that this cloud does not offer, with the reason why if there is more to say.
    unoffered: ClassVar[Mapping[str, str]] = {}
    # The property that names a resource which this one adds to, so that its attributes are others afterwards.
    extends: ClassVar[str] = ""
    # How long the resource may take to become stable, and how long to go away.
    stable_within: ClassVar[float] = 3600.0
    gone_within: ClassVar[float] = 3600.0

    def choose_name(self, ids: Ids, stack_name: str, logical_id: str, properties: Params) -> str:
        """The physical name, decided before the service is called, so that it can be found again."""
        given = properties.get(self.name_property) if self.name_property else None
        if isinstance(given, str) and given:
            return given
        return self.name_style.make(ids, stack_name, logical_id) if self.name_style else ""

    def refuse(self, properties: Params) -> None:
        """Raises Failure for a property that would have no effect here. Asked before anything is called."""
        # What is switched off asks for nothing.
        refused = [name for name in properties if name in self.unoffered and properties[name] is not False]
        if refused:
            raise self.not_offered(refused, self.unoffered[refused[0]])

    def not_offered(self, names: Iterable[str], why: str = "") -> Failure:
        message = f"portside's local cloud does not offer {', '.join(sorted(names))} of {self.type}"
        return Failure(f"{message}: {why}" if why else f"{message}.", "InvalidRequest")

    def replaces(self, old: Params, new: Params) -> bool:
        """For properties that the schema calls conditionally create-only."""
        return False

    async def find(self, work: Work) -> str | None:
        """The physical id of the resource by its name, None if there is none. Asked before creating, where an
        answer means that somebody else's is in the way, and after a crash, where it means that ours is there."""
        return None

    def may_exist(self, work: Work) -> bool:
        """Whether somebody else's can have the name. One that was made up ends in letters drawn at random."""
        made_up = self.name_style is not None and self.name_property and self.name_property not in work.properties
        return not made_up

    async def baseline(self, work: Work) -> Params:
        """What to note down before creating or updating, for types that `find` cannot tell apart by name."""
        return {}

    async def create(self, work: Work) -> tuple[str, Params]:
        """One call that makes the resource; the physical id and what to note down."""
        raise NotImplementedError

    async def configure(self, work: Work) -> None:
        """The further calls that complete a new resource. May run twice."""

    def complete_at_once(self, work: Work) -> bool:
        """Whether no call has to follow the one that makes the resource."""
        return type(self).configure is Handler.configure

    def known(self, work: Work) -> Params | None:
        """The attributes of a resource that has just been made, if the answer told that it is complete; None if
        the service has to be asked."""
        return None

    def identified(self, work: Work) -> str:
        """The physical id of a resource that has settled, for types that learn it late."""
        return work.physical_id

    def hides(self, work: Work) -> bool:
        """Whether the attributes are shown nowhere but in outputs, for types that learn it late."""
        return False

    def limit(self, work: Work) -> float:
        """Seconds within which the resource has to be stable."""
        return self.stable_within

    def leaves_within(self, work: Work) -> float:
        """Seconds within which it has to be gone."""
        return self.gone_within

    def out_of_time(self, work: Work) -> Failure:
        """What it fails with if it is not."""
        return Failure("Exceeded attempts to wait", "NotStabilized")

    async def settled(self, work: Work) -> bool:
        """Whether the resource is stable; raises Failure if it never will be."""
        return True

    async def read(self, work: Work) -> Params:
        """The attributes for GetAtt."""
        return {}

    async def update(self, work: Work) -> Params:
        """Make the resource have `work.properties`. May run twice. Returns what to note down."""
        raise Failure(f"{self.type} cannot be updated in place", "NotUpdatable")

    async def delete(self, work: Work) -> None:
        """Begin to remove; a missing resource is no error (see `missing`)."""
        raise NotImplementedError

    async def gone(self, work: Work) -> bool:
        return True

    def missing(self, error: AwsError) -> bool:
        return is_missing(error)


async def optional(work: Work, service: str, operation: str, params: Params) -> Params:
    """What may not be configured at all, which services call an error; empty then."""
    try:
        return await work.call(service, operation, params)
    except AwsError as error:
        if is_missing(error) or error.code.startswith("NoSuch") or "NotFound" in error.code:
            return {}
        raise


_MISSING_ENDINGS = (
    "NotFound",
    "NotFoundException",
    "DoesNotExist",
    "DoesNotExistException",
    "NonExistentQueue",
    "NotFoundFault",
)
_MISSING = frozenset(
    {
        "NoSuchEntity", "NoSuchBucket", "NoSuchBucketPolicy", "404", "ServiceNotActiveException",
        "InvalidGroupId.Malformed", "NoSuchTagSet", "InactiveServiceException",
    }
)  # fmt: skip
_EXISTS_ENDINGS = ("AlreadyExists", "AlreadyExistsException", "Duplicate", "DuplicateName", "AlreadyExistsFault")
_EXISTS = frozenset(
    {
        "EntityAlreadyExists", "BucketAlreadyExists", "BucketAlreadyOwnedByYou", "DuplicateLoadBalancerName",
        "DuplicateTargetGroupName", "DuplicateListener", "PriorityInUse", "ParameterAlreadyExists",
    }
)  # fmt: skip
_THROTTLED = frozenset(
    {"Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException", "SlowDown"}
)
_CODES = {
    "AccessDenied": "AccessDenied",
    "AccessDeniedException": "AccessDenied",
    "UnauthorizedOperation": "AccessDenied",
    "LimitExceeded": "ServiceLimitExceeded",
    "TooManyCertificates": "ServiceLimitExceeded",
    "LimitExceededException": "ServiceLimitExceeded",
    "ResourceInUse": "ResourceConflict",
    "ResourceInUseException": "ResourceConflict",
    "DependencyViolation": "ResourceConflict",
    "DeleteConflict": "ResourceConflict",
    "ClusterContainsContainerInstancesException": "ResourceConflict",
    "ClusterContainsServicesException": "ResourceConflict",
    "ClusterContainsTasksException": "ResourceConflict",
    "UpdateInProgressException": "ResourceConflict",
    "ScalingActivityInProgress": "ResourceConflict",
    "NotImplemented": "UnsupportedTarget",
}


def is_missing(error: AwsError) -> bool:
    if error.code in _MISSING or error.code.endswith(_MISSING_ENDINGS):
        return True
    # Auto Scaling and some others say it in words only.
    text = error.message.lower()
    return error.code in ("ValidationError", "ValidationException") and (
        "not found" in text or "does not exist" in text or "doesn't exist" in text
    )


def is_existing(error: AwsError) -> bool:
    return error.code in _EXISTS or error.code.endswith(_EXISTS_ENDINGS)


def passing(error: AwsError) -> bool:
    """Worth another attempt."""
    return error.code in _THROTTLED or error.status in (500, 502, 503, 504)


def error_code(error: AwsError) -> str:
    """The HandlerErrorCode for a service's error."""
    if is_existing(error):
        return "AlreadyExists"
    if is_missing(error):
        return "NotFound"
    if error.code in _THROTTLED:
        return "Throttling"
    if error.code in _CODES:
        return _CODES[error.code]
    return "ServiceInternalError" if error.status >= 500 else "InvalidRequest"
