"""Types that are one thing of one service: made, read, changed and deleted by an operation each.

Owns `Declared`, a handler that is told the operations and how they name the resource, and does the rest by the
shapes of their parameters. A property that none of the operations takes is refused by name, and so is a change
that none of them can make. Most types of the ancillary services are declared this way; see
docs/decisions/0023-resource-types.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from portside.cloud.protocol.errors import AwsError
from portside.cloud.protocol.models import model
from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.handler import Failure, Handler, Work
from portside.cloud.services.cloudformation.resources.shapes import lost, request, text


@dataclass(frozen=True, slots=True)
class Call:
    """One operation. `names` are the parameters that say which resource is meant, with values of the forms
    `$id`, `$name`, `$token`, `@Property` and `=literal`; `path` leads to what the answer is read for."""

    operation: str
    names: Mapping[str, str] = field(default_factory=dict)
    path: str = ""
    # Whether it is to be given those properties alone that differ, where it changes something.
    partial: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """How a resource without a name of its own is found among others: in the answer of `call`, a list of items
    whose `key` is the physical id, by members that equal properties. Unless such a resource is `unique`, only
    one that was not there before the call counts."""

    call: Call
    key: str
    matches: Mapping[str, str] = field(default_factory=dict)
    unique: bool = False


@dataclass(frozen=True, slots=True)
class Tagging:
    """The operations that tag and untag, and the parameter that takes what is tagged: the physical id, or `arn`,
    which is an attribute or a pattern such as `arn:aws:iot:{region}:{account}:thingtype/{id}`. `more` are
    parameters that both want besides."""

    tag: str
    untag: str
    target: str
    arn: str = ""
    keys: str = "TagKeys"
    tags: str = "Tags"
    more: Mapping[str, str] = field(default_factory=dict)


def at(value: Any, path: str) -> Any:
    """`A.0.B` in an answer; None where there is nothing."""
    for part in path.split(".") if path else []:
        if isinstance(value, list):
            value = value[int(part)] if part.isdigit() and int(part) < len(value) else None
        else:
            value = value.get(part) if isinstance(value, Mapping) else None
    return value


class Declared(Handler):
    service: ClassVar[str]
    creates: ClassVar[Call]
    reads: ClassVar[Call | None] = None
    looks: ClassVar[Call | None] = None
    listing: ClassVar[Listing | None] = None
    # What changes it in place, and what completes it when it is new and changes it as well.
    updates: ClassVar[tuple[Call, ...]] = ()
    further: ClassVar[tuple[Call, ...]] = ()
    deletes: ClassVar[Call]
    renamed: ClassVar[Mapping[str, str]] = {}
    # GetAtt's attributes by their paths in what `reads` finds; `$id` is the physical id.
    outputs: ClassVar[Mapping[str, str]] = {}
    # The physical id, where the answer of `creates` does not hold it.
    identifier: ClassVar[str] = ""
    tagging: ClassVar[Tagging | None] = None
    tags_property: ClassVar[str] = "Tags"
    # What is sent in the place of a property that a template no longer has.
    absent: ClassVar[Mapping[str, Any]] = {}
    # Where `reads` finds the state, the states in which the resource is complete, and the hopeless ones.
    state_path: ClassVar[str] = ""
    complete: ClassVar[frozenset[str]] = frozenset()
    hopeless: ClassVar[frozenset[str]] = frozenset()

    def given(self, properties: Params) -> Params:
        """The properties in the form in which the operations take them; a type with other forms overrides it."""
        return properties

    def refuse(self, properties: Params) -> None:
        super().refuse(properties)
        left = self._left(properties)
        if left:
            raise self.not_offered(left)

    def _left(self, properties: Params) -> list[str]:
        """What no operation takes of the properties."""
        given = self._plain(self.given(properties))
        missed = [
            lost(self.service, each.operation, given, self.renamed) for each in (self.creates, *self.further)
        ]
        return [path for path in missed[0] if all(_covers(each, path) for each in missed[1:])]

    def _plain(self, given: Params) -> Params:
        special = {self.tags_property, self.name_property}
        return {name: value for name, value in given.items() if name not in special}

    def _takes(self, call: Call, name: str) -> bool:
        if name in (self.tags_property, self.name_property):
            return False
        return not lost(self.service, call.operation, {name: None}, self.renamed)

    def _names(self, work: Work, call: Call, identifier: str) -> Params:
        found: Params = {}
        for member, source in call.names.items():
            match source[0]:
                case "$":
                    found[member] = {"$id": identifier, "$name": work.name, "$token": work.token}[source]
                case "@":
                    found[member] = at(work.properties, source[1:])
                case _:
                    found[member] = source.removeprefix("=")
        return {member: value for member, value in found.items() if value is not None}

    async def _ask(self, work: Work, call: Call, identifier: str = "", **more: Any) -> Any:
        params = more | self._names(work, call, identifier or work.physical_id)
        return at(await work.call(self.service, call.operation, params), call.path)

    # Finding

    async def baseline(self, work: Work) -> Params:
        if self.listing is None or self.listing.unique or work.physical_id:
            return {}
        return {"known": await self._listed(work, self.listing)}

    async def _listed(self, work: Work, listing: Listing) -> list[str]:
        try:
            items = await self._ask(work, listing.call) or []
        except AwsError as error:
            if self.missing(error):
                return []
            raise
        wanted = self._names(work, Call("", listing.matches), "")
        return [
            str(at(each, listing.key))
            for each in items
            if all(text(at(each, member)) == text(value) for member, value in wanted.items())
        ]

    def may_exist(self, work: Work) -> bool:
        return self.listing is not None or super().may_exist(work)

    async def find(self, work: Work) -> str | None:
        if self.listing is not None:
            if not self.listing.unique and "known" not in work.state:
                return None
            known = [] if self.listing.unique else work.state["known"]
            fresh = [each for each in await self._listed(work, self.listing) if each not in known]
            return fresh[0] if fresh else None
        call = self.looks or self.reads
        if call is None or not work.name:
            return None
        try:
            found = await self._ask(work, call, work.name)
        except AwsError as error:
            if self.missing(error):
                return None
            raise
        if not found:
            return None
        return str(found) if self.looks is not None else work.name

    # Making

    async def create(self, work: Work) -> tuple[str, Params]:
        operation = self.creates.operation
        params = request(self.service, operation, self._plain(self.given(work.properties)), self.renamed)
        params |= self._tags(work) | self._names(work, self.creates, "")
        made = await work.call(self.service, operation, params)
        return self._identify(work, made), {}

    def _identify(self, work: Work, made: Params) -> str:
        if self.creates.path:
            found = at(made, self.creates.path)
            if found is None:
                raise Failure(f"{self.creates.operation} did not say what it made.", "ServiceInternalError")
            return str(found)
        if self.identifier:
            names = self._names(work, Call("", {str(n): each for n, each in enumerate(self._parts)}), "")
            return "|".join(str(each) for each in names.values())
        return work.name

    @cached_property
    def _parts(self) -> list[str]:
        return self.identifier.split("|")

    def own_tags(self, work: Work) -> dict[str, str]:
        own = work.properties.get(self.tags_property)
        if isinstance(own, Mapping):
            own = [{"Key": key, "Value": value} for key, value in own.items()]
        return work.all_tags(own, system=False) if self.tagged or own else {}

    def _tags(self, work: Work) -> Params:
        """The tags, as the operation that creates takes them."""
        tags = self.own_tags(work)
        described = model(self.service)
        assert described is not None
        shape = described.operation_model(self.creates.operation).input_shape
        assert shape is not None
        member = next((each for each in ("Tags", "tags", "TagList") if each in shape.members), None)
        if not tags or member is None:
            return {}
        return {member: self._as(shape.members[member], tags)}

    def _as(self, shape: Any, tags: Mapping[str, str]) -> Any:
        if shape.type_name == "map":
            return dict(tags)
        key, value = sorted(shape.member.members)[:2]
        return [{key: name, value: content} for name, content in tags.items()]

    async def configure(self, work: Work) -> None:
        given = self._plain(self.given(work.properties))
        for call in self.further:
            if any(self._takes(call, name) for name in given):
                await self._apply(work, call, given)

    async def _apply(self, work: Work, call: Call, given: Params) -> None:
        params = request(self.service, call.operation, given, self.renamed)
        await work.call(self.service, call.operation, params | self._names(work, call, work.physical_id))

    async def settled(self, work: Work) -> bool:
        if not self.complete or self.reads is None:
            return True
        state = str(at(await self._ask(work, self.reads), self.state_path))
        if state in self.hopeless:
            raise Failure(f"{work.physical_id} is in state {state}.", "NotStabilized")
        return state in self.complete

    async def read(self, work: Work) -> Params:
        if not self.outputs:
            return {}
        found = await self._ask(work, self.reads) if self.reads is not None else {}
        answers = {
            name: work.physical_id if path == "$id" else at(found, path) for name, path in self.outputs.items()
        }
        return {name: value for name, value in answers.items() if value is not None}

    async def update(self, work: Work) -> Params:
        given, old = self._plain(self.given(work.properties)), self._plain(self.given(work.old))
        changed = {name for name in {*given, *old} if given.get(name) != old.get(name)}
        calls = (*self.updates, *self.further)
        stuck = {name for name in changed if not any(self._takes(call, name) for call in calls)}
        stuck |= {name for name in changed if name not in given and name not in self.absent}
        if stuck:
            raise self.not_changeable(stuck)
        sent = given | {name: self.absent[name] for name in changed if name not in given}
        for call in calls:
            if any(self._takes(call, name) for name in changed):
                chosen = {name: value for name, value in sent.items() if name in changed} if call.partial else sent
                await self._apply(work, call, chosen)
        await self._retag(work)
        return {}

    def not_changeable(self, names: Iterable[str]) -> Failure:
        message = f"portside's local cloud cannot change {', '.join(sorted(names))} of {self.type} in place."
        return Failure(message, "NotUpdatable")

    async def _retag(self, work: Work) -> None:
        before = work.old.get(self.tags_property) or []
        wanted = self.own_tags(work)
        stale = [key for key in _keys(before) if key not in wanted]
        if before == (work.properties.get(self.tags_property) or []) and not self.tagged:
            return
        tagging = self.tagging
        if tagging is None:
            if before != (work.properties.get(self.tags_property) or []):
                raise Failure(f"portside's local cloud cannot change the tags of {self.type}.", "NotUpdatable")
            return
        target = await self._tagged(work, tagging)
        described = model(self.service)
        assert described is not None
        shape = described.operation_model(tagging.tag).input_shape
        assert shape is not None
        if wanted:
            tags = self._as(shape.members[tagging.tags], wanted)
            await work.call(self.service, tagging.tag, target | {tagging.tags: tags})
        if stale:
            await work.call(self.service, tagging.untag, target | {tagging.keys: stale})

    async def _tagged(self, work: Work, tagging: Tagging) -> Params:
        found = work.physical_id
        if ":" in tagging.arn:
            caller = work.caller
            found = tagging.arn.format(region=caller.region, account=caller.account, id=work.physical_id)
        elif tagging.arn:
            found = str((await self.read(work))[tagging.arn])
        return {tagging.target: found, **tagging.more}

    async def delete(self, work: Work) -> None:
        await self._ask(work, self.deletes)


def _keys(tags: Any) -> list[str]:
    return list(tags) if isinstance(tags, Mapping) else [each["Key"] for each in tags]


def _covers(missed: list[str], path: str) -> bool:
    """Whether the operation that missed these paths misses this one."""
    return any(path == each or path.startswith(f"{each}/") for each in missed)
