"""Records that are made by the thousand: dataclasses whose fields are fixed for the type checker alone.

Owns `record`, and `replace` and `of_members` for what it makes. A frozen dataclass hands every field of a new
instance to `object.__setattr__`, and the standard library's `replace` looks at every field in Python; each took a
tenth of a stack's time (`docs/performance.md`). A `record` is written, read, compared and replaced like a frozen
dataclass with slots, and mypy refuses to change one just the same; only at run time nothing does. For all others,
frozen dataclasses stay.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, TypeVar

Made = TypeVar("Made")
# By class: the values of a record in the order of its fields, and those of a mapping.
_VALUES: dict[type, Callable[[Any], tuple[Any, ...]]] = {}
_ITEMS: dict[type, Callable[[Any], tuple[Any, ...]]] = {}

if TYPE_CHECKING:
    from dataclasses import dataclass as record
    from dataclasses import replace
else:

    def record(*, frozen: bool, slots: bool):
        assert frozen

        def make(described):
            made = dataclasses.dataclass(slots=slots, unsafe_hash=True)(described)
            names = [field.name for field in dataclasses.fields(made)]
            assert len(names) > 1, "of a single name the getters make no tuple"
            _VALUES[made], _ITEMS[made] = attrgetter(*names), itemgetter(*names)
            return made

        return make

    def replace(found, **changes):
        """Like `dataclasses.replace`, which also does it for what is no record."""
        values = _VALUES.get(type(found))
        if values is None:
            return dataclasses.replace(found, **changes)
        # By position: binding forty names takes ten times as long.
        new = type(found)(*values(found))
        for name, value in changes.items():
            setattr(new, name, value)
        return new


def of_members(kind: type[Made], members: Mapping[str, Any]) -> Made:
    """The record with these members; what is missing has its default. Raises TypeError as its class would."""
    try:
        values = _ITEMS[kind](members)
    except KeyError:
        values = ()
    return kind(*values) if len(values) == len(members) else kind(**members)


__all__ = ["of_members", "record", "replace"]
