"""Records that are made by the thousand: dataclasses whose fields are fixed for the type checker alone.

Owns `record`. A frozen dataclass hands every field of a new instance to `object.__setattr__`, which took a seventh
of a stack's time (`docs/performance.md`). A `record` is written, read, compared and replaced like a frozen
dataclass with slots, and mypy refuses to change one just the same; only at run time nothing does. For all others,
frozen dataclasses stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as record
else:
    from dataclasses import dataclass

    def record(*, frozen: bool, slots: bool):
        assert frozen
        return dataclass(slots=slots, unsafe_hash=True)


__all__ = ["record"]
