"""What a shell offers when the user presses Tab: apps, environments, stages, repositories.

Everything comes from the portside.toml files at hand. No cloud is asked and nothing heavy is loaded, for the user
waits; whatever cannot be read is simply not offered.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

FILE_NAME = "portside.toml"
DEEPEST = 3
MOST_DIRECTORIES = 2000
_SKIPPED = frozenset({"node_modules", "venv", "target", "dist", "build", "__pycache__"})
_ENVIRONMENTS = ("staging", "production")


def apps(incomplete: str) -> list[str]:
    """Directories with a portside.toml below what has been typed. Without any, the shell offers files itself."""
    typed, _, begun = incomplete.rpartition("/")
    prefix = incomplete[: len(typed) + 1] if "/" in incomplete else ""
    base = Path(prefix or ".").expanduser()
    return [prefix + each for each in _below(base, begun) if each.startswith(begun)]


def environments(ctx: typer.Context, incomplete: str) -> list[str]:
    return _beginning(_environments(_settings(ctx)), incomplete)


def stages(ctx: typer.Context, incomplete: str) -> list[str]:
    """Those that a failed execution can be taken up at again."""
    names = _environments(_settings(ctx))
    return _beginning(["Source", "Build", *(each.title() for each in names)], incomplete)


def containers(ctx: typer.Context, incomplete: str) -> list[str]:
    name = _settings(ctx).get("name")
    return _beginning([name] if isinstance(name, str) else [], incomplete)


def repositories(incomplete: str) -> list[str]:
    """Those that pipelines of the apps at hand follow."""
    found = []
    for each in [Path(), *(Path(directory) for directory in _below(Path(), ""))]:
        pipeline = _read(each).get("pipeline")
        if isinstance(pipeline, dict) and isinstance(pipeline.get("repository"), str):
            found.append(pipeline["repository"])
    return _beginning(sorted(set(found)), incomplete)


def _beginning(names: list[str], incomplete: str) -> list[str]:
    return [each for each in names if each.startswith(incomplete)]


def _environments(settings: dict[str, Any]) -> list[str]:
    named = settings.get("environments")
    return list(named) if isinstance(named, dict) else list(_ENVIRONMENTS)


def _settings(ctx: typer.Context) -> dict[str, Any]:
    """Of the app that the command line names so far. An argument is not told from other words yet."""
    named = (ctx.params.get("directory") or "", *ctx.args)
    found = (_read(Path(each).expanduser()) for each in reversed(named))
    return next((each for each in found if each), {})


def _read(directory: Path) -> dict[str, Any]:
    try:
        return tomllib.loads((directory / FILE_NAME).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return {}


def _below(base: Path, begun: str) -> Iterator[str]:
    """Apps relative to `base`, in the order of their names; only below directories that begin with `begun`."""
    seen = 0
    for root, directories, files in os.walk(base):
        inner = Path(root).relative_to(base)
        deep = len(inner.parts)
        if deep and FILE_NAME in files:
            yield inner.as_posix()
        seen += 1
        if deep == DEEPEST or seen == MOST_DIRECTORIES:
            directories.clear()
            continue
        hidden = begun.startswith(".") and not deep
        directories[:] = sorted(
            each
            for each in directories
            if each not in _SKIPPED and (hidden or not each.startswith(".")) and (deep or each.startswith(begun))
        )
