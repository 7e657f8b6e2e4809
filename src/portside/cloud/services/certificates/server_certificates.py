"""The server certificates of IAM, whose keys load balancers need.

Validates and keeps what is brought, and tags, which the ancillary endpoint has none of; IAM as a whole is that
endpoint's, and everything else is handed on to it.
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


MOST_TAGS = 50


class ServerCertificates:
    """Answers the operations of IAM that bring, show, tag and take away a server certificate."""

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
        tags = {each["Key"]: each["Value"] for each in params.get("Tags") or []}
        self._store.tag(arn, tags)
        return answer | ({"Tags": self._tags(arn)} if tags else {})

    @operation("GetServerCertificate")
    async def get_server_certificate(self, caller: Caller, params: Params) -> Params:
        answer = await self._ancillary("iam", "GetServerCertificate", params, caller)
        shown: Params = answer["ServerCertificate"]
        tags = self._tags(str(shown["ServerCertificateMetadata"]["Arn"]))
        return answer | {"ServerCertificate": shown | ({"Tags": tags} if tags else {})}

    @operation("TagServerCertificate")
    async def tag_server_certificate(self, caller: Caller, params: Params) -> Params:
        arn = await self._need(caller, params)
        tags = self._store.tags(arn) | {each["Key"]: each["Value"] for each in params["Tags"]}
        if len(tags) > MOST_TAGS:
            raise AwsError("LimitExceeded", f"A server certificate has {MOST_TAGS} tags at most.", 409)
        self._store.tag(arn, tags)
        return {}

    @operation("UntagServerCertificate")
    async def untag_server_certificate(self, caller: Caller, params: Params) -> Params:
        arn = await self._need(caller, params)
        gone = params["TagKeys"]
        self._store.tag(arn, {key: value for key, value in self._store.tags(arn).items() if key not in gone})
        return {}

    @operation("ListServerCertificateTags")
    async def list_server_certificate_tags(self, caller: Caller, params: Params) -> Params:
        # There are so few that they fit on a page whatever its size, but for clients who want one smaller still.
        tags = self._tags(await self._need(caller, params))
        start = int(params.get("Marker") or 0)
        end = start + int(params.get("MaxItems") or len(tags))
        more = end < len(tags)
        return {"Tags": tags[start:end], "IsTruncated": more} | ({"Marker": str(end)} if more else {})

    def _tags(self, arn: str) -> list[Params]:
        return [{"Key": key, "Value": value} for key, value in self._store.tags(arn).items()]

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

    async def _need(self, caller: Caller, params: Params) -> str:
        name = str(params["ServerCertificateName"])
        found = await self._find(caller, name)
        if found is None:
            raise AwsError("NoSuchEntity", f"The Server Certificate with name {name} cannot be found.", 404)
        return found

    async def _find(self, caller: Caller, name: str) -> str | None:
        listed = await self._ancillary("iam", "ListServerCertificates", {}, caller)
        for each in listed.get("ServerCertificateMetadataList") or []:
            if each["ServerCertificateName"] == name:
                return str(each["Arn"])
        return None
