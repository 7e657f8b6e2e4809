"""The part of the ELBv2 API that is about TLS: certificates of listeners, and security policies.

Validates, writes and answers; the proxy follows by `proxy_loop.py`. A certificate is asked after at ACM or IAM;
its key comes by the way that the composition root made, for no API gives it away.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from portside.cloud.kernel.database import Database, Transaction
from portside.cloud.machine.proxy import ServerCertificate
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls, Params, operation
from portside.cloud.services.elbv2 import records, ssl_policies
from portside.cloud.services.elbv2.answers import listener_of, page
from portside.cloud.services.elbv2.proxy_loop import ProxyLoop
from portside.cloud.services.elbv2.records import Listener
from portside.cloud.services.elbv2.rules import invalid

# The certificate that a load balancer serves for an ARN; None if there is none that it can serve.
Certificates = Callable[[str], ServerCertificate | None]

# Of one load balancer, besides the default ones.
MOST_CERTIFICATES = 25
_ARN = re.compile(
    r"arn:aws[\w-]*:(?:acm:(?P<region>[a-z0-9-]+):\d{12}:certificate/[\w-]+"
    r"|iam::\d{12}:server-certificate(?:/[\w+=,.@-]+)+)"
)


@dataclass(frozen=True, slots=True)
class Security:
    """What makes a listener an HTTPS one: its default certificate and its policy. Both empty for HTTP."""

    certificate: str = ""
    policy: str = ""


class CertificateOperations:
    """A part of `ElbApi`."""

    _database: Database
    _calls: Calls
    _proxy_loop: ProxyLoop
    _certificates: Certificates

    @operation("DescribeSSLPolicies")
    def describe_ssl_policies(self, caller: Caller, params: Params) -> Params:
        if params.get("LoadBalancerType") == "gateway":
            return {"SslPolicies": []}
        names = params.get("Names") or list(ssl_policies.POLICIES)
        found = [ssl_policies.described(ssl_policies.named(str(name))) for name in names]
        shown, marker = page(found, params)
        return {"SslPolicies": shown, "NextMarker": marker}

    @operation("DescribeListenerCertificates")
    def describe_listener_certificates(self, caller: Caller, params: Params) -> Params:
        listener = listener_of(self._database, params["ListenerArn"])
        found: list[Params] = []
        if listener.certificate:
            found.append({"CertificateArn": listener.certificate, "IsDefault": True})
        found += [{"CertificateArn": arn, "IsDefault": False} for arn in listener.certificates]
        shown, marker = page(found, params)
        return {"Certificates": shown, "NextMarker": marker}

    @operation("AddListenerCertificates")
    async def add_listener_certificates(self, caller: Caller, params: Params) -> Params:
        listener = listener_of(self._database, params["ListenerArn"])
        wanted = _arns(params["Certificates"])
        if listener.protocol != "HTTPS":
            raise AwsError("ValidationError", "A certificate cannot be specified for HTTP listeners")
        for arn in wanted:
            await self._check_certificate(caller, arn)
        with self._database.write() as tx:
            present = listener_of(tx, listener.arn)
            together = tuple(dict.fromkeys([*present.certificates, *wanted]))
            others = [
                arn
                for each in records.listeners(tx, present.load_balancer)
                if each.arn != present.arn
                for arn in each.certificates
            ]
            if len(others) + len(together) > MOST_CERTIFICATES:
                raise AwsError(
                    "TooManyCertificates",
                    f"A load balancer can have {MOST_CERTIFICATES} certificates at most, besides the default ones",
                )
            self._store(tx, replace(present, certificates=together))
        await self._proxy_loop.taken_up()
        return {"Certificates": [{"CertificateArn": arn, "IsDefault": False} for arn in wanted]}

    @operation("RemoveListenerCertificates")
    async def remove_listener_certificates(self, caller: Caller, params: Params) -> Params:
        wanted = _arns(params["Certificates"])
        with self._database.write() as tx:
            present = listener_of(tx, params["ListenerArn"])
            for arn in wanted:
                if arn == present.certificate and arn not in present.certificates:
                    raise AwsError("OperationNotPermitted", "Default certificate cannot be removed")
                if arn not in present.certificates:
                    raise AwsError("CertificateNotFound", f"Certificate '{arn}' not found")
            self._store(
                tx, replace(present, certificates=tuple(arn for arn in present.certificates if arn not in wanted))
            )
        await self._proxy_loop.taken_up()
        return {}

    # What CreateListener and ModifyListener ask

    async def _security(
        self, caller: Caller, params: Params, protocol: str, present: Listener | None = None
    ) -> Security:
        """What a listener of `protocol` shall have after `params`; raises AwsError for what does not fit."""
        if params.get("AlpnPolicy") and any(each != "None" for each in params["AlpnPolicy"]):
            raise AwsError("ValidationError", f"ALPN policies cannot be specified for {protocol} listeners")
        _check_mutual(params.get("MutualAuthentication") or {}, protocol)
        given = _arns(params.get("Certificates") or [])
        if protocol == "HTTP":
            if given:
                raise AwsError("ValidationError", "A certificate cannot be specified for HTTP listeners")
            if params.get("SslPolicy"):
                # Spelled as AWS does.
                raise AwsError("ValidationError", "An SSL policy cannot be specifed for HTTP listeners")
            return Security()
        if len(given) > 1:
            raise AwsError(
                "TooManyCertificates",
                f"Up to '1' certificate ARNs can be specified, but '{len(given)}' were specified",
            )
        certificate = given[0] if given else (present.certificate if present else "")
        if not certificate:
            raise AwsError("ValidationError", "A certificate must be specified for HTTPS listeners")
        kept = present.ssl_policy if present else ""
        policy = ssl_policies.named(str(params.get("SslPolicy") or kept or ssl_policies.DEFAULT))
        if given:
            await self._check_certificate(caller, certificate)
        return Security(certificate, policy.name)

    async def _check_certificate(self, caller: Caller, arn: str) -> None:
        """Whether it is there, issued, and such that it can be served."""
        found = _ARN.fullmatch(arn)
        if found is None or found["region"] not in (None, caller.region):
            raise AwsError("ValidationError", f"Certificate ARN '{arn}' is not valid")
        # It is the load balancer that looks, not the caller.
        itself = Caller.root(caller.account, caller.region)
        if found["region"] is None:
            listed = await self._calls("iam", "ListServerCertificates", {}, itself)
            if arn not in [each["Arn"] for each in listed.get("ServerCertificateMetadataList") or []]:
                raise AwsError("CertificateNotFound", f"Certificate '{arn}' not found")
        elif await self._status(arn, itself) != "ISSUED":
            raise _unsupported(arn)
        if self._certificates(arn) is None:
            raise _unsupported(arn)

    async def _status(self, arn: str, caller: Caller) -> str:
        try:
            found = await self._calls("acm", "DescribeCertificate", {"CertificateArn": arn}, caller)
        except AwsError as error:
            if error.code == "ResourceNotFoundException":
                raise AwsError("CertificateNotFound", f"Certificate '{arn}' not found") from None
            raise
        return str(found["Certificate"].get("Status"))

    def _store(self, tx: Transaction, record: Listener) -> None:
        records.store_listener(tx, record)
        tx.after_commit(self._proxy_loop.wake)


def _arns(given: Sequence[Params]) -> list[str]:
    if any(each.get("IsDefault") is not None for each in given):
        raise AwsError("ValidationError", "You cannot set the isDefault parameter for a certificate.")
    return list(dict.fromkeys(str(each.get("CertificateArn") or "") for each in given))


def _check_mutual(given: Params, protocol: str) -> None:
    mode = str(given.get("Mode") or "off")
    if mode == "off":
        return
    if protocol == "HTTP":
        raise AwsError("ValidationError", "Mutual authentication cannot be specified for HTTP listeners")
    raise invalid(
        f"portside's load balancers do not ask clients for certificates: the mode '{mode}' is not offered"
    )


def _unsupported(arn: str) -> AwsError:
    return AwsError(
        "UnsupportedCertificate",
        f"The certificate '{arn}' must have a fully-qualified domain name, a supported signature, and a supported"
        " key size.",
    )
