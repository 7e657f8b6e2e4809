"""Examples of the commands, which stand at the end of a command's help and in the reference.

A test parses each of them, so that none names an option that is not there.
"""

from __future__ import annotations

HEADING = "Examples:"
PROMPT = "  $ "


def examples(*lines: str) -> str:
    """What typer calls an epilog."""
    # Brackets are markup in help texts.
    return "\n".join([HEADING, *(PROMPT + line.replace("[", r"\[") for line in lines)])


def lines(epilog: str | None) -> list[str]:
    """The examples of such a text."""
    return [
        line.removeprefix(PROMPT).replace(r"\[", "[")
        for line in (epilog or "").splitlines()
        if line.startswith(PROMPT)
    ]
