"""Pages of the List operations: a token is the last item shown, so that changes in between do no harm."""

from __future__ import annotations

import base64
import binascii

from portside.cloud.services.calls import Params
from portside.cloud.services.ecs.errors import invalid

PAGE = 100


def page(items: list[str], params: Params, default: int = PAGE) -> tuple[list[str], str | None]:
    """The page that `params` (`nextToken`, `maxResults`) asks for, and the next token."""
    size = params.get("maxResults") or default
    if not 1 <= size <= PAGE:
        raise invalid(f"maxResults must be between 1 and {PAGE}.")
    start = 0
    token = params.get("nextToken")
    if token:
        try:
            shown = base64.urlsafe_b64decode(token.encode()).decode()
            number, _, item = shown.partition(" ")
            # The item may be gone by now: then go on at its place.
            start = items.index(item) + 1 if item in items else int(number)
        except (binascii.Error, UnicodeDecodeError, ValueError):
            raise invalid("Invalid token.") from None
    found = items[start : start + size]
    end = start + len(found)
    if end >= len(items) or not found:
        return found, None
    return found, base64.urlsafe_b64encode(f"{end - 1} {found[-1]}".encode()).decode()
