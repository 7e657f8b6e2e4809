"""STS: who am I. Answered here, since every client asks it and only the gateway knows; all else is ancillary."""

from __future__ import annotations

from portside.cloud.services.calls import Caller, Params, Service, operation, operations_of


class StsApi:
    @operation("GetCallerIdentity")
    def get_caller_identity(self, caller: Caller, params: Params) -> Params:
        """UserId is the account's number for its root, as in the STS API reference."""
        return {"UserId": caller.account, "Account": caller.account, "Arn": caller.arn}

    def service(self) -> Service:
        return Service("sts", operations_of(self), partial=True)
