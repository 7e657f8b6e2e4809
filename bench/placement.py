"""How long placing tasks takes: 10,000 over 1,000 instances, and twice that work beside it.

Only the rule is measured (`ecs/board.py`), in one process, without the database. Four strategies, each with ten
services that take turns, so that every service sees what the others have taken. The first rows are seconds beside
the limit of one second; the others are how many times longer twice the work takes, beside the limit of 2.2. Time
is the process's own, for other work on the machine says nothing about a rule; a ratio is taken within each run.
Prints lines of JSON; exits with 1 when a limit is missed.
"""

from __future__ import annotations

import gc
import json
import statistics
import sys
import time
from typing import Any

from portside.cloud.kernel.ids import Ids
from portside.cloud.services.ecs.board import Board
from portside.cloud.services.ecs.placement import DEFAULT_SERVICE_STRATEGY, Candidate, Demand, Placement

RUNS = 9
SERVICES = 10
SECONDS = 1.0
RATIO = 2.2
ZONE: dict[str, Any] = {"type": "spread", "field": "attribute:ecs.availability-zone"}
STRATEGIES: dict[str, list[dict[str, Any]]] = {
    "default": DEFAULT_SERVICE_STRATEGY,
    "binpack": [{"type": "binpack", "field": "memory"}],
    "spread and binpack": [ZONE, {"type": "binpack", "field": "memory"}],
    "spread twice": [ZONE, {"type": "spread", "field": "instanceId"}],
}


def cluster(instances: int) -> list[Candidate]:
    ids = Ids(7)
    return [
        Candidate(
            arn=f"arn:aws:ecs:eu-central-1:000000000000:container-instance/web/{number:032x}",
            ec2_id=f"i-{number:017x}",
            connected=True,
            accepting=True,
            free_cpu=2048,
            free_memory=7680,
            ports=frozenset(),
            attributes={"ecs.availability-zone": "abc"[number % 3]},
            key=ids.shuffle_key(),
        )
        for number in range(instances)
    ]


def seconds(tasks: int, instances: int, strategy: list[dict[str, Any]]) -> float:
    board = Board(cluster(instances))
    demands = [
        Demand(64, 256, frozenset(), f"service:{number}", strategy=tuple(strategy)) for number in range(SERVICES)
    ]
    batch = tasks // SERVICES // 10
    gc.collect()
    began = time.process_time()
    for _ in range(10):
        for demand in demands:
            for _ in range(batch):
                if not isinstance(board.place(demand), Placement):
                    raise SystemExit("the cluster is too small for this measurement")
    return time.process_time() - began


def main() -> int:
    good = True
    for name, strategy in STRATEGIES.items():
        sizes = ((10_000, 1_000), (20_000, 1_000), (20_000, 2_000))
        # Taken in turn, so that whatever else the machine does meets all sizes alike.
        runs = [[seconds(tasks, instances, strategy) for tasks, instances in sizes] for _ in range(RUNS)]
        once = statistics.median(run[0] for run in runs)
        same = statistics.median(run[1] / run[0] for run in runs)
        larger = statistics.median(run[2] / run[0] for run in runs)
        rows = [
            (f"placing 10,000 tasks over 1,000 instances, {name} (peer: the limit)", once, SECONDS, "s"),
            (f"placing 20,000 over 1,000 beside 10,000, {name} (peer: the limit)", same, RATIO, "times"),
            (f"placing 20,000 over 2,000 beside that, {name} (peer: the limit)", larger, RATIO, "times"),
        ]
        for what, value, limit, unit in rows:
            good = good and value <= limit
            row = {
                "name": what,
                "ours": round(value, 3),
                "peer": limit,
                "ratio": round(value / limit, 2),
                "unit": unit,
                "runs": RUNS,
            }
            print(json.dumps(row))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
