"""Which instance types each region offers, read when they are asked for.

Owns how moto gets this table. moto reads it for all regions as soon as EC2 is first used: a second and 47 MiB for
150,000 rows, of which a cloud in one region asks for a few hundred.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

_FOLDER = "instance_type_offerings"


class Offerings(Sequence[dict[str, str]]):
    """The rows of one file, fresh from it each time."""

    def __init__(self, read: Callable[[str], Any], path: str) -> None:
        self._read = read
        self._path = path
        self._location_type = path.split("/")[-2]
        # As it is imported, moto loops over the rows to mark each with its kind; ours are marked as they are read.
        self.closed = True

    def _rows(self) -> list[dict[str, str]]:
        if self.closed:
            return []
        return [row | {"LocationType": self._location_type} for row in self._read(self._path)]

    def __iter__(self) -> Iterator[dict[str, str]]:
        return iter(self._rows())

    def __len__(self) -> int:
        return len(self._rows())

    def __getitem__(self, index: Any) -> Any:
        return self._rows()[index]


@functools.cache
def install() -> None:
    """Before moto's part for EC2 is loaded; without effect afterwards."""
    if "moto.ec2.models.instance_types" in sys.modules:
        return
    from moto.utilities import utils

    read = utils.load_resource
    made: list[Offerings] = []

    def deferred(resource: str) -> Any:
        if _FOLDER not in resource:
            return read(resource)
        made.append(Offerings(read, resource))
        return made[-1]

    utils.load_resource = deferred
    try:
        import moto.ec2.models.instance_types  # noqa: F401
    finally:
        utils.load_resource = read
    for each in made:
        each.closed = False
