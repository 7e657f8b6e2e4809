"""The tags of IAM's server certificates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Params
from portside.cloud.services.certificates.server_certificates import ServerCertificates
from portside.cloud.services.certificates.store import CertificateStore
from portside.testing.calls import ScriptedCalls
from portside.testing.clock import VirtualClock
from portside.testing.server import ACCOUNT, REGION
from tls import Authority

CALLER = Caller(ACCOUNT, REGION, f"arn:aws:iam::{ACCOUNT}:root")


class Iam:
    def __init__(self, directory: Path) -> None:
        self.present: dict[str, Params] = {}
        clock = VirtualClock()
        calls = ScriptedCalls(
            {
                ("iam", "ListServerCertificates"): lambda params: {
                    "ServerCertificateMetadataList": list(self.present.values())
                },
                ("iam", "UploadServerCertificate"): self._upload,
                ("iam", "GetServerCertificate"): lambda params: {
                    "ServerCertificate": {
                        "ServerCertificateMetadata": self.present[params["ServerCertificateName"]]
                    }
                },
                ("iam", "DeleteServerCertificate"): lambda params: (
                    self.present.pop(params["ServerCertificateName"]) and {}
                ),
            }
        )
        store = CertificateStore(
            database=Database(directory / "state.db"),
            ids=Ids(1),
            clock=clock,
            cloud="c1",
            file=directory / "authority.pem",
        )

        async def users(arn: str) -> list[str]:
            return []

        self.operations = (
            ServerCertificates(store=store, ancillary=calls, users=users, clock=clock).service().operations
        )

    def _upload(self, params: Params) -> Params:
        name = params["ServerCertificateName"]
        arn = f"arn:aws:iam::{ACCOUNT}:server-certificate/{name}"
        self.present[name] = {"ServerCertificateName": name, "Arn": arn}
        return {"ServerCertificateMetadata": self.present[name]}

    async def call(self, operation: str, **params: Any) -> Params:
        answer: Params = await self.operations[operation](CALLER, {"ServerCertificateName": "mine"} | params)  # type: ignore[misc]
        return answer

    async def upload(self, **more: Any) -> Params:
        pair = Authority().pair_for("mine.example.org")
        return await self.call("UploadServerCertificate", CertificateBody=pair.chain, PrivateKey=pair.key, **more)


def tag(key: str, value: str) -> Params:
    return {"Key": key, "Value": value}


async def test_tags_are_kept_and_shown(tmp_path: Path) -> None:
    iam = Iam(tmp_path)
    made = await iam.upload(Tags=[tag("team", "blue"), tag("app", "web")])
    assert made["Tags"] == [tag("app", "web"), tag("team", "blue")]
    await iam.call("TagServerCertificate", Tags=[tag("team", "red"), tag("x", "")])
    await iam.call("UntagServerCertificate", TagKeys=["app", "none"])
    shown = (await iam.call("GetServerCertificate"))["ServerCertificate"]["Tags"]
    assert shown == [tag("team", "red"), tag("x", "")]
    assert await iam.call("ListServerCertificateTags") == {"Tags": shown, "IsTruncated": False}
    page = await iam.call("ListServerCertificateTags", MaxItems=1)
    assert page == {"Tags": shown[:1], "IsTruncated": True, "Marker": "1"}
    rest = await iam.call("ListServerCertificateTags", MaxItems=1, Marker="1")
    assert rest == {"Tags": shown[1:], "IsTruncated": False}


async def test_they_go_with_the_certificate(tmp_path: Path) -> None:
    iam = Iam(tmp_path)
    await iam.upload(Tags=[tag("a", "1")])
    await iam.call("DeleteServerCertificate")
    with pytest.raises(AwsError) as error:
        await iam.call("ListServerCertificateTags")
    assert error.value.code == "NoSuchEntity"
    assert "Tags" not in await iam.upload()
    with pytest.raises(AwsError) as error:
        await iam.call("TagServerCertificate", Tags=[tag(f"k{number}", "") for number in range(51)])
    assert error.value.code == "LimitExceeded"
