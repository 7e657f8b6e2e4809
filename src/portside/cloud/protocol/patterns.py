"""Regular expressions as AWS means them: Java's, in templates, in resource schemas and in the models of its APIs.

Owns the choice of engine. What Python's `re` reads alike goes to it; what only Java has (classes by name, sets of
sets, groups with a name) goes to `regex`, in Python's spelling.
"""

from __future__ import annotations

import re
import warnings
from functools import lru_cache

_ONLY_JAVA = re.compile(r"\\[pPzhR]|&&|\(\?<[A-Za-z]")
# The very end of the text, and what a group holds, are spelt otherwise by Java.
_SPELT = {"z": r"\Z", "k": r"\g"}


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> re.Pattern[str] | None:
    """None for what is no pattern, or one that only Java takes."""
    try:
        if _ONLY_JAVA.search(pattern):
            import regex

            spelt = re.sub(r"\\([\s\S])", lambda each: _SPELT.get(each[1], each[0]), pattern)
            found: re.Pattern[str] = regex.compile(spelt, regex.VERSION1)
            return found
        with warnings.catch_warnings():
            # `[[:alpha:]]` and the like, which may come to mean something else one day.
            warnings.simplefilter("ignore", FutureWarning)
            return re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return None
    except Exception as error:
        if type(error).__module__.startswith("regex"):
            return None
        raise
