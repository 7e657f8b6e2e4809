"""What the groups of operations share: how a stack is found, and pages of long lists.

Owns `Operations`, the base of `stack_calls.py`, `change_set_calls.py` and `read_calls.py`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from typing import Any

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls, Params
from portside.cloud.services.cloudformation import rows
from portside.cloud.services.cloudformation.documents import invalid
from portside.cloud.services.cloudformation.journal import Journal
from portside.cloud.services.cloudformation.records import Stack, StackStatus
from portside.cloud.services.cloudformation.session import Callers, Zones

NAME = "[a-zA-Z][-a-zA-Z0-9]*"
NAME_OR_ID = NAME + "|arn:[-a-zA-Z0-9:/._+]*"
LONGEST_NAME = 128


def refuse_name(name: str, pattern: str) -> None:
    """ValidationError for what cannot be the name of a stack."""
    broken = []
    if not name.startswith("arn:") and len(name) > LONGEST_NAME:
        broken.append(f"Member must have length less than or equal to {LONGEST_NAME}")
    if not re.fullmatch(pattern, name):
        broken.append(f"Member must satisfy regular expression pattern: {pattern}")
    if broken:
        errors = f"{len(broken)} validation error{'s' if len(broken) > 1 else ''} detected: "
        found = [f"Value '{name}' at 'stackName' failed to satisfy constraint: {each}" for each in broken]
        raise invalid(errors + "; ".join(found))


class Operations:
    """`wake` makes the stack loop look at a stack."""

    def __init__(
        self,
        *,
        database: Database,
        ids: Ids,
        clock: Clock,
        calls: Calls,
        zones: Zones,
        journal: Journal,
        callers: Callers,
        wake: Callable[[str], None],
    ) -> None:
        self._db = database
        self._ids = ids
        self._clock = clock
        self._calls = calls
        self._zones = zones
        self._journal = journal
        self._callers = callers
        self._wake = wake

    def _live(self, caller: Caller, name: str) -> Stack | None:
        """A stack that is not deleted, by name or id."""
        found = self._any(caller, name)
        return None if found is None or found.status is StackStatus.DELETE_COMPLETE else found

    def _any(self, caller: Caller, name: str) -> Stack | None:
        """Deleted stacks are found by id only. ValidationError for what no stack can be called."""
        refuse_name(name, NAME_OR_ID)
        if name.startswith("arn:"):
            found = rows.stack_by_id(self._db, name)
            return found if found is not None and found.region == caller.region else None
        return rows.live_stack(self._db, caller.region, name)

    def _need(self, caller: Caller, name: str) -> Stack:
        found = self._any(caller, name)
        if found is None:
            raise invalid(f"Stack [{name}] does not exist")
        return found

    def _need_with_id(self, caller: Caller, name: str) -> Stack:
        """As DescribeStacks words it."""
        found = self._any(caller, name)
        if found is None:
            raise invalid(f"Stack with id {name} does not exist")
        return found

    def _repeated(self, stack: Stack, caller: Caller, token: str, wanted: str) -> bool:
        """Whether a call only repeats an earlier one that carried the same token."""
        if not token:
            return False
        before = rows.operation_of_token(self._db, caller.region, stack.id, token)
        if before is not None and before != wanted:
            raise AwsError(
                "TokenAlreadyExistsException", f"Token {token} was already used by another operation, {before}."
            )
        return before is not None


def page(items: list[Any], params: Params, size: int) -> tuple[list[Any], str | None]:
    """One page of a list, and the token of the next one."""
    start = 0
    token = params.get("NextToken")
    if token:
        try:
            start = int(base64.urlsafe_b64decode(token.encode()).decode())
        except (ValueError, binascii.Error):
            raise invalid("Invalid NextToken") from None
    end = start + size
    following = base64.urlsafe_b64encode(str(end).encode()).decode() if end < len(items) else None
    return items[start:end], following
