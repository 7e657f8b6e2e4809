"""Runs the whole suite: `make test` calls this.

Starts a container engine where none answers (installing Debian's on Debian or Ubuntu as root) and stops exactly
that one afterwards. Arguments go to pytest.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from portside.image import provision
from portside.image.errors import ImageError

ROOT = Path(__file__).parents[1]
WORKERS = ("-n", "2", "--dist", "loadgroup")


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="portside-tests-") as directory:
        engine = Path(directory)
        try:
            provision.ensure(engine, install=True, say=lambda text: print(text, flush=True))
        except ImageError as error:
            # Without an engine the docker tests are skipped, counted and printed by pytest's own summary.
            print(f"No container engine: {error}. {error.next}", flush=True)
        # Nobody's own settings may reach the tests, nor the tests anybody's own cloud.
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PORTSIDE_"))}
        kept["PORTSIDE_HOME"] = str(engine / "home")
        try:
            words = [sys.executable, "-m", "pytest", *WORKERS, *sys.argv[1:]]
            return subprocess.run(words, cwd=ROOT, env=kept).returncode
        finally:
            provision.stop(engine)


if __name__ == "__main__":
    sys.exit(main())
