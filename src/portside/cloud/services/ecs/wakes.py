"""Who has to look again when something changes: the loops' wake-ups, passed around as one value.

Filled in by `orchestrator.py` once the loops exist; until then a wake-up goes nowhere, which is safe, for every
loop looks at everything when it starts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


def _nobody(key: str) -> None:
    return None


@dataclass(slots=True)
class Wakes:
    task: Callable[[str], None] = _nobody
    service: Callable[[str], None] = _nobody
    container_logs: Callable[[str], None] = _nobody
    capacity: Callable[[str], None] = _nobody
    engine: Callable[[str], None] = _nobody
    providers: Callable[[str], None] = _nobody
    metrics: Callable[[str], None] = _nobody
