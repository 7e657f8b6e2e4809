"""References to variables in an action's configuration: `#{namespace.key}`.

Pure. `resolve` puts the values in; what has none is named by `Unresolved`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

Values = Mapping[str, Mapping[str, str]]
_REFERENCE = re.compile(r"#\{([^{}]*)\}")


class Unresolved(Exception):
    """A reference without a value. `reference` as it is written."""

    def __init__(self, reference: str) -> None:
        super().__init__(reference)
        self.reference = reference


def resolve(text: str, values: Values) -> str:
    """`text` with every reference replaced."""

    def value(found: re.Match[str]) -> str:
        namespace, _, key = found[1].strip().partition(".")
        known = values.get(namespace)
        if known is None or key not in known:
            raise Unresolved(found[0])
        return known[key]

    return _REFERENCE.sub(value, text)


def resolve_all(configuration: Mapping[str, str], values: Values) -> dict[str, str]:
    return {key: resolve(text, values) for key, text in configuration.items()}
