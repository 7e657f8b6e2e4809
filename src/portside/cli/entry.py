"""Where the command line begins: turns exceptions into sentences and exit codes.

`portside cloud start`, `stop` and `env`, without any option, are run without the machinery for options, which
takes longer to load than they take to run. All else goes to `main.py`.
"""

from __future__ import annotations

import os
import sys

from portside.cli import exits
from portside.cli.terminal import Terminal

COMPLETING = "_PORTSIDE_COMPLETE"


def main() -> None:
    """Entry point of `portside` and of `python -m portside`."""
    if COMPLETING in os.environ:
        # Nobody sees anything but words then, and loading rich takes longer than all the rest.
        os.environ["TYPER_USE_RICH"] = "0"
    try:
        match sys.argv[1:]:
            case ["cloud", "start"]:
                from portside.cli import background

                background.start()
            case ["cloud", "stop"]:
                from portside.cli import background

                background.stop()
            case ["cloud", "env"]:
                from portside.cli import background

                sys.exit(exits.OK if background.env() else exits.UNREACHABLE)
            case _:
                from portside.cli.main import app

                app(standalone_mode=True)
    except Exception as error:
        failure = exits.explain(error)
        if failure is None:
            if os.environ.get("PORTSIDE_DEBUG"):
                raise
            failure = exits.fault(error)
        Terminal(live=False).fail(failure)
        sys.exit(failure.code)
