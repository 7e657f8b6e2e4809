"""How getting an image fails: what happened, why, and what to do."""

from __future__ import annotations


class ImageError(Exception):
    """`what` happened, `why`, and the `next` step."""

    def __init__(self, what: str, why: str = "", next_step: str = "") -> None:
        super().__init__(f"{what}: {why}" if why else what)
        self.what = what
        self.why = why
        self.next = next_step
