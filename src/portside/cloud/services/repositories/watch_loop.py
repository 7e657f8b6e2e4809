"""Notices commits and tags in the checkouts that somebody is interested in.

One key per bound repository. A turn first asks for the checkout's mark, which costs a few looks at files; only
when it has changed git is asked for the references. What changed is told to the listener in the same transaction
that writes down the references seen, so that nothing is told twice and nothing is lost, whenever the cloud is
killed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database, Transaction
from portside.cloud.kernel.log import Log
from portside.cloud.kernel.loop import After, Done, Loop, TurnResult
from portside.cloud.machine.repositories import RepositoryError, Watched
from portside.cloud.services.repositories import records

EVERY = 0.25
UNREADABLE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Push:
    """A reference that moved or is new. `files` are those that differ from before, None if that cannot be told."""

    repository: str
    ref: str
    commit: str
    files: tuple[str, ...] | None = None


Listener = Callable[[Transaction, list[Push]], None]


class WatchLoop:
    """`wanted` answers the names of the repositories that matter, in any spelling."""

    def __init__(
        self, *, database: Database, clock: Clock, log: Log, repositories: Watched, every: float = EVERY
    ) -> None:
        self._db = database
        self._log = log.bind(service="repositories")
        self._repositories = repositories
        self._every = every
        self._marks: dict[str, str] = {}
        self._listeners: list[Listener] = []
        self._wanted: list[Callable[[], set[str]]] = []
        self.loop = Loop("repositories", self.turn, clock, log)

    def listen(self, listener: Listener, wanted: Callable[[], set[str]]) -> None:
        self._listeners.append(listener)
        self._wanted.append(wanted)

    def wake(self) -> None:
        """Bindings or interests have changed."""
        for each in records.bindings(self._db):
            self._marks.pop(each.key, None)
            self.loop.wake(each.key)

    async def turn(self, key: str) -> TurnResult:
        binding = records.binding(self._db, key)
        if binding is None or not self._listeners:
            return Done()
        if not any(key in {name.lower() for name in wanted()} for wanted in self._wanted):
            if binding.watched:
                with self._db.write() as tx:
                    records.save(tx, replace(binding, watched=False))
            return Done()
        mark = await self._repositories.mark(binding.path)
        if mark and mark == self._marks.get(key):
            return After(self._every)
        try:
            refs = await self._repositories.refs(binding.path)
            pushes = await self._pushes(binding, refs)
        except RepositoryError as error:
            self._log.warning(
                "repository cannot be read", name=binding.name, path=binding.path, error=error.reason
            )
            return After(UNREADABLE_SECONDS)
        if refs != binding.refs or not binding.watched:
            with self._db.write() as tx:
                present = records.binding(tx, key)
                if present is None or present.path != binding.path or present.refs != binding.refs:
                    return After(0.0)
                records.save(tx, replace(binding, refs=refs, watched=True))
                if pushes:
                    for listener in self._listeners:
                        listener(tx, pushes)
        self._marks[key] = mark
        return After(self._every)

    async def _pushes(self, binding: records.Binding, refs: dict[str, str]) -> list[Push]:
        if not binding.watched:
            # What happened before anybody was interested is no push.
            return []
        return [
            Push(binding.name, ref, commit, await self._files(binding, ref, commit))
            for ref, commit in sorted(refs.items())
            if binding.refs.get(ref) != commit
        ]

    async def _files(self, binding: records.Binding, ref: str, commit: str) -> tuple[str, ...] | None:
        old = binding.refs.get(ref)
        if old is None or not ref.startswith("refs/heads/"):
            return None
        try:
            return tuple(await self._repositories.changed(binding.path, old, commit))
        except RepositoryError:
            # The old commit may be gone, after a forced push and a clean-up.
            return None
