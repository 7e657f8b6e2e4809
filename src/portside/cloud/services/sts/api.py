"""STS: who am I, and taking on a role.

Answered here, since only the gateway knows who calls, and since a session must be known again when it calls; all
else is ancillary.
"""

from __future__ import annotations

from typing import Any, Protocol

from portside.cloud.services.calls import Caller, Params, RoleSession, Service, operation, operations_of


class Assumer(Protocol):
    """What STS needs of IAM; `services/iam/access.py`."""

    async def assume_for(self, caller: Caller, params: Params) -> RoleSession: ...

    def user_id(self, caller: Caller) -> str: ...


class StsApi:
    def __init__(self, assumer: Assumer) -> None:
        self._assumer = assumer

    @operation("GetCallerIdentity")
    def get_caller_identity(self, caller: Caller, params: Params) -> Params:
        """UserId as in the STS API reference: the account's number for its root, ROLEID:SESSION for a role."""
        user = self._assumer.user_id(caller) if caller.role else caller.account
        return {"UserId": user, "Account": caller.account, "Arn": caller.arn}

    @operation("AssumeRole")
    async def assume_role(self, caller: Caller, params: Params) -> Params:
        session = await self._assumer.assume_for(caller, params)
        answer: dict[str, Any] = {
            "Credentials": {
                "AccessKeyId": session.access_key,
                "SecretAccessKey": session.secret_key,
                "SessionToken": session.token,
                "Expiration": session.expires,
            },
            "AssumedRoleUser": {"AssumedRoleId": session.user_id, "Arn": session.arn},
        }
        if params.get("Policy"):
            answer["PackedPolicySize"] = min(100, len(params["Policy"]) * 100 // 2048)
        return answer

    def service(self) -> Service:
        return Service("sts", operations_of(self), partial=True)
