"""What protects a stack: stack policies, where calls take them from, and termination protection.

What a policy means is `stack_policy.py`.
"""

from __future__ import annotations

from portside.cloud.kernel.record import replace
from portside.cloud.services.calls import Caller, Params, operation
from portside.cloud.services.cloudformation import rows, stack_policy
from portside.cloud.services.cloudformation.base import Operations
from portside.cloud.services.cloudformation.documents import invalid
from portside.cloud.services.cloudformation.proposal import fetch
from portside.cloud.services.cloudformation.records import StackStatus

LONGEST = 16_384


class PolicyCalls(Operations):
    @operation("SetStackPolicy")
    async def set_stack_policy(self, caller: Caller, params: Params) -> Params:
        stack = self._need(caller, params["StackName"])
        if stack.status is StackStatus.DELETE_COMPLETE:
            raise invalid(f"Stack [{params['StackName']}] does not exist")
        text = await self._policy_text(params, caller)
        if not text:
            raise invalid("You must specify either StackPolicyURL or StackPolicyBody")
        with self._db.write() as tx:
            now = rows.stack_by_id(tx, stack.id)
            assert now is not None
            rows.save_stack(tx, replace(now, policy=text))
        return {}

    @operation("GetStackPolicy")
    def get_stack_policy(self, caller: Caller, params: Params) -> Params:
        return {"StackPolicyBody": self._need(caller, params["StackName"]).policy or None}

    async def _policy_text(self, params: Params, caller: Caller, prefix: str = "StackPolicy") -> str:
        """The policy that a call carries, checked; empty if it carries none."""
        body, url = params.get(f"{prefix}Body"), params.get(f"{prefix}URL")
        if body and url:
            raise invalid(f"You cannot specify both {prefix}URL and {prefix}Body")
        if url:
            body = await fetch(url, self._calls, caller)
            if len(body.encode()) > LONGEST:
                raise invalid(f"Stack policy may not exceed {LONGEST} bytes in size.")
        if body:
            stack_policy.parse(body)
        return body or ""

    @operation("UpdateTerminationProtection")
    def update_termination_protection(self, caller: Caller, params: Params) -> Params:
        stack = self._need(caller, params["StackName"])
        if stack.status is StackStatus.DELETE_COMPLETE:
            raise invalid(f"Stack [{params['StackName']}] does not exist")
        with self._db.write() as tx:
            now = rows.stack_by_id(tx, stack.id)
            assert now is not None
            wanted = bool(params["EnableTerminationProtection"])
            if now.parent:
                raise invalid(
                    "TerminationProtection of a nested stack is that of its root stack and is changed there."
                )
            rows.save_stack(tx, replace(now, termination_protection=wanted))
        return {"StackId": stack.id}
