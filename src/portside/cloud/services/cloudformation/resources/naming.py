"""Physical names made up from stack and logical id, in the forms that each kind of type uses.

Pure, given the source of randomness. Names are cut to the service's limit and keep their suffix.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from portside.cloud.kernel.ids import Ids


class Suffix(StrEnum):
    MIXED = "mixed"
    UPPER = "upper"
    LOWER = "lower"


_LENGTH = 12


@dataclass(frozen=True, slots=True)
class NameStyle:
    """`part` cuts stack name and logical id to that many characters each, `limit` the whole."""

    suffix: Suffix = Suffix.MIXED
    limit: int = 255
    part: int = 0
    separator: str = "-"
    lower: bool = False

    def make(self, ids: Ids, stack_name: str, logical_id: str) -> str:
        first, second = stack_name, logical_id
        if self.part:
            first, second = first[: self.part].rstrip("-"), second[: self.part]
        room = self.limit - _LENGTH - 2 * len(self.separator)
        if len(first) + len(second) > room:
            second = second[: max(room - len(first), room // 2)]
            first = first[: room - len(second)].rstrip("-")
        match self.suffix:
            case Suffix.MIXED:
                end = ids.alnum(_LENGTH)
            case Suffix.UPPER:
                end = ids.upper(_LENGTH)
            case Suffix.LOWER:
                end = ids.lower(_LENGTH)
        name = self.separator.join((first, second, end))
        return name.lower() if self.lower else name


PLAIN = NameStyle()
SHORT = NameStyle(limit=64)
BALANCER = NameStyle(suffix=Suffix.UPPER, limit=32, part=5)
GROUP = NameStyle(suffix=Suffix.UPPER)
BUCKET = NameStyle(suffix=Suffix.LOWER, limit=63, lower=True)
FAMILY = NameStyle(separator="", limit=255)
POLICY = NameStyle(suffix=Suffix.UPPER, part=4)
