"""Runs every benchmark, one after the other, and prints one table: `make bench`.

Medians of several runs; each beside a peer that is measured in the same run.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

# again.py makes the base image that the last three run.
SCRIPTS = (
    "api.py",
    "again.py",
    "push.py",
    "loadbalancer.py",
    "delivery.py",
    "placement.py",
    "rollouts.py",
    "idle.py",
    "containers.py",
    "stacks.py",
)
LIMIT = 1200


def main() -> int:
    rows = []
    failed = False
    for script in SCRIPTS:
        done = subprocess.run(
            [sys.executable, str(Path(__file__).parent / script)], capture_output=True, text=True, timeout=LIMIT
        )
        if done.returncode:
            failed = True
            print(f"{script} failed:\n{done.stderr}", file=sys.stderr)
        rows += [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    print("| what | ours | peer | ratio | unit | runs |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        if "skipped" in row:
            print(f"| {row['name']} | skipped: {row['skipped']} | | | | |")
        else:
            cells = (row[key] for key in ("name", "ours", "peer", "ratio", "unit", "runs"))
            print("| " + " | ".join(map(str, cells)) + " |")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
