"""A requested certificate from its request to its renewal, and what stays with the ancillary endpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from portside.cloud.kernel.clock import AWS_PACE
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Params
from portside.cloud.services.certificates import authority
from portside.cloud.services.certificates.acm import DAY, AcmApi
from portside.cloud.services.certificates.store import CertificateStore
from portside.testing.calls import ScriptedCalls
from portside.testing.clock import VirtualClock
from portside.testing.server import ACCOUNT, REGION

CALLER = Caller.root(ACCOUNT, REGION)
ARN = f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/1"


class Acm:
    def __init__(self, directory: Path) -> None:
        self.clock = VirtualClock()
        self.shown: Params = {
            "CertificateArn": ARN,
            "DomainName": "A.example.com",
            "SubjectAlternativeNames": ["b.example.com", "A.example.com"],
            "Status": "PENDING_VALIDATION",
            "Type": "AMAZON_ISSUED",
            "Options": {"Export": "ENABLED"},
            "DomainValidationOptions": [{"DomainName": "A.example.com"}],
            "NotAfter": 1.0,
        }
        self.ancillary = ScriptedCalls(
            {
                ("acm", "RequestCertificate"): lambda params: {"CertificateArn": ARN},
                ("acm", "DescribeCertificate"): lambda params: {"Certificate": self.shown},
                ("acm", "ListCertificates"): lambda params: {"CertificateSummaryList": [self.shown]},
                ("acm", "DeleteCertificate"): lambda params: {},
            }
        )
        self.store = CertificateStore(
            database=Database(directory / "state.db"),
            ids=Ids(1),
            clock=self.clock,
            cloud="c1",
            file=directory / "authority.pem",
        )
        self.users: list[str] = []

        async def users(arn: str) -> list[str]:
            return self.users

        self.api = AcmApi(store=self.store, ancillary=self.ancillary, users=users, clock=self.clock, pace=AWS_PACE)

    async def call(self, operation: str, **params: Any) -> Params:
        result: Any = self.api.service().operations[operation](CALLER, params)
        answer: Params = await result
        return answer

    async def described(self) -> Params:
        found: Params = (await self.call("DescribeCertificate", CertificateArn=ARN))["Certificate"]
        return found


@pytest.fixture
def acm(tmp_path: Path) -> Acm:
    return Acm(tmp_path)


async def test_issued_after_a_while_and_renewed_before_it_ends(acm: Acm) -> None:
    told: list[bool] = []
    acm.store.changed.append(lambda: told.append(True))
    await acm.call("RequestCertificate", DomainName="A.example.com", KeyAlgorithm="EC_prime256v1")
    found = await acm.described()
    assert (found["Status"], found["KeyAlgorithm"]) == ("PENDING_VALIDATION", "EC_prime256v1")
    assert "NotAfter" not in found
    assert acm.store.served(ARN) is None
    await acm.clock.advance(60)
    found = await acm.described()
    assert found["Status"] == "ISSUED"
    assert found["SubjectAlternativeNames"] == ["a.example.com", "b.example.com"]
    assert found["DomainValidationOptions"][0]["ValidationStatus"] == "SUCCESS"
    listed = await acm.call("ListCertificates", CertificateStatuses=["ISSUED"])
    assert len(listed["CertificateSummaryList"]) == 1
    served = acm.store.served(ARN)
    assert served is not None and served.names == ("a.example.com", "b.example.com")
    # It stays what it is until it is about to end.
    await acm.clock.advance(300 * DAY)
    await acm.described()
    assert acm.store.served(ARN) == served
    before = len(told)
    await acm.clock.advance(50 * DAY)
    assert (await acm.described())["NotAfter"] > found["NotAfter"]
    assert acm.store.served(ARN) != served
    assert len(told) > before


async def test_the_one_that_is_served_is_the_one_that_can_be_got(acm: Acm) -> None:
    await acm.call("RequestCertificate", DomainName="A.example.com", KeyAlgorithm="EC_prime256v1")
    for operation, more in (("GetCertificate", {}), ("ExportCertificate", {"Passphrase": b"word"})):
        with pytest.raises(AwsError) as refused:
            await acm.call(operation, CertificateArn=ARN, **more)
        assert refused.value.code == "RequestInProgressException"
    await acm.clock.advance(60)
    got = await acm.call("GetCertificate", CertificateArn=ARN)
    served = acm.store.served(ARN)
    assert served is not None and got["Certificate"] == served.chain
    assert authority.facts(got["CertificateChain"]).subject == "CN=portside local cloud c1"
    exported = await acm.call("ExportCertificate", CertificateArn=ARN, Passphrase=b"word")
    assert exported["Certificate"] == served.chain
    assert "ENCRYPTED PRIVATE KEY" in exported["PrivateKey"]


async def test_what_is_in_use_stays(acm: Acm) -> None:
    await acm.call("RequestCertificate", DomainName="A.example.com")
    acm.users.append("arn:of:balancer")
    assert (await acm.described())["InUseBy"] == ["arn:of:balancer"]
    with pytest.raises(AwsError) as refused:
        await acm.call("DeleteCertificate", CertificateArn=ARN)
    assert refused.value.code == "ResourceInUseException"
    acm.users.clear()
    await acm.call("DeleteCertificate", CertificateArn=ARN)
    assert acm.store.find(ARN) is None


async def test_keys_that_are_not_offered(acm: Acm) -> None:
    with pytest.raises(AwsError, match="RSA_2048, EC_prime256v1, EC_secp384r1, not 'RSA_1024'"):
        await acm.call("RequestCertificate", DomainName="a.b", KeyAlgorithm="RSA_1024")
    assert acm.ancillary.made == []
