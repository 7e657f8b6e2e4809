"""The git work tree that an app lies in, as the person at the command line has it. Read only."""

from __future__ import annotations

import io
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from portside.deploy.pipeline import Commit
from portside.image.context import Context
from portside.image.errors import ImageError

GIT_LIMIT = 60


@dataclass(frozen=True, slots=True)
class Worktree:
    root: Path

    def inside(self, path: Path) -> str:
        """A path as seen from the root, `.` for the root itself."""
        return path.resolve().relative_to(self.root).as_posix()

    def committed(self, revision: str, path: str) -> bytes | None:
        """A file's content in a revision, None if it is not there."""
        return _git(self.root, "show", f"{revision}:{path}")

    def log(self, old: str, new: str) -> tuple[Commit, ...] | None:
        """The commits after `old` up to `new`, newest first; None if the checkout does not have both."""
        if any(self.commit(each) is None for each in (old, new)):
            return None
        found = _git(self.root, "log", "--max-count=200", "--format=%H%x00%s", f"{old}..{new}")
        if found is None:
            return None
        rows = (line.partition("\0") for line in found.decode("utf-8", "replace").splitlines())
        return tuple(Commit(identifier, subject) for identifier, _, subject in rows)

    def commit(self, revision: str) -> str | None:
        found = _git(self.root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
        return found.decode().strip() if found else None

    def digest_at(self, commit: str, context: str, dockerfile: str, arguments: dict[str, str]) -> str | None:
        """The digest that a build context had in a commit; None if it was not there."""
        if self.commit(commit) is None:
            return None
        archive = _git(self.root, "archive", "--format=tar", commit, "--", context)
        if archive is None:
            return None
        with tempfile.TemporaryDirectory() as scratch:
            with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
                _unpack(tar, scratch)
            try:
                return Context(Path(scratch) / context, dockerfile).digest(arguments)
            except ImageError:
                return None


def _unpack(tar: tarfile.TarFile, target: str) -> None:
    """What git archives of a commit, with the modes of a checkout: nothing in it leads out of the target."""
    if hasattr(tarfile, "tar_filter"):
        tar.extractall(target, filter="tar")
        return
    # Python 3.11 has filters from its fourth release on only, and Debian 12 has the second.
    for member in tar.getmembers():
        member.mode &= 0o755
    tar.extractall(target)  # noqa: S202


def find(directory: Path) -> Worktree | None:
    """The work tree that a directory lies in."""
    found = _git(directory, "rev-parse", "--show-toplevel")
    return Worktree(Path(found.decode().rstrip("\n")).resolve()) if found else None


def _git(directory: Path, *words: str) -> bytes | None:
    try:
        done = subprocess.run(
            ["git", "-c", "core.quotepath=false", *words], cwd=directory, capture_output=True, timeout=GIT_LIMIT
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
