"""Identifiers, in the alphabets that AWS uses.

Owns the only source of randomness. `Ids(seed)` repeats itself, which is what tests want; without a seed it
draws from the operating system.
"""

from __future__ import annotations

import os
import random
import string

_ALNUM = string.ascii_letters + string.digits
_UPPER = string.ascii_uppercase + string.digits
_LOWER = string.ascii_lowercase + string.digits
_POOL = 4096  # bytes


class _SystemSource(random.SystemRandom):
    """The operating system's, asked once for many numbers: each is used once."""

    _pool = b""
    _used = 0

    def getrandbits(self, k: int, /) -> int:
        size = (k + 7) // 8
        if self._used + size > len(self._pool):
            self._pool, self._used = os.urandom(max(_POOL, size)), 0
        drawn = self._pool[self._used : self._used + size]
        self._used += size
        return int.from_bytes(drawn, "big") >> (8 * size - k)


class Ids:
    """A source of identifiers."""

    def __init__(self, seed: int | None = None) -> None:
        self._random: random.Random = _SystemSource() if seed is None else random.Random(seed)  # noqa: S311

    def hex(self, length: int) -> str:
        """Lower-case hexadecimal digits, e.g. the 32 of a task id."""
        return f"{self._random.getrandbits(4 * length):0{length}x}"

    def uuid(self) -> str:
        """A random one, of version 4."""
        found = f"{self._random.getrandbits(128):032x}"
        variant = "89ab"[int(found[16], 16) & 3]
        return f"{found[:8]}-{found[8:12]}-4{found[13:16]}-{variant}{found[17:20]}-{found[20:]}"

    def digits(self, length: int) -> str:
        """Decimal digits without a leading zero."""
        first = self._random.choice("123456789")
        return first + "".join(self._random.choice(string.digits) for _ in range(length - 1))

    def alnum(self, length: int) -> str:
        """Mixed-case suffix of registry-based CloudFormation types."""
        return self._pick(_ALNUM, length)

    def upper(self, length: int) -> str:
        return self._pick(_UPPER, length)

    def lower(self, length: int) -> str:
        return self._pick(_LOWER, length)

    def bytes(self, length: int) -> bytes:
        return self._random.randbytes(length)

    def shuffle_key(self) -> float:
        """A number in [0, 1) for choosing at random and for jitter."""
        return self._random.random()

    def _pick(self, alphabet: str, length: int) -> str:
        # One draw: the system's source is asked once, not for every letter.
        number = self._random.randrange(len(alphabet) ** length)
        letters = []
        for _ in range(length):
            number, index = divmod(number, len(alphabet))
            letters.append(alphabet[index])
        return "".join(letters)
