"""Certificates of ACM and IAM as the ELBv2 API meets them, without moto."""

from __future__ import annotations

from typing import Any

from elb_cloud import ElbCloud
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from tls import Authority

ACM = "arn:aws:acm:us-east-1:000000000000:certificate"
IAM = "arn:aws:iam::000000000000:server-certificate"


class Shelf:
    """What ACM and IAM have: statuses by ARN, and what can be served."""

    def __init__(self) -> None:
        self.trusted = Authority()
        self.statuses: dict[str, str] = {}
        self.served: dict[str, Any] = {}

    def put(self, number: int, *names: str, status: str = "ISSUED") -> str:
        arn = f"{ACM}/{number:08x}-0000-0000-0000-000000000000"
        self.statuses[arn] = status
        self.served[arn] = self.trusted.certificate(*names)
        return arn

    def upload(self, name: str, *names: str) -> str:
        arn = f"{IAM}/{name}"
        self.statuses[arn] = "ISSUED"
        self.served[arn] = self.trusted.certificate(*names)
        return arn

    def describe(self, params: Params) -> Params:
        arn = params["CertificateArn"]
        if arn not in self.statuses:
            raise AwsError("ResourceNotFoundException", f"Could not find certificate {arn}.")
        return {"Certificate": {"CertificateArn": arn, "Status": self.statuses[arn]}}

    def listed(self, params: Params) -> Params:
        found = [{"Arn": arn} for arn in self.statuses if arn.startswith(IAM)]
        return {"ServerCertificateMetadataList": found}


def shelf(cloud: ElbCloud) -> Shelf:
    """Give a cloud's load balancers certificates to ask for."""
    made = Shelf()
    cloud.certificates = made.served
    cloud.calls.answers["acm", "DescribeCertificate"] = made.describe
    cloud.calls.answers["iam", "ListServerCertificates"] = made.listed
    return made
