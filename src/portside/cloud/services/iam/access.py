"""Who may do what: services take on roles here, and every call of a role's session is decided here.

Owns the two questions and their words. `evaluate.py` decides, `roles.py` knows the policies, `sessions.py` the
credentials. Calls of the account itself are never asked about, as for a root user on AWS. Source: the IAM User
Guide, "Troubleshoot access denied error messages".
"""

from __future__ import annotations

from datetime import UTC, datetime

from portside.cloud.kernel.clock import Clock
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Params, RoleSession
from portside.cloud.services.iam import actions
from portside.cloud.services.iam.evaluate import Policies, denial, trusts, trusts_principal
from portside.cloud.services.iam.policy import Context, Request
from portside.cloud.services.iam.roles import RoleReader
from portside.cloud.services.iam.sessions import Sessions

# Services that answer in XML say AccessDenied with 403; those that answer in JSON AccessDeniedException with 400.
_XML = frozenset(
    {"s3", "iam", "sts", "cloudformation", "elbv2", "elb", "autoscaling", "sns", "cloudwatch", "rds", "route53"}
)
SHORTEST_SESSION = 900


class Access:
    """Implements `calls.Roles`; `check` is what the dispatcher asks before every call of a session."""

    def __init__(self, *, reader: RoleReader, sessions: Sessions, clock: Clock, account: str) -> None:
        self._reader = reader
        self._sessions = sessions
        self._clock = clock
        self._account = account

    # Taking on roles

    async def assume(
        self,
        role: str,
        session_name: str,
        service: str,
        caller: Caller,
        seconds: int = 3600,
        source: str = "",
    ) -> RoleSession:
        found = await self._reader.find(role)
        context = self._context(caller) | {"aws:sourceaccount": (caller.account,)}
        if source:
            context["aws:sourcearn"] = (source,)
        if found is None or not trusts(found.trust, service, "sts:AssumeRole", context):
            raise AwsError(
                "AccessDenied",
                f"{service} is not authorized to perform: sts:AssumeRole on resource: {role}"
                + ("" if found is not None else " (there is no such role)"),
                403,
            )
        return self._sessions.issue(found.arn, found.id, session_name, seconds)

    async def assume_for(self, caller: Caller, params: Params) -> RoleSession:
        """AssumeRole as clients call it."""
        role = str(params["RoleArn"])
        found = await self._reader.find(role)
        names = (caller.arn, caller.role, self._account, f"arn:aws:iam::{self._account}:root")
        context = self._context(caller)
        if params.get("ExternalId"):
            context["sts:externalid"] = (str(params["ExternalId"]),)
        if found is None or not trusts_principal(found.trust, names, context):
            raise AwsError(
                "AccessDenied",
                f"User: {caller.arn} is not authorized to perform: sts:AssumeRole on resource: {role}",
                403,
            )
        seconds = int(params.get("DurationSeconds") or min(3600, found.longest))
        if seconds > found.longest:
            raise AwsError(
                "ValidationError",
                "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
            )
        name = str(params["RoleSessionName"])
        return self._sessions.issue(found.arn, found.id, name, seconds, params.get("Policy"))

    def user_id(self, caller: Caller) -> str:
        """`AROA...:session`."""
        found = self._sessions.find(caller.access_key)
        return found.session.user_id if found is not None else caller.account

    # Deciding

    async def check(self, service: str, operation: str, params: Params, caller: Caller) -> None:
        """Raises AwsError if a session's caller may not make this call."""
        if not caller.role:
            return
        action = actions.action(service, operation, params)
        if action in actions.FREE:
            return
        if caller.asked is not None and action not in caller.asked:
            return
        touched = actions.resources(service, operation, params, caller.account, caller.region)
        context = self._context(caller)
        for resource in touched:
            await self._decide(service, caller, Request(action, resource, context))
        for further, resource in actions.also(service, operation, params, touched):
            await self._decide(service, caller, Request(further, resource, context))
        for role, principal in actions.passed_roles(service, operation, params):
            passing = context | {"iam:passedtoservice": (principal,)}
            await self._decide(service, caller, Request("iam:PassRole", role, passing))

    async def permit(self, access_key: str, action: str, resource: str, region: str) -> None:
        """For what is no call of the AWS API (the registry's own protocol). Raises AwsError."""
        found = self._sessions.find(access_key)
        if found is None:
            raise AwsError("AccessDeniedException", "The session that logged in is not known any more.")
        caller = found.session.caller(region)
        service = action.split(":")[0]
        await self._decide(service, caller, Request(action, resource, self._context(caller)))

    async def _decide(self, service: str, caller: Caller, request: Request) -> None:
        why = denial(await self._policies(caller), request)
        if why is None:
            return
        code, status = ("AccessDenied", 403) if service in _XML else ("AccessDeniedException", 400)
        if service == "ec2":
            code, status = "UnauthorizedOperation", 403
        raise AwsError(
            code,
            f"User: {caller.arn} is not authorized to perform: {request.action} on resource: "
            f"{request.resource or '*'} {why}",
            status,
        )

    async def _policies(self, caller: Caller) -> Policies:
        role = await self._reader.find(caller.role)
        if role is None:
            # A session outlives its role, but nothing grants it anything any more.
            return Policies(())
        found = self._sessions.find(caller.access_key)
        if found is None or found.policy is None:
            return role.policies
        return Policies(role.policies.identity, role.policies.boundary, found.policy)

    def _context(self, caller: Caller) -> dict[str, tuple[str, ...]]:
        now = datetime.fromtimestamp(self._clock.now(), UTC)
        found: Context = {
            "aws:principalarn": (caller.role or caller.arn,),
            "aws:principalaccount": (caller.account,),
            "aws:requestedregion": (caller.region,),
            # The local endpoint has no TLS; on AWS the same call would.
            "aws:securetransport": ("true",),
            "aws:currenttime": (now.strftime("%Y-%m-%dT%H:%M:%SZ"),),
        }
        return dict(found)
