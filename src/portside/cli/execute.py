"""portside exec: a command, or a shell, in a running container of the app."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator

from portside.cli.context import Work
from portside.cli.terminal import Terminal
from portside.deploy import execute as sessions

SHELL = "/bin/sh"


def execute(terminal: Terminal, work: Work, command: list[str], task: str, container: str) -> int:
    """The exit code of the command."""
    place = sessions.choose(work.aws, work.app.service_stack(work.environment), task, container)
    line = shlex.join(command) if command else SHELL
    terminal.say(f"{line} in container {place.container} of task {place.task.rpartition('/')[2][:8]}")
    session = sessions.start(work.aws, place, line)
    if work.running is None:
        return sessions.by_plugin(work.aws, place, session)
    with _raw():
        return asyncio.run(_carry(session))


async def _carry(session: dict[str, str]) -> int:
    channel = sessions.Channel(session, _print, _size)
    loop = asyncio.get_running_loop()
    waiting: set[asyncio.Task[None]] = set()

    def soon(data: bytes | None) -> None:
        made = loop.create_task(channel.resized() if data is None else channel.typed(data))
        waiting.add(made)
        made.add_done_callback(waiting.discard)

    def typed() -> None:
        data = os.read(sys.stdin.fileno(), 4096)
        if data:
            soon(data)
        else:
            loop.remove_reader(sys.stdin.fileno())
            soon(b"\x04")  # the end of a file, as a terminal says it

    with contextlib.suppress(OSError, ValueError, PermissionError):
        # A file cannot be waited for; then there is no input.
        loop.add_reader(sys.stdin.fileno(), typed)
    with contextlib.suppress(NotImplementedError, AttributeError):
        loop.add_signal_handler(signal.SIGWINCH, soon, None)
    try:
        return await channel.run()
    finally:
        with contextlib.suppress(OSError, ValueError):
            loop.remove_reader(sys.stdin.fileno())
        for task in waiting:
            task.cancel()


def _size() -> tuple[int, int]:
    found = shutil.get_terminal_size()
    return found.columns, found.lines


def _print(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


@contextlib.contextmanager
def _raw() -> Iterator[None]:
    """Every key goes to the container, Ctrl-C too, where a person sits at a terminal."""
    if not sys.stdin.isatty():
        yield
        return
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setraw(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
