"""How long a second `portside up` of an unchanged app takes, beside its first. Needs a container engine.

The first one is with the base image made and the layers in the engine's build cache. Prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
PORTSIDE = Path(sys.executable).with_name("portside")
RUNS = 5


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        environ = {
            **os.environ,
            "PORTSIDE_HOME": name,
            "PORTSIDE_PORT": "0",
            "PORTSIDE_ADDRESS": "127.0.0.41",
        }

        def run(*words: str) -> float:
            began = time.perf_counter()
            subprocess.run([PORTSIDE, *words], env=environ, check=True, capture_output=True, timeout=900)
            return time.perf_counter() - began

        example = str(ROOT / "examples" / "helloworld")
        try:
            first = run("up", example)
            again = [run("up", example) for _ in range(RUNS)]
        finally:
            run("down", example)
        median = statistics.median(again)
        row = {
            "name": "second `portside up` (peer: the first)",
            "ours": round(median, 2),
            "peer": round(first, 2),
            "ratio": round(median / first, 2),
            "unit": "s",
            "runs": RUNS,
        }
        print(json.dumps(row))


if __name__ == "__main__":
    main()
