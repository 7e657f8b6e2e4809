"""Reads checkouts with git itself, as a program.

Owns the commands, their time limits and what their failures mean. Nothing is written to a checkout: optional
locks are off, no hook or filter of the user's runs on our account, nothing is fetched. `mark` tells cheaply,
without git, whether the references may have changed.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from portside.cloud.machine.repositories import Commit, RepositoryError

QUICK_SECONDS = 20.0
LONG_SECONDS = 300.0
MOST_PARALLEL = 8
# More references than this: the folders alone are looked at.
MOST_MARKED = 5000
LONGEST_OUTPUT = 64 * 1024 * 1024
_UNIT = "\x1f"
_SERVING = """[safe]
\tdirectory = *
[uploadpack]
\tallowAnySHA1InWant = true
[protocol "file"]
\tallow = always
"""


class GitRepositories:
    """Implements `Repositories` and `Watched`."""

    def __init__(self, program: str = "git") -> None:
        self._program = program
        self._slots = asyncio.Semaphore(MOST_PARALLEL)

    async def refs(self, path: str) -> dict[str, str]:
        fields = "%(refname)%1f%(objectname)%1f%(*objectname)%1f%(objecttype)%1f%(*objecttype)"
        out = await self._git(path, "for-each-ref", f"--format={fields}", "refs/heads", "refs/tags")
        found = {}
        for line in out.decode("utf-8", "replace").splitlines():
            name, direct, peeled, kind, peeled_kind = line.split(_UNIT)
            if kind == "commit" or peeled_kind == "commit":
                found[name] = peeled or direct
        return found

    async def resolve(self, path: str, revision: str) -> str:
        if revision.startswith("-"):
            raise RepositoryError(f"{revision} is neither a branch, a tag nor a commit of it")
        try:
            out = await self._git(
                path, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"
            )
        except RepositoryError as error:
            if isinstance(error, _Refused) and error.silent:
                noun = revision.removeprefix("refs/heads/")
                kind = "has no branch" if noun != revision else "has no branch, tag or commit"
                raise RepositoryError(f"it {kind} {noun}") from None
            raise
        return out.decode().strip()

    async def commit(self, path: str, commit: str) -> Commit:
        out = await self._git(
            path, "log", "-1", "--no-show-signature", f"--format=%H{_UNIT}%an{_UNIT}%at{_UNIT}%ct{_UNIT}%B",
            "--end-of-options", commit, "--",
        )  # fmt: skip
        parts = out.decode("utf-8", "replace").split(_UNIT, 4)
        if len(parts) != 5:
            raise RepositoryError(f"it has no commit {commit}")
        return Commit(parts[0], parts[4].rstrip("\n"), parts[1], _iso(parts[2]), _iso(parts[3]))

    async def changed(self, path: str, old: str, new: str) -> list[str]:
        out = await self._git(
            path, "diff-tree", "-r", "-z", "--name-only", "--no-renames", "--end-of-options", old, new, "--"
        )
        return [name.decode("utf-8", "replace") for name in out.split(b"\0") if name]

    async def archive(self, path: str, commit: str, target: Path) -> None:
        await self._git(
            path, "archive", "--format=zip", "-1", f"--output={_absolute(target)}", "--end-of-options", commit,
            seconds=LONG_SECONDS,
        )  # fmt: skip

    async def clone(self, path: str, commit: str, target: Path, depth: int = 0) -> None:
        """Objects are copied, so that nothing in the clone depends on the checkout."""
        found = await self.resolve(path, commit)
        place = _absolute(target)
        await self._run("init", "--quiet", "--template=", place)
        limit = [f"--depth={depth}"] if depth else []
        wanted = [found] if depth else ["+refs/heads/*:refs/remotes/origin/*", found]
        source = f"file://{_absolute(path)}"
        with tempfile.TemporaryDirectory(prefix="portside-git-") as directory:
            # The serving side of a fetch starts with none of our settings but those of a file.
            config = Path(directory) / "config"
            config.write_text(_SERVING)
            await self._run(
                "-C", place, "fetch", "--quiet", "--no-tags" if depth else "--tags", *limit, source, *wanted,
                seconds=LONG_SECONDS, trusted=(place,), config=str(config),
            )  # fmt: skip
        await self._git(place, "checkout", "--quiet", "--force", "--detach", found, seconds=LONG_SECONDS)

    async def mark(self, path: str) -> str:
        return await asyncio.to_thread(_mark, Path(path))

    # Running git

    async def _git(self, path: str, *arguments: str, seconds: float = QUICK_SECONDS) -> bytes:
        if not _is_directory(path):
            raise RepositoryError(f"{path} is not a directory")
        return await self._run("-C", path, *arguments, seconds=seconds, trusted=(path,))

    async def _run(
        self,
        *arguments: str,
        seconds: float = QUICK_SECONDS,
        trusted: Sequence[str] = (),
        config: str = os.devnull,
    ) -> bytes:
        async with self._slots:
            try:
                process = await asyncio.create_subprocess_exec(
                    self._program,
                    "--no-pager",
                    *arguments,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                    env=_environment(trusted, config),
                )
            except FileNotFoundError:
                raise RepositoryError("git is not installed on this machine") from None
            try:
                async with asyncio.timeout(seconds):
                    out, complaint = await process.communicate()
            except TimeoutError:
                raise RepositoryError(f"git did not answer within {seconds:g} seconds") from None
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        if process.returncode:
            text = complaint.decode("utf-8", "replace").strip()
            raise _Refused(_reason(text, trusted), silent=not text)
        return out


class _Refused(RepositoryError):
    def __init__(self, reason: str, *, silent: bool) -> None:
        super().__init__(reason)
        self.silent = silent


def _reason(text: str, trusted: Sequence[str]) -> str:
    if "not a git repository" in text:
        return f"{trusted[0] if trusted else 'it'} is not a git repository"
    lines = [line for line in text.splitlines() if line.startswith(("fatal:", "error:"))] or text.splitlines()
    return lines[0].removeprefix("fatal: ").removeprefix("error: ") if lines else "git failed"


def _environment(trusted: Sequence[str], config: str) -> dict[str, str]:
    """Only what git needs, and settings that keep it from writing, prompting and running anything."""
    settings = [("safe.directory", each) for path in trusted for each in {path, os.path.realpath(path)}]
    settings += [("core.hooksPath", "/dev/null"), ("core.fsmonitor", "false"), ("gc.auto", "0")]
    made = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.environ.get("HOME", "/"),
        "LC_ALL": "C",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": config,
        "GIT_CONFIG_COUNT": str(len(settings)),
    }
    for index, (key, value) in enumerate(settings):
        made[f"GIT_CONFIG_KEY_{index}"] = key
        made[f"GIT_CONFIG_VALUE_{index}"] = value
    return made


def _absolute(path: str | Path) -> str:
    return str(Path(path).absolute())


def _is_directory(path: str) -> bool:
    return Path(path).is_dir()


def _iso(seconds: str) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _mark(path: Path) -> str:
    """Changes whenever a branch or tag does: names, times and sizes of the files that hold them."""
    folder = _common(path)
    if folder is None:
        return ""
    found = hashlib.sha256()

    def add(file: Path | os.DirEntry[str]) -> None:
        try:
            stat = file.stat()
        except OSError:
            return
        found.update(f"{file}\0{stat.st_mtime_ns}\0{stat.st_size}\0{stat.st_ino}\n".encode())

    add(folder / "packed-refs")
    for each in ("refs/heads", "refs/tags", "reftable"):
        stack = [folder / each]
        seen = 0
        while stack:
            here = stack.pop()
            add(here)
            try:
                with os.scandir(here) as entries:
                    for entry in sorted(entries, key=lambda one: one.name):
                        if entry.is_dir(follow_symlinks=False):
                            stack.append(Path(entry.path))
                        elif seen < MOST_MARKED:
                            seen += 1
                            add(entry)
            except OSError:
                continue
    return found.hexdigest()


def _common(path: Path) -> Path | None:
    """The folder that holds the references: `.git`, the main repository's for a worktree, or a bare one itself."""
    try:
        dot = path / ".git"
        if dot.is_file():
            text = dot.read_text().strip()
            if not text.startswith("gitdir:"):
                return None
            folder = (path / text.removeprefix("gitdir:").strip()).resolve()
        elif dot.is_dir():
            folder = dot
        elif (path / "HEAD").is_file():
            folder = path
        else:
            return None
        common = folder / "commondir"
        if common.is_file():
            folder = (folder / common.read_text().strip()).resolve()
    except OSError:
        return None
    return folder
