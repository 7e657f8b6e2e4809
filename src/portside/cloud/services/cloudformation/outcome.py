"""What a look at a resource that waits has found."""

from __future__ import annotations

from dataclasses import dataclass, field

from portside.cloud.services.calls import Params


@dataclass(frozen=True, slots=True)
class Outcome:
    """`failed` is the reason of a failure; the next look is at `deadline` at the latest. `notes` are told as
    events, with `status` instead of the resource's own where it is given. `attributes` are what GetAtt gives
    afterwards."""

    done: bool = True
    failed: str = ""
    deadline: float = 0.0
    notes: tuple[str, ...] = ()
    status: str = ""
    progress: Params | None = None
    attributes: Params = field(default_factory=dict)
