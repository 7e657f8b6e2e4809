"""Stacks with HTTPS listeners, over a whole cloud with Envoy: certificates, their lists, changes and drift."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from pathlib import Path
from typing import Any

import pytest
from test_cfn_drift_clients import create, drift, ended, in_sync, kind, reasons

from backends import free_port
from codepipeline_cloud import Running, cloud
from tls import Authority, shake

HELLO = [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "200", "MessageBody": "hello"}}]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def imported(running: Running, trusted: Authority, *names: str, **more: Any) -> str:
    pair = trusted.pair_for(*names)
    made = await running.do(
        "acm",
        "import_certificate",
        Certificate=pair.chain.encode(),
        PrivateKey=pair.key.encode(),
        CertificateChain=trusted.pair.chain.encode(),
        **more,
    )
    return str(made["CertificateArn"])


async def resources(running: Running, port: int, extra: list[str]) -> dict[str, Any]:
    subnets = [each["SubnetId"] for each in (await running.do("ec2", "describe_subnets"))["Subnets"]][:2]
    return {
        "Certificate": kind(
            "CertificateManager::Certificate",
            DomainName="shop.example.com",
            SubjectAlternativeNames=["*.shop.example.com"],
            ValidationMethod="DNS",
            KeyAlgorithm="EC_prime256v1",
        ),
        "Balancer": kind("ElasticLoadBalancingV2::LoadBalancer", Name="web", Subnets=subnets),
        "Listener": kind(
            "ElasticLoadBalancingV2::Listener",
            LoadBalancerArn={"Ref": "Balancer"},
            Port=port,
            Protocol="HTTPS",
            SslPolicy="ELBSecurityPolicy-TLS13-1-2-2021-06",
            Certificates=[{"CertificateArn": {"Ref": "Certificate"}}],
            DefaultActions=HELLO,
        ),
        "More": kind(
            "ElasticLoadBalancingV2::ListenerCertificate",
            ListenerArn={"Ref": "Listener"},
            Certificates=[{"CertificateArn": each} for each in extra],
        ),
    }


async def physical(running: Running, name: str) -> str:
    found = await running.do("cloudformation", "describe_stack_resource", StackName="web", LogicalResourceId=name)
    return str(found["StackResourceDetail"]["PhysicalResourceId"])


async def test_a_stack_serves_https_and_follows_its_changes(directory: Path) -> None:
    port, trusted = free_port(), Authority()
    async with cloud(directory) as running:
        one = await imported(running, trusted, "one.example.org")
        two = await imported(running, trusted, "two.example.org")
        wanted = await resources(running, port, [one])
        await create(running, wanted)
        await in_sync(running, set(wanted))
        listener, certificate = await physical(running, "Listener"), await physical(running, "Certificate")
        authority = (directory / "home" / "cloud" / "authority.pem").read_text()
        # The cloud's authority vouches for what ACM has issued, and what was brought is shown as it is.
        own = ("shop.example.com", "*.shop.example.com")
        await shown(port, "a.shop.example.com", own, trusted=authority)
        await shown(port, "one.example.org", trusted=trusted.pair.chain)
        await shown(port, "two.example.org", own)
        told = (await running.do("acm", "describe_certificate", CertificateArn=certificate))["Certificate"]
        assert (told["Status"], told["KeyAlgorithm"]) == ("ISSUED", "EC_prime256v1")
        assert told["InUseBy"] == [await physical(running, "Balancer")]
        got = await running.do("acm", "get_certificate", CertificateArn=certificate)
        assert got["CertificateChain"] == authority
        peer = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port))
        assert got["Certificate"].strip() == peer.strip()
        for arn in (certificate, one):
            code, _ = await running.refused("acm", "delete_certificate", CertificateArn=arn)
            assert code == "ResourceInUseException"

        # Somebody adds one, which is no concern of the stack's, and takes one away, which is.
        await running.do(
            "elbv2", "add_listener_certificates", ListenerArn=listener, Certificates=[{"CertificateArn": two}]
        )
        await in_sync(running, set(wanted))
        await running.do(
            "elbv2", "remove_listener_certificates", ListenerArn=listener, Certificates=[{"CertificateArn": one}]
        )
        await running.do("elbv2", "modify_listener", ListenerArn=listener, SslPolicy="ELBSecurityPolicy-2016-08")
        _, found = await drift(running, "web")
        assert {
            n: e["StackResourceDriftStatus"]
            for n, e in found.items()
            if e["StackResourceDriftStatus"] != "IN_SYNC"
        } == {
            "Listener": "MODIFIED",
            "More": "DELETED",
        }

        # Another list; the certificate that was there before the stack wanted it stays when the stack lets go of it.
        three = await imported(running, trusted, "three.example.org")
        wanted["More"]["Properties"]["Certificates"] = [{"CertificateArn": each} for each in (two, three)]
        wanted["Listener"]["Properties"]["SslPolicy"] = "ELBSecurityPolicy-TLS13-1-3-2021-06"
        await update(running, wanted)
        await shown(port, "three.example.org")
        assert (await shake("127.0.0.1", port, "shop.example.com")).version == "TLSv1.3"
        wanted["More"]["Properties"]["Certificates"] = [{"CertificateArn": one}]
        await update(running, wanted)
        assert await certificates(running, listener) == [certificate, two, one]
        # The same ARN with another certificate: what is served follows.
        before = await shown(port, "one.example.org")
        await imported(running, trusted, "one.example.org", CertificateArn=one)
        await shown(port, "one.example.org", other_than=before)
        # Without HTTPS there are no certificates.
        del wanted["More"]
        wanted["Listener"]["Properties"] |= {"Protocol": "HTTP", "DefaultActions": HELLO}
        del wanted["Listener"]["Properties"]["SslPolicy"], wanted["Listener"]["Properties"]["Certificates"]
        await update(running, wanted)
        assert await physical(running, "Listener") == listener
        assert await certificates(running, listener) == []
        await running.do("acm", "delete_certificate", CertificateArn=one)
        await running.do("cloudformation", "delete_stack", StackName="web")
        await running.until(lambda: not stacks(running))
        assert certificate not in [
            each["CertificateArn"]
            for each in (await running.do("acm", "list_certificates"))["CertificateSummaryList"]
        ]


async def test_certificates_that_no_listener_takes(directory: Path) -> None:
    port, trusted = free_port(), Authority()
    async with cloud(directory) as running:
        arn = "arn:aws:acm:us-east-1:000000000000:certificate/00000000-1111-2222-3333-444444444444"
        wanted = await resources(running, port, [arn])
        del wanted["Certificate"]
        wanted["Listener"]["Properties"]["Certificates"] = [
            {"CertificateArn": await imported(running, trusted, "a.b")}
        ]
        await running.do(
            "cloudformation", "create_stack", StackName="web", TemplateBody=json.dumps({"Resources": wanted})
        )

        def over() -> bool:
            (stack,) = running.client("cloudformation").describe_stacks(StackName="web")["Stacks"]
            return bool(stack["StackStatus"] == "ROLLBACK_COMPLETE")

        await running.until(over, 60.0)
        said = await asyncio.to_thread(reasons, running, "web")
        assert any(each.startswith("More: ") and f"Certificate '{arn}' not found" in each for each in said), said
        # A key that is not the certificate's, and one that is none.
        one, two = trusted.pair_for("a.b"), trusted.pair_for("a.b")
        for key, text in (
            (two.key, "The private key does not match the certificate."),
            ("none", "The private key is not PEM-encoded or is not valid."),
        ):
            assert await running.refused(
                "acm", "import_certificate", Certificate=one.chain.encode(), PrivateKey=key.encode()
            ) == ("ValidationException", text)


async def test_a_server_certificate_of_iam(directory: Path) -> None:
    port, trusted = free_port(), Authority()
    pair = trusted.pair_for("mine.example.org")
    async with cloud(directory) as running:
        wanted = await resources(running, port, [])
        del wanted["Certificate"], wanted["More"]
        wanted["Server"] = kind(
            "IAM::ServerCertificate",
            ServerCertificateName="mine",
            Path="/web/",
            CertificateBody=pair.chain,
            PrivateKey=pair.key,
            Tags=[{"Key": "team", "Value": "blue"}],
        )
        wanted["Listener"]["Properties"]["Certificates"] = [{"CertificateArn": {"Fn::GetAtt": ["Server", "Arn"]}}]
        await create(running, wanted)
        listener = await physical(running, "Listener")
        assert (await certificates(running, listener)) == ["arn:aws:iam::000000000000:server-certificate/web/mine"]
        await shown(port, "mine.example.org", trusted=trusted.pair.chain)
        tags = await running.do("iam", "list_server_certificate_tags", ServerCertificateName="mine")
        assert {"Key": "team", "Value": "blue"} in tags["Tags"]
        code, _ = await running.refused("iam", "delete_server_certificate", ServerCertificateName="mine")
        assert code == "DeleteConflict"
        given = {"ServerCertificateName": "other", "CertificateBody": pair.chain}
        other = trusted.pair_for("a.b").key
        assert (await running.refused("iam", "upload_server_certificate", **given, PrivateKey=other))[
            0
        ] == "KeyPairMismatch"
        given["ServerCertificateName"] = "mine"
        assert (await running.refused("iam", "upload_server_certificate", **given, PrivateKey=pair.key))[
            0
        ] == "EntityAlreadyExists"
        await running.do("cloudformation", "delete_stack", StackName="web")
        await running.until(lambda: not stacks(running))
        listed = await running.do("iam", "list_server_certificates")
        assert listed["ServerCertificateMetadataList"] == []


async def test_a_new_start_serves_the_same_certificate(directory: Path) -> None:
    port = free_port()
    async with cloud(directory) as running:
        requested = await running.do("acm", "request_certificate", DomainName="a.example.com")
        arn = requested["CertificateArn"]
        balancer = await resources(running, port, [])
        made = await running.do(
            "elbv2", "create_load_balancer", Name="web", Subnets=balancer["Balancer"]["Properties"]["Subnets"]
        )
        listener = {
            "LoadBalancerArn": made["LoadBalancers"][0]["LoadBalancerArn"],
            "Protocol": "HTTPS",
            "Port": port,
            "Certificates": [{"CertificateArn": arn}],
            "DefaultActions": HELLO,
        }
        # Not before it has been issued.
        assert (await running.refused("elbv2", "create_listener", **listener))[0] == "UnsupportedCertificate"
        told = (await running.do("acm", "describe_certificate", CertificateArn=arn))["Certificate"]
        assert told["Status"] == "PENDING_VALIDATION" and "NotAfter" not in told
        code, _ = await running.refused("acm", "get_certificate", CertificateArn=arn)
        assert code == "RequestInProgressException"
        waiter = running.client("acm").get_waiter("certificate_validated")
        await asyncio.to_thread(waiter.wait, CertificateArn=arn, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
        await running.do("elbv2", "create_listener", **listener)
        before = await shown(port, "a.example.com")
    for name in ("state.db", "ancillary.db"):
        assert os.stat(directory / "home" / "cloud" / name).st_mode & 0o777 == 0o600
    async with cloud(directory) as running:
        assert await shown(port, "a.example.com") == before
        told = (await running.do("acm", "describe_certificate", CertificateArn=arn))["Certificate"]
        assert told["Status"] == "ISSUED"


async def shown(port: int, name: str, names: tuple[str, ...] = (), other_than: int = 0, **more: Any) -> int:
    """The serial number of the certificate for `names`, once a client that names a host is shown it."""
    async with asyncio.timeout(20):
        while True:
            try:
                found = await shake("127.0.0.1", port, name, **more)
            except OSError:
                # Not listening yet, or a certificate that the client does not trust.
                await asyncio.sleep(0.05)
                continue
            if found.names == (names or (name,)) and found.serial != other_than:
                return found.serial
            await asyncio.sleep(0.05)


async def update(running: Running, wanted: dict[str, Any]) -> None:
    await running.do(
        "cloudformation", "update_stack", StackName="web", TemplateBody=json.dumps({"Resources": wanted})
    )
    await ended(running, "UPDATE", "web")


async def certificates(running: Running, listener: str) -> list[str]:
    found = await running.do("elbv2", "describe_listener_certificates", ListenerArn=listener)
    return [each["CertificateArn"] for each in found["Certificates"]]


def stacks(running: Running) -> list[str]:
    found = running.client("cloudformation").list_stacks()["StackSummaries"]
    return [each["StackName"] for each in found if each["StackStatus"] != "DELETE_COMPLETE"]
