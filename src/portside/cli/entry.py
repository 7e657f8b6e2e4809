"""Where the command line begins: turns exceptions into sentences and exit codes.

`portside cloud start`, `stop` and `env`, without any option, are run without the machinery for options, which
takes longer to load than they take to run. All else goes to `main.py`.
"""

from __future__ import annotations

import os
import sys

from portside.cli import background, exits
from portside.cli.terminal import Terminal


def main() -> None:
    """Entry point of `portside` and of `python -m portside`."""
    try:
        match sys.argv[1:]:
            case ["cloud", "start"]:
                background.start()
            case ["cloud", "stop"]:
                background.stop()
            case ["cloud", "env"]:
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
