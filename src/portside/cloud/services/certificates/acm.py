"""The part of ACM that load balancers depend on: what a certificate is, when it is issued, and its key.

Validates, keeps, and hands everything else on to the ancillary endpoint, whose own tags, lists and options stay as
they are. A requested certificate is issued by the cloud's authority after a while, for no name can be validated
here; an imported one is served as it was brought.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable
from dataclasses import replace

from portside.cloud.kernel.clock import Clock, Pace
from portside.cloud.protocol.errors import AwsError
from portside.cloud.protocol.shapes import Violation, describe
from portside.cloud.services.calls import Caller, Calls, Params, Service, operation, operations_of
from portside.cloud.services.certificates import authority
from portside.cloud.services.certificates.authority import CertificateFault
from portside.cloud.services.certificates.store import Certificate, CertificateStore

# How long validation takes.
VALIDATION = 60.0
DAY = 86400.0
# The ARNs of the load balancers that use a certificate.
Users = Callable[[str], Awaitable[list[str]]]


class AcmApi:
    """Answers a part of ACM's operations; `ancillary` answers all of them."""

    def __init__(
        self, *, store: CertificateStore, ancillary: Calls, users: Users, clock: Clock, pace: Pace
    ) -> None:
        self._store = store
        self._ancillary = ancillary
        self._users = users
        self._clock = clock
        self._pace = pace
        self._issuing = asyncio.Lock()

    def service(self) -> Service:
        return Service("acm", operations_of(self), invalid=_invalid, partial=True)

    @operation("RequestCertificate")
    async def request_certificate(self, caller: Caller, params: Params) -> Params:
        algorithm = str(params.get("KeyAlgorithm") or "RSA_2048")
        if algorithm not in authority.ALGORITHMS:
            raise AwsError(
                "InvalidParameterException",
                f"portside issues certificates with keys of {', '.join(authority.ALGORITHMS)}, not '{algorithm}'",
            )
        answer = await self._ancillary("acm", "RequestCertificate", params, caller)
        arn = str(answer["CertificateArn"])
        # The same token asks for the same certificate again.
        if self._store.find(arn) is None:
            self._store.keep(Certificate(arn, "requested", self._clock.now(), algorithm))
        return answer

    @operation("ImportCertificate")
    async def import_certificate(self, caller: Caller, params: Params) -> Params:
        present = self._store.find(str(params.get("CertificateArn") or ""))
        if present is not None and present.kind == "requested":
            raise AwsError("ValidationException", f"The certificate {present.arn} was not imported.")
        try:
            pair = authority.brought(
                _text(params["Certificate"]),
                _text(params["PrivateKey"]),
                _text(params.get("CertificateChain") or ""),
            )
        except CertificateFault as fault:
            raise AwsError("ValidationException", fault.message) from None
        answer = await self._ancillary("acm", "ImportCertificate", params, caller)
        arn = str(answer["CertificateArn"])
        algorithm = authority.facts(pair.chain).algorithm
        self._store.keep(Certificate(arn, "imported", self._clock.now(), algorithm, pair))
        return answer

    @operation("DescribeCertificate")
    async def describe_certificate(self, caller: Caller, params: Params) -> Params:
        answer = await self._ancillary("acm", "DescribeCertificate", params, caller)
        shown: Params = answer["Certificate"]
        found = await self._current(shown)
        return answer | {"Certificate": await self._described(found, shown)}

    @operation("ListCertificates")
    async def list_certificates(self, caller: Caller, params: Params) -> Params:
        statuses = params.get("CertificateStatuses") or []
        rest = {key: value for key, value in params.items() if key != "CertificateStatuses"}
        answer = await self._ancillary("acm", "ListCertificates", rest, caller)
        listed = []
        for shown in answer.get("CertificateSummaryList") or []:
            found = self._store.find(shown["CertificateArn"])
            users = await self._users(shown["CertificateArn"])
            one = shown | {"InUse": bool(users)}
            if found is not None and found.kind == "requested":
                one |= {"Status": self._status(found, shown), "KeyAlgorithm": found.algorithm}
            if not statuses or one.get("Status") in statuses:
                listed.append(one)
        return answer | {"CertificateSummaryList": listed}

    @operation("GetCertificate")
    async def get_certificate(self, caller: Caller, params: Params) -> Params:
        described = await self._ancillary("acm", "DescribeCertificate", params, caller)
        found = await self._current(described["Certificate"])
        if found is None:
            return await self._ancillary("acm", "GetCertificate", params, caller)
        if found.pair is None:
            raise AwsError(
                "RequestInProgressException", f"The certificate request of {found.arn} is still in progress."
            )
        own, rest = _split(found.pair.chain)
        if found.kind == "requested":
            rest = self._store.authority_chain()
        return {"Certificate": own} | ({"CertificateChain": rest} if rest else {})

    @operation("ExportCertificate")
    async def export_certificate(self, caller: Caller, params: Params) -> Params:
        described = await self._ancillary("acm", "DescribeCertificate", _arn(params), caller)
        shown: Params = described["Certificate"]
        found = await self._current(shown)
        exportable = (shown.get("Options") or {}).get("Export") == "ENABLED"
        if found is None or found.kind != "requested" or not exportable:
            return await self._ancillary("acm", "ExportCertificate", params, caller)
        if found.pair is None:
            raise AwsError(
                "RequestInProgressException", f"The certificate request of {found.arn} is still in progress."
            )
        passphrase = params["Passphrase"]
        own, _ = _split(found.pair.chain)
        return {
            "Certificate": own,
            "CertificateChain": self._store.authority_chain(),
            "PrivateKey": authority.encrypted(
                found.pair.key, passphrase if isinstance(passphrase, bytes) else str(passphrase).encode()
            ),
        }

    @operation("DeleteCertificate")
    async def delete_certificate(self, caller: Caller, params: Params) -> Params:
        arn = str(params["CertificateArn"])
        if await self._users(arn):
            raise AwsError(
                "ResourceInUseException",
                f"Certificate {arn} in account {caller.account} is in use.",
            )
        answer = await self._ancillary("acm", "DeleteCertificate", params, caller)
        self._store.drop(arn)
        return answer

    # What is kept

    def _status(self, found: Certificate, shown: Params) -> str:
        """Validation takes its time; a certificate that has been issued stays so."""
        if found.pair is not None or self._clock.now() >= found.since + self._pace.wait(VALIDATION):
            return "ISSUED"
        return str(shown.get("Status") or "PENDING_VALIDATION")

    async def _current(self, shown: Params) -> Certificate | None:
        """The kept certificate, issued if it is time, and issued anew before it ends. None if there is no key."""
        # One at a time, so that nobody is told of a certificate that another one takes the place of.
        async with self._issuing:
            return await self._issued(shown)

    async def _issued(self, shown: Params) -> Certificate | None:
        arn = str(shown["CertificateArn"])
        found = self._store.find(arn)
        if found is None and shown.get("Type") == "AMAZON_ISSUED":
            # Requested before this cloud kept keys, or by another way.
            found = Certificate(arn, "requested", self._clock.now(), "RSA_2048")
            self._store.keep(found)
        if found is None or found.kind != "requested" or self._status(found, shown) != "ISSUED":
            return found
        soon = self._clock.now() + authority.RENEWED_DAYS * DAY
        if found.pair is not None and authority.facts(found.pair.chain).ends > soon:
            return found
        domain = str(shown["DomainName"]).lower()
        others = sorted({str(each).lower() for each in shown.get("SubjectAlternativeNames") or []} - {domain})
        found = replace(found, pair=await self._store.issue((domain, *others), found.algorithm))
        self._store.keep(found)
        return found

    async def _described(self, found: Certificate | None, shown: Params) -> Params:
        shown = shown | {"InUseBy": await self._users(str(shown["CertificateArn"]))}
        if found is None or found.kind != "requested":
            return shown
        status = self._status(found, shown)
        kept = {key: value for key, value in shown.items() if key not in _OF_ISSUED}
        kept |= {"Status": status, "KeyAlgorithm": found.algorithm, "CreatedAt": found.since}
        state = "SUCCESS" if status == "ISSUED" else "PENDING_VALIDATION"
        options = [each | {"ValidationStatus": state} for each in shown.get("DomainValidationOptions") or []]
        if options:
            kept["DomainValidationOptions"] = sorted(options, key=lambda each: str(each["DomainName"]))
        if found.pair is None:
            return kept
        facts = authority.facts(found.pair.chain)
        return kept | {
            "IssuedAt": found.since + self._pace.wait(VALIDATION),
            "NotBefore": facts.begins,
            "NotAfter": facts.ends,
            "Serial": facts.serial,
            "Issuer": facts.issuer,
            "SignatureAlgorithm": facts.signed_by,
            "Subject": facts.subject,
            "SubjectAlternativeNames": list(facts.names),
        }


_OF_ISSUED = frozenset({"IssuedAt", "NotBefore", "NotAfter", "Serial", "Issuer", "SignatureAlgorithm"})


def _arn(params: Params) -> Params:
    return {"CertificateArn": params["CertificateArn"]}


def _text(value: object) -> str:
    """PEM, which arrives as bytes, or as base64 where a call comes from inside."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    text = str(value)
    if "-----BEGIN" in text or not text:
        return text
    try:
        return base64.b64decode(text, validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return text


def _split(chain: str) -> tuple[str, str]:
    """The certificate itself, and those that vouch for it."""
    end = "-----END CERTIFICATE-----\n"
    own, _, rest = chain.partition(end)
    return own + end, rest


def _invalid(found: list[Violation]) -> AwsError:
    return AwsError("ValidationException", describe(found))
