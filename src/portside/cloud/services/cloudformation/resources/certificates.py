"""AWS::CertificateManager::Certificate."""

from __future__ import annotations

from typing import ClassVar

from portside.cloud.kernel.ids import Ids
from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.declared import Call, Declared, Listing, Tagging
from portside.cloud.services.cloudformation.resources.dns import ROUTE53, bare
from portside.cloud.services.cloudformation.resources.handler import Work


class Certificate(Declared):
    """Issued once its domain is validated, which the ancillary services do by themselves after a while. Records
    for validation are put into the zones that the template names."""

    type = "AWS::CertificateManager::Certificate"
    service = "acm"
    creates = Call("RequestCertificate", {"IdempotencyToken": "$token"}, "CertificateArn")
    reads = Call("DescribeCertificate", {"CertificateArn": "$id"}, "Certificate")
    listing = Listing(
        Call("ListCertificates", {}, "CertificateSummaryList"), "CertificateArn", {"DomainName": "@DomainName"}
    )
    deletes = Call("DeleteCertificate", {"CertificateArn": "$id"})
    outputs: ClassVar = {"CertificateArn": "$id"}
    tagged = True
    tagging = Tagging("AddTagsToCertificate", "RemoveTagsFromCertificate", "CertificateArn", keys="Tags")
    state_path = "Status"
    complete = frozenset({"ISSUED"})
    hopeless = frozenset({"FAILED", "VALIDATION_TIMED_OUT", "REVOKED"})

    def choose_name(self, ids: Ids, stack_name: str, logical_id: str, properties: Params) -> str:
        return ""

    def given(self, properties: Params) -> Params:
        found = dict(properties)
        options = {
            member: found.pop(name)
            for name, member in (
                ("CertificateTransparencyLoggingPreference", "CertificateTransparencyLoggingPreference"),
                ("CertificateExport", "Export"),
            )
            if name in found
        }
        if options:
            found["Options"] = options
        domains = [
            {key: value for key, value in each.items() if key != "HostedZoneId"}
            for each in found.pop("DomainValidationOptions", None) or []
        ]
        named = [each for each in domains if "ValidationDomain" in each]
        return found | ({"DomainValidationOptions": named} if named else {})

    def _names(self, work: Work, call: Call, identifier: str) -> Params:
        found = super()._names(work, call, identifier)
        if "IdempotencyToken" in found:
            # ACM takes up to 32 characters of A-Z, a-z, 0-9 and the underscore.
            found["IdempotencyToken"] = str(found["IdempotencyToken"]).replace("-", "")[:32]
        return found

    async def configure(self, work: Work) -> None:
        zones = {
            each["DomainName"]: each["HostedZoneId"]
            for each in work.properties.get("DomainValidationOptions") or []
            if each.get("HostedZoneId")
        }
        if not zones:
            return
        described = await self._ask(work, Call("DescribeCertificate", {"CertificateArn": "$id"}, "Certificate"))
        for each in described.get("DomainValidationOptions") or []:
            record, zone = each.get("ResourceRecord"), zones.get(each["DomainName"])
            if not record or not zone:
                continue
            wanted = {
                "Name": record["Name"],
                "Type": record["Type"],
                "TTL": 300,
                "ResourceRecords": [{"Value": record["Value"]}],
            }
            batch = {"Changes": [{"Action": "UPSERT", "ResourceRecordSet": wanted}]}
            params = {"HostedZoneId": bare(str(zone)), "ChangeBatch": batch}
            await work.call(ROUTE53, "ChangeResourceRecordSets", params)

    async def _retag(self, work: Work) -> None:
        before, wanted = work.old.get("Tags") or [], self.own_tags(work)
        certificate = {"CertificateArn": work.physical_id}
        if wanted:
            tags = [{"Key": key, "Value": value} for key, value in wanted.items()]
            await work.call("acm", "AddTagsToCertificate", certificate | {"Tags": tags})
        stale = [each for each in before if each["Key"] not in wanted]
        if stale:
            await work.call("acm", "RemoveTagsFromCertificate", certificate | {"Tags": stale})
