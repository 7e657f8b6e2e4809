"""The server certificates of IAM, whose keys load balancers need.

Validates and keeps what is brought; IAM as a whole is the ancillary endpoint's, and everything is handed on to it.
"""

from __future__ import annotations

from portside.cloud.kernel.clock import Clock
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls, Params, Service, operation, operations_of
from portside.cloud.services.certificates import authority
from portside.cloud.services.certificates.acm import Users
from portside.cloud.services.certificates.authority import CertificateFault
from portside.cloud.services.certificates.store import Certificate, CertificateStore

_CODES = {
    "certificate": "MalformedCertificate",
    "key": "MalformedCertificate",
    "chain": "MalformedCertificate",
    "pair": "KeyPairMismatch",
}


class ServerCertificates:
    """Answers the operations of IAM that bring and take away a server certificate."""

    def __init__(self, *, store: CertificateStore, ancillary: Calls, users: Users, clock: Clock) -> None:
        self._store = store
        self._ancillary = ancillary
        self._users = users
        self._clock = clock

    def service(self) -> Service:
        return Service("iam", operations_of(self), partial=True)

    @operation("UploadServerCertificate")
    async def upload_server_certificate(self, caller: Caller, params: Params) -> Params:
        name = str(params["ServerCertificateName"])
        if await self._find(caller, name) is not None:
            raise AwsError("EntityAlreadyExists", f"The Server Certificate with name {name} already exists.", 409)
        try:
            pair = authority.brought(
                str(params["CertificateBody"]),
                str(params["PrivateKey"]),
                str(params.get("CertificateChain") or ""),
            )
        except CertificateFault as fault:
            raise AwsError(_CODES[fault.about], fault.message) from None
        answer = await self._ancillary("iam", "UploadServerCertificate", params, caller)
        arn = str(answer["ServerCertificateMetadata"]["Arn"])
        algorithm = authority.facts(pair.chain).algorithm
        self._store.keep(Certificate(arn, "server", self._clock.now(), algorithm, pair))
        return answer

    @operation("DeleteServerCertificate")
    async def delete_server_certificate(self, caller: Caller, params: Params) -> Params:
        arn = await self._find(caller, str(params["ServerCertificateName"]))
        users = await self._users(arn) if arn else []
        if users:
            raise AwsError(
                "DeleteConflict",
                f"Certificate: {arn} is currently in use by {', '.join(users)}. Please remove it first before"
                " deleting it from IAM.",
                409,
            )
        answer = await self._ancillary("iam", "DeleteServerCertificate", params, caller)
        if arn:
            self._store.drop(arn)
        return answer

    async def _find(self, caller: Caller, name: str) -> str | None:
        listed = await self._ancillary("iam", "ListServerCertificates", {}, caller)
        for each in listed.get("ServerCertificateMetadataList") or []:
            if each["ServerCertificateName"] == name:
                return str(each["Arn"])
        return None
