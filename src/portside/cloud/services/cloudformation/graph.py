"""Orders of names that depend on one another: cycles, levels, and who depends on whom.

Pure; knows nothing of resources. Used for resources (`plan.py`) and conditions (`template.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def order(needs: Mapping[str, Iterable[str]]) -> list[str]:
    """Every name after all it needs, otherwise in the given order. Names in a cycle are left out."""
    waiting = {name: {other for other in others if other in needs} for name, others in needs.items()}
    place = {name: number for number, name in enumerate(waiting)}
    needed_by = reverse(waiting)
    left = {name: len(others) for name, others in waiting.items()}
    found: list[str] = []
    ready = [name for name, number in left.items() if number == 0]
    while ready:
        found += ready
        following: list[str] = []
        for name in ready:
            for other in needed_by[name]:
                left[other] -= 1
                if left[other] == 0:
                    following.append(other)
        ready = sorted(following, key=place.__getitem__)
    return found


def stuck(needs: Mapping[str, Iterable[str]]) -> list[str]:
    """The names that cannot be put in order, in the given order: those of cycles, and what hangs on them."""
    ordered = set(order(needs))
    return [name for name in needs if name not in ordered]


def cycle(needs: Mapping[str, Iterable[str]]) -> list[str]:
    """The names of a circular dependency in the given order, empty if there is none."""
    known = {name: [other for other in others if other in needs] for name, others in needs.items()}
    for name, others in known.items():
        if name in others:
            return [name]
    ordered = set(order(needs))
    left = {name: set(others) for name, others in known.items() if name not in ordered}
    # What only hangs on a cycle is not part of it.
    while True:
        needed = {other for others in left.values() for other in others}
        loose = [name for name in left if name not in needed]
        if not loose:
            return list(left)
        for name in loose:
            del left[name]


def reverse(needs: Mapping[str, Iterable[str]]) -> dict[str, set[str]]:
    """For each name, who needs it."""
    found: dict[str, set[str]] = {name: set() for name in needs}
    for name, others in needs.items():
        for other in others:
            if other in found:
                found[other].add(name)
    return found
