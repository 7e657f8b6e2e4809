"""Git repositories in memory: for tests of what follows a commit.

`repositories.commit_files("/path", {"app.js": b"..."}, message="...")` moves a branch and answers the commit's id.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from portside.cloud.machine.repositories import Commit, RepositoryError


@dataclass
class _Checkout:
    refs: dict[str, str] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)
    trees: dict[str, dict[str, bytes]] = field(default_factory=dict)


class FakeRepositories:
    """Implements `Repositories` and `Watched`. A path exists as soon as something is committed to it."""

    def __init__(self) -> None:
        self._checkouts: dict[str, _Checkout] = {}
        self.reads = 0

    def commit_files(
        self,
        path: str,
        files: Mapping[str, bytes],
        *,
        branch: str = "main",
        message: str = "A change",
        author: str = "Ada",
        date: str = "2026-01-31T12:00:00Z",
    ) -> str:
        """A commit on top of the branch that holds the files of the one before and these."""
        checkout = self._checkouts.setdefault(path, _Checkout())
        before = checkout.refs.get(f"refs/heads/{branch}", "")
        tree = dict(checkout.trees.get(before, {})) | dict(files)
        seed = repr((before, sorted(tree.items()), message, author, date, len(checkout.commits)))
        made = hashlib.sha1(seed.encode(), usedforsecurity=False).hexdigest()
        checkout.commits[made] = Commit(made, message, author, date, date)
        checkout.trees[made] = tree
        checkout.refs[f"refs/heads/{branch}"] = made
        return made

    def tag(self, path: str, name: str, commit: str) -> None:
        self._checkouts[path].refs[f"refs/tags/{name}"] = commit

    def drop(self, path: str, ref: str) -> None:
        """Remove a reference, `refs/heads/old` for one."""
        self._checkouts[path].refs.pop(ref, None)

    def _at(self, path: str) -> _Checkout:
        self.reads += 1
        found = self._checkouts.get(path)
        if found is None:
            raise RepositoryError(f"{path} is not a git repository")
        return found

    async def mark(self, path: str) -> str:
        found = self._checkouts.get(path)
        return "" if found is None else repr(sorted(found.refs.items()))

    async def refs(self, path: str) -> dict[str, str]:
        return dict(self._at(path).refs)

    async def resolve(self, path: str, revision: str) -> str:
        checkout = self._at(path)
        for ref in (revision, f"refs/heads/{revision}", f"refs/tags/{revision}"):
            if ref in checkout.refs:
                return checkout.refs[ref]
        found = [each for each in checkout.commits if len(revision) >= 4 and each.startswith(revision)]
        if len(found) != 1:
            raise RepositoryError(f"it has no branch, tag or commit {revision.removeprefix('refs/heads/')}")
        return found[0]

    async def commit(self, path: str, commit: str) -> Commit:
        found = self._at(path).commits.get(commit)
        if found is None:
            raise RepositoryError(f"it has no commit {commit}")
        return found

    async def changed(self, path: str, old: str, new: str) -> list[str]:
        trees = self._at(path).trees
        if old not in trees or new not in trees:
            raise RepositoryError("it lacks one of the commits to compare")
        before, after = trees[old], trees[new]
        return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))

    async def archive(self, path: str, commit: str, target: Path) -> None:
        tree = self._at(path).trees.get(commit)
        if tree is None:
            raise RepositoryError(f"it has no commit {commit}")
        _pack(tree, target)

    async def clone(self, path: str, commit: str, target: Path, depth: int = 0) -> None:
        tree = self._at(path).trees.get(commit)
        if tree is None:
            raise RepositoryError(f"it has no commit {commit}")
        _unpack(tree, target)


def _pack(tree: Mapping[str, bytes], target: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in tree.items():
            archive.writestr(name, content)
    target.write_bytes(out.getvalue())


def _unpack(tree: Mapping[str, bytes], target: Path) -> None:
    for name, content in tree.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(content)
