"""What is sent to a build: the files of the context without those that .dockerignore names, and their digest.

Pure but for reading files. The digest depends on names, modes and contents alone, so that the same sources give
the same tag on every machine. The rules of .dockerignore are those of the Dockerfile reference.
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from portside.image.errors import ImageError

IGNORE_FILE = ".dockerignore"
# Never part of an image by accident, and it changes with every commit.
ALWAYS_IGNORED = (".git",)


@dataclass(frozen=True)
class Context:
    """A build context: `root`, and the Dockerfile relative to it."""

    root: Path
    dockerfile: str

    def __post_init__(self) -> None:
        if not self.root.is_dir():
            raise ImageError(f"the build context {self.root} is not a directory", next_step="Set build.context.")
        if not (self.root / self.dockerfile).is_file():
            raise ImageError(
                f"there is no {self.dockerfile} in {self.root}",
                next_step="Set build.dockerfile in portside.toml, relative to build.context.",
            )

    @cached_property
    def files(self) -> tuple[str, ...]:
        """Paths below the root, sorted, with / between parts."""
        rules = _rules(self.root)
        kept = [path for path in _walk(self.root) if not ignored(path, rules)]
        # Docker sends these two whatever .dockerignore says.
        for always in (self.dockerfile, IGNORE_FILE):
            if always not in kept and (self.root / always).is_file():
                kept.append(always)
        return tuple(sorted(kept))

    def digest(self, arguments: dict[str, str]) -> str:
        """SHA-256 over everything that decides what the build makes, but for the base image."""
        total = hashlib.sha256()
        for key, value in sorted(arguments.items()):
            total.update(f"arg {key}={value}\n".encode())
        total.update(f"dockerfile {self.dockerfile}\n".encode())
        for name in self.files:
            path = self.root / name
            if path.is_symlink():
                total.update(f"link {name} {path.readlink()}\n".encode())
                continue
            executable = "x" if path.stat().st_mode & 0o111 else "-"
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            total.update(f"file {name} {executable} {content}\n".encode())
        return total.hexdigest()

    def archive(self) -> io.BytesIO:
        """The context as a tar file, without owners and times."""
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w") as tar:
            for name in self.files:
                info = tar.gettarinfo(str(self.root / name), arcname=name)
                info.uid = info.gid = 0
                info.uname = info.gname = ""
                info.mtime = 0
                if info.isreg():
                    with (self.root / name).open("rb") as content:
                        tar.addfile(info, content)
                else:
                    tar.addfile(info)
        made.seek(0)
        return made


def _walk(root: Path) -> Iterator[str]:
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        if relative.parts[0] in ALWAYS_IGNORED:
            continue
        if path.is_symlink() or path.is_file():
            yield relative.as_posix()


@dataclass(frozen=True, slots=True)
class Rule:
    pattern: re.Pattern[str]
    keeps: bool


def _rules(root: Path) -> list[Rule]:
    try:
        text = (root / IGNORE_FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return rules(text)


def rules(text: str) -> list[Rule]:
    """The rules of a .dockerignore file; the last that matches wins."""
    found = []
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        keeps = line.startswith("!")
        pattern = line.lstrip("!").strip().strip("/")
        pattern = re.sub(r"^(\./)+", "", pattern)
        if pattern in ("", "."):
            continue
        found.append(Rule(_compile(pattern), keeps))
    return found


def ignored(path: str, found: list[Rule]) -> bool:
    """Whether a file is left out. A rule that matches a directory matches all that lies in it."""
    parts = path.split("/")
    prefixes = ["/".join(parts[: end + 1]) for end in range(len(parts))]
    result = False
    for rule in found:
        if any(rule.pattern.fullmatch(prefix) for prefix in prefixes):
            result = not rule.keeps
    return result


def _compile(pattern: str) -> re.Pattern[str]:
    out = ""
    index = 0
    while index < len(pattern):
        char = pattern[index]
        if pattern.startswith("**/", index):
            out += "(?:.*/)?"
            index += 3
            continue
        if pattern.startswith("**", index):
            out += ".*"
            index += 2
            continue
        if char == "*":
            out += "[^/]*"
        elif char == "?":
            out += "[^/]"
        elif char == "[" and "]" in pattern[index + 1 :]:
            end = pattern.index("]", index + 1)
            inner = pattern[index + 1 : end]
            out += "[" + ("^" + inner[1:] if inner.startswith(("!", "^")) else inner) + "]"
            index = end
        elif char == "\\" and index + 1 < len(pattern):
            index += 1
            out += re.escape(pattern[index])
        else:
            out += re.escape(char)
        index += 1
    return re.compile(out)
