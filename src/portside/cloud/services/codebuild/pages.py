"""Pages of the List operations: a token is the last item shown, so that changes in between do no harm."""

from __future__ import annotations

import base64
import binascii

from portside.cloud.services.calls import Params
from portside.cloud.services.codebuild.validate import invalid

PAGE = 100


def page(items: list[str], params: Params) -> tuple[list[str], str | None]:
    """The page that `nextToken` and `maxResults` ask for, and the next token."""
    size = params.get("maxResults") or PAGE
    start = 0
    token = params.get("nextToken")
    if token:
        try:
            number, _, item = base64.urlsafe_b64decode(token.encode()).decode().partition(" ")
            start = items.index(item) + 1 if item in items else int(number)
        except (binascii.Error, UnicodeDecodeError, ValueError):
            raise invalid("Invalid next token") from None
    found = items[start : start + size]
    end = start + len(found)
    if end >= len(items) or not found:
        return found, None
    return found, base64.urlsafe_b64encode(f"{end} {found[-1]}".encode()).decode()


def ordered(items: list[str], params: Params, *, descending: bool = True) -> list[str]:
    """`items` come in descending order, which is what most operations show unless `sortOrder` says otherwise."""
    wanted = params.get("sortOrder") or ("DESCENDING" if descending else "ASCENDING")
    return items if wanted == "DESCENDING" else list(reversed(items))
