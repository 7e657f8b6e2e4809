"""Signals: how many have come, whether they are enough, and where they are kept.

`judge` is pure: it decides from what has been received whether a resource goes on waiting, is complete or has
failed, in AWS's words. The table keeps each signal under a scope, the step or the handle that it was sent to, so
that signals of an earlier operation never count. They come in through `signal_calls.py` and are waited for in
`waits.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from portside.cloud.kernel.database import Transaction
from portside.cloud.services.cloudformation.policies import SignalsWanted
from portside.cloud.services.cloudformation.rows import Reader

SUCCESS = "SUCCESS"
FAILURE = "FAILURE"
# Kept in place of a message that is none.
UNPARSABLE = "UNPARSABLE"
MIGRATIONS = (
    """
    CREATE TABLE cfn_signal (
        number INTEGER PRIMARY KEY AUTOINCREMENT, scope TEXT NOT NULL, unique_id TEXT NOT NULL,
        status TEXT NOT NULL, reason TEXT NOT NULL, data TEXT NOT NULL, time REAL NOT NULL,
        UNIQUE (scope, unique_id)
    );
    """,
)


@dataclass(frozen=True, slots=True)
class Signal:
    unique_id: str
    status: str
    reason: str = ""
    data: str = ""
    time: float = 0.0


@dataclass(frozen=True, slots=True)
class Judgement:
    """`failed` is the reason of a failure, empty otherwise; `note` is told before it."""

    enough: bool = False
    failed: str = ""
    note: str = ""


def judge(wanted: SignalsWanted, received: Mapping[str, str], over: bool, *, group: bool) -> Judgement:
    """`received` has the status by unique id, `over` says that the time is up. Members of a group may fail as far
    as its percentage allows; of anything else, none may."""
    good = sum(status == SUCCESS for status in received.values())
    bad = len(received) - good
    missing = max(0, wanted.count - len(received))
    if good >= wanted.count:
        return Judgement(enough=True)
    if not group:
        for unique_id, status in received.items():
            if status == FAILURE:
                return Judgement(failed=f"Received FAILURE signal with UniqueId {unique_id}")
        text = f"Failed to receive {missing} resource signal(s) within the specified duration"
        return Judgement(failed=text if over else "")
    least = needed(wanted)
    if bad > wanted.count - least:
        return Judgement(failed=unsatisfied(f"{bad} FAILURE", wanted))
    if missing == 0 or over:
        note = ""
        if missing:
            note = (
                f"Failed to receive {missing} resource signal(s) for the current batch.  Each resource signal "
                "timeout is counted as a FAILURE."
            )
        if good >= least:
            return Judgement(enough=True, note=note)
        return Judgement(failed=unsatisfied(f"{good} SUCCESS", wanted), note=note)
    return Judgement()


def needed(wanted: SignalsWanted) -> int:
    """How many of the signals must be successes: the percentage counts to a tenth."""
    return math.ceil(wanted.count * round(wanted.percent, 1) / 100 - 1e-9)


def unsatisfied(received: str, wanted: SignalsWanted) -> str:
    percent = f"{wanted.percent:g}"
    return (
        f"Received {received} signal(s) out of {wanted.count}.  Unable to satisfy {percent}% "
        "MinSuccessfulInstancesPercent requirement"
    )


# The table


def received(db: Reader, scope: str) -> dict[str, Signal]:
    """By unique id, in the order in which they came."""
    found = db.read(
        "SELECT unique_id, status, reason, data, time FROM cfn_signal WHERE scope = ? ORDER BY number", (scope,)
    )
    return {row["unique_id"]: Signal(**{key: row[key] for key in row.keys()}) for row in found}  # noqa: SIM118


def add(tx: Transaction, scope: str, signal: Signal) -> None:
    """A later signal of the same sender takes the place of the earlier one."""
    tx.execute(
        "INSERT INTO cfn_signal (scope, unique_id, status, reason, data, time) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (scope, unique_id) DO UPDATE SET status = excluded.status, reason = excluded.reason, "
        "data = excluded.data",
        (scope, signal.unique_id, signal.status, signal.reason, signal.data, signal.time),
    )


def forget(tx: Transaction, scope: str) -> None:
    tx.execute("DELETE FROM cfn_signal WHERE scope = ?", (scope,))
