"""Git repositories on this machine, as the services see them.

Owns the vocabulary: what is read from a checkout, and how reading fails. `git.py` reads real ones with git itself;
nothing is ever written to them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

# Path of the checkout that is bound to a repository's name (OWNER/REPO, or a CodeCommit name); None if none is.
Bound = Callable[[str], str | None]


class RepositoryError(Exception):
    """A checkout cannot be read, or lacks what was asked for. `reason` is a sentence."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit. Dates in ISO 8601, UTC (`2026-11-25T12:00:00Z`); `author` is the name alone."""

    id: str
    message: str
    author: str
    author_date: str
    committer_date: str


class Repositories(Protocol):
    """Reading checkouts. Every call has a time limit and raises only RepositoryError."""

    async def refs(self, path: str) -> dict[str, str]:
        """Commit ids by full name (`refs/heads/main`, `refs/tags/v1`; annotated tags peeled)."""
        ...

    async def resolve(self, path: str, revision: str) -> str:
        """The commit id of a branch, tag or (short) commit id."""
        ...

    async def commit(self, path: str, commit: str) -> Commit: ...

    async def changed(self, path: str, old: str, new: str) -> list[str]:
        """Paths of the files that differ between two commits."""
        ...

    async def archive(self, path: str, commit: str, target: Path) -> None:
        """Write the tree of a commit as a zip archive to `target`."""
        ...

    async def clone(self, path: str, commit: str, target: Path, depth: int = 0) -> None:
        """Clone into the directory `target` with `commit` checked out; `depth` 0 is the whole history."""
        ...


class Watched(Repositories, Protocol):
    """Repositories whose changes can be noticed."""

    async def mark(self, path: str) -> str:
        """Changes whenever a branch or tag may have; cheap enough to ask several times a second. Empty if there is
        no repository."""
        ...
