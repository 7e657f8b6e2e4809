"""HTTPS listeners, their certificates and security policies as boto3 sees them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aws_clients import AwsClient
from elb_cloud import SUBNETS, VPC, ElbCloud, elb_cloud, forward, instance
from elb_https import ACM, IAM, Shelf, shelf
from portside.testing.server import serve


class Https:
    """A load balancer, a target group and certificates."""

    def __init__(self, elb: AwsClient, cloud: ElbCloud) -> None:
        self.elb = elb
        self.cloud = cloud
        self.shelf: Shelf = shelf(cloud)
        self.balancer = self.group = ""

    async def make(self) -> None:
        balancer = (await self.elb("create_load_balancer", Name="web", Subnets=SUBNETS))["LoadBalancers"][0]
        self.balancer = balancer["LoadBalancerArn"]
        settings = {"Name": "web", "Protocol": "HTTP", "Port": 3000, "VpcId": VPC}
        self.group = (await self.elb("create_target_group", **settings))["TargetGroups"][0]["TargetGroupArn"]

    def request(self, certificate: str = "", **more: Any) -> dict[str, Any]:
        given: dict[str, Any] = {
            "LoadBalancerArn": self.balancer,
            "Protocol": "HTTPS",
            "Port": 443,
            "DefaultActions": forward(self.group),
        }
        return given | ({"Certificates": [{"CertificateArn": certificate}]} if certificate else {}) | more

    async def listener(self, certificate: str, **more: Any) -> dict[str, Any]:
        made = await self.elb("create_listener", **self.request(certificate, **more))
        found: dict[str, Any] = made["Listeners"][0]
        return found

    async def certificates(self, arn: str) -> list[tuple[str, bool]]:
        found = await self.elb("describe_listener_certificates", ListenerArn=arn)
        return [(each["CertificateArn"], each["IsDefault"]) for each in found["Certificates"]]

    async def served(self) -> list[tuple[str, ...]]:
        """The names of the certificates in their order, once the proxy has taken up what was asked last."""
        while True:
            wanted = await self.cloud.elb.proxy_loop.turn("proxy")
            for socket in self.cloud.proxy.served.listeners:
                if socket.tls is not None:
                    return [each.names for each in socket.tls.certificates]
            assert wanted is not None
            return []


@asynccontextmanager
async def https(directory: Path) -> AsyncIterator[Https]:
    async with elb_cloud(directory) as cloud, serve([cloud.elb.service()]) as url:
        made = Https(AwsClient("elbv2", url), cloud)
        await made.make()
        yield made


async def test_an_https_listener_in_full(tmp_path: Path) -> None:
    async with https(tmp_path) as it:
        one = it.shelf.put(1, "a.example.com")
        shown = await it.listener(one)
        assert shown["Protocol"] == "HTTPS"
        assert shown["Certificates"] == [{"CertificateArn": one}]
        # The default where the request names none; the console has another one.
        assert shown["SslPolicy"] == "ELBSecurityPolicy-2016-08"
        assert shown["MutualAuthentication"] == {"Mode": "off"}
        found = await it.elb("describe_listeners", LoadBalancerArn=it.balancer)
        assert found["Listeners"] == [shown]
        # The same once more is the same listener, another certificate on that port is not.
        assert (await it.listener(one))["ListenerArn"] == shown["ListenerArn"]
        two = it.shelf.put(2, "b.example.com")
        assert (await it.elb.refused("create_listener", **it.request(two)))[0] == "DuplicateListener"
        changed = await it.elb(
            "modify_listener",
            ListenerArn=shown["ListenerArn"],
            Certificates=[{"CertificateArn": two}],
            SslPolicy="ELBSecurityPolicy-TLS13-1-2-Res-2021-06",
        )
        assert changed["Listeners"][0]["Certificates"] == [{"CertificateArn": two}]
        assert changed["Listeners"][0]["SslPolicy"] == "ELBSecurityPolicy-TLS13-1-2-Res-2021-06"
        assert await it.certificates(shown["ListenerArn"]) == [(two, True)]
        assert await it.served() == [("b.example.com",)]
        (socket,) = it.cloud.proxy.served.listeners
        assert socket.tls is not None
        assert (socket.tls.minimum, socket.tls.maximum) == ("TLSv1.2", "TLSv1.3")
        # A certificate of IAM's does as well.
        server = it.shelf.upload("web/mine", "c.example.com")
        changed = await it.elb(
            "modify_listener", ListenerArn=shown["ListenerArn"], Certificates=[{"CertificateArn": server}]
        )
        assert changed["Listeners"][0]["Certificates"] == [{"CertificateArn": server}]
        await it.elb("delete_listener", ListenerArn=shown["ListenerArn"])
        assert await it.served() == []


async def test_what_makes_no_https_listener(tmp_path: Path) -> None:
    async with https(tmp_path) as it:
        one, two = it.shelf.put(1, "a.example.com"), it.shelf.put(2, "b.example.com")
        pending = it.shelf.put(3, "c.example.com", status="PENDING_VALIDATION")
        keyless = it.shelf.put(4, "d.example.com")
        del it.shelf.served[keyless]
        nowhere, elsewhere = f"{ACM}/00000000-1111-1111-1111-111111111111", one.replace("us-east-1", "eu-west-1")
        unsupported = "must have a fully-qualified domain name, a supported signature, and a supported key size."
        for params, code, text in (
            (it.request(), "ValidationError", "A certificate must be specified for HTTPS listeners"),
            (it.request(nowhere), "CertificateNotFound", f"Certificate '{nowhere}' not found"),
            (it.request(f"{IAM}/none"), "CertificateNotFound", f"Certificate '{IAM}/none' not found"),
            (it.request("cert"), "ValidationError", "Certificate ARN 'cert' is not valid"),
            (it.request(elsewhere), "ValidationError", f"Certificate ARN '{elsewhere}' is not valid"),
            (it.request(pending), "UnsupportedCertificate", f"The certificate '{pending}' {unsupported}"),
            (it.request(keyless), "UnsupportedCertificate", f"The certificate '{keyless}' {unsupported}"),
            (
                it.request(Certificates=[{"CertificateArn": one}, {"CertificateArn": two}]),
                "TooManyCertificates",
                "Up to '1' certificate ARNs can be specified, but '2' were specified",
            ),
            (
                it.request(Certificates=[{"CertificateArn": one, "IsDefault": True}]),
                "ValidationError",
                "You cannot set the isDefault parameter for a certificate.",
            ),
            (it.request(one, SslPolicy="Strict"), "SSLPolicyNotFound", "SSL policy 'Strict' not found"),
            (
                it.request(one, SslPolicy="ELBSecurityPolicy-TLS13-1-2-RFC9151-FIPS-2023-07"),
                "SSLPolicyNotFound",
                "portside's load balancers do not offer the policies of RFC 9151:"
                " 'ELBSecurityPolicy-TLS13-1-2-RFC9151-FIPS-2023-07'",
            ),
            (
                it.request(one, AlpnPolicy=["HTTP2Preferred"]),
                "ValidationError",
                "ALPN policies cannot be specified for HTTPS listeners",
            ),
            (
                it.request(one, MutualAuthentication={"Mode": "passthrough"}),
                "InvalidConfigurationRequest",
                "portside's load balancers do not ask clients for certificates: the mode 'passthrough' is not offered",
            ),
            (
                it.request(one, Protocol="HTTP"),
                "ValidationError",
                "A certificate cannot be specified for HTTP listeners",
            ),
            (
                it.request(Protocol="HTTP", SslPolicy="ELBSecurityPolicy-2016-08"),
                "ValidationError",
                "An SSL policy cannot be specifed for HTTP listeners",
            ),
        ):
            assert await it.elb.refused("create_listener", **params) == (code, text)
        assert (await it.elb("describe_listeners", LoadBalancerArn=it.balancer))["Listeners"] == []


async def test_a_listener_changes_its_protocol(tmp_path: Path) -> None:
    async with https(tmp_path) as it:
        one, two = it.shelf.put(1, "a.example.com"), it.shelf.put(2, "b.example.com")
        plain = await it.listener("", Protocol="HTTP", Port=8443)
        arn = plain["ListenerArn"]
        assert "SslPolicy" not in plain and "Certificates" not in plain
        assert await it.elb.refused("modify_listener", ListenerArn=arn, Protocol="HTTPS") == (
            "ValidationError",
            "A certificate must be specified for HTTPS listeners",
        )
        changed = await it.elb(
            "modify_listener", ListenerArn=arn, Protocol="HTTPS", Certificates=[{"CertificateArn": one}]
        )
        assert changed["Listeners"][0]["SslPolicy"] == "ELBSecurityPolicy-2016-08"
        await it.elb("add_listener_certificates", ListenerArn=arn, Certificates=[{"CertificateArn": two}])
        # The policy and the certificates go with the protocol.
        changed = await it.elb("modify_listener", ListenerArn=arn, Protocol="HTTP")
        assert "SslPolicy" not in changed["Listeners"][0] and "Certificates" not in changed["Listeners"][0]
        assert await it.certificates(arn) == []
        assert await it.served() == []


async def test_the_certificate_list_of_a_listener(tmp_path: Path) -> None:
    async with https(tmp_path) as it:
        one, two, three = (it.shelf.put(n, f"{n}.example.com", f"*.{n}.example.com") for n in (1, 2, 3))
        arn = (await it.listener(one))["ListenerArn"]

        async def add(*certificates: str) -> Any:
            given = [{"CertificateArn": each} for each in certificates]
            return await it.elb("add_listener_certificates", ListenerArn=arn, Certificates=given)

        answer = await add(two, three)
        assert answer["Certificates"] == [{"CertificateArn": each, "IsDefault": False} for each in (two, three)]
        await add(two)
        assert await it.certificates(arn) == [(one, True), (two, False), (three, False)]
        pages = await asyncio.to_thread(
            lambda: [
                each["CertificateArn"]
                for page in it.elb.boto.get_paginator("describe_listener_certificates").paginate(
                    ListenerArn=arn, PaginationConfig={"PageSize": 2}
                )
                for each in page["Certificates"]
            ]
        )
        assert pages == [one, two, three]
        names = [(f"{n}.example.com", f"*.{n}.example.com") for n in (1, 2, 3)]
        assert await it.served() == names
        # The default one may stand in the list as well, and only leaves the list.
        await add(one)
        assert await it.certificates(arn) == [(one, True), (two, False), (three, False), (one, False)]
        assert await it.served() == names
        for expected in (None, ("OperationNotPermitted", "Default certificate cannot be removed")):
            params = {"ListenerArn": arn, "Certificates": [{"CertificateArn": one}]}
            if expected is None:
                await it.elb("remove_listener_certificates", **params)
            else:
                assert await it.elb.refused("remove_listener_certificates", **params) == expected
        await it.elb("remove_listener_certificates", ListenerArn=arn, Certificates=[{"CertificateArn": three}])
        assert await it.certificates(arn) == [(one, True), (two, False)]
        code, _ = await it.elb.refused(
            "remove_listener_certificates", ListenerArn=arn, Certificates=[{"CertificateArn": three}]
        )
        assert code == "CertificateNotFound"
        many = [it.shelf.put(100 + n, f"m{n}.example.com") for n in range(25)]
        assert await it.elb.refused(
            "add_listener_certificates", ListenerArn=arn, Certificates=[{"CertificateArn": each} for each in many]
        ) == (
            "TooManyCertificates",
            "A load balancer can have 25 certificates at most, besides the default ones",
        )
        plain = (await it.listener("", Protocol="HTTP", Port=80))["ListenerArn"]
        assert await it.elb.refused(
            "add_listener_certificates", ListenerArn=plain, Certificates=[{"CertificateArn": two}]
        ) == ("ValidationError", "A certificate cannot be specified for HTTP listeners")


async def test_security_policies(tmp_path: Path) -> None:
    async with https(tmp_path) as it:
        found = (await it.elb("describe_ssl_policies"))["SslPolicies"]
        names = [each["Name"] for each in found]
        assert {"ELBSecurityPolicy-2016-08", "ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09"} <= set(names)
        assert len(names) == len(set(names)) == 39
        (old,) = (await it.elb("describe_ssl_policies", Names=["ELBSecurityPolicy-2016-08"]))["SslPolicies"]
        assert old["SslProtocols"] == ["TLSv1.2", "TLSv1.1", "TLSv1"]
        assert old["Ciphers"][0] == {"Name": "ECDHE-ECDSA-AES128-GCM-SHA256", "Priority": 1}
        assert len(old["Ciphers"]) == 18
        assert "application" in old["SupportedLoadBalancerTypes"]
        (new,) = (await it.elb("describe_ssl_policies", Names=["ELBSecurityPolicy-TLS13-1-3-2021-06"]))[
            "SslPolicies"
        ]
        assert new["SslProtocols"] == ["TLSv1.3"]
        assert [each["Name"] for each in new["Ciphers"]] == [
            "TLS_AES_128_GCM_SHA256",
            "TLS_AES_256_GCM_SHA384",
            "TLS_CHACHA20_POLY1305_SHA256",
        ]
        assert (await it.elb.refused("describe_ssl_policies", Names=["none"]))[0] == "SSLPolicyNotFound"
        page = await it.elb("describe_ssl_policies", PageSize=3)
        assert (len(page["SslPolicies"]), page["NextMarker"]) == (3, "3")


async def test_attributes_that_change_what_requests_and_answers_carry(tmp_path: Path) -> None:
    async with https(tmp_path) as it:
        arn = (await it.listener(it.shelf.put(1, "a.example.com")))["ListenerArn"]
        given = {
            "routing.http.response.strict_transport_security.header_value": "max-age=60",
            "routing.http.response.server.enabled": "false",
            "routing.http.request.x_amzn_tls_version.header_name": "X-Version",
        }
        listed = [{"Key": key, "Value": value} for key, value in given.items()]
        await it.elb("modify_listener_attributes", ListenerArn=arn, Attributes=listed)
        tell = [{"Key": "routing.http.x_amzn_tls_version_and_cipher_suite.enabled", "Value": "true"}]
        await it.elb("modify_load_balancer_attributes", LoadBalancerArn=it.balancer, Attributes=tell)
        await it.served()
        ((host,),) = [each.hosts for each in it.cloud.proxy.served.listeners]
        assert host.response_headers == (("strict-transport-security", "max-age=60"),)
        assert not host.name_server
        assert host.tls_headers == ("X-Version", "X-Amzn-Tls-Cipher-Suite")


async def test_targets_over_https(tmp_path: Path) -> None:
    async with https(tmp_path) as it:
        settings = {
            "Name": "safe",
            "Protocol": "HTTPS",
            "Port": 8443,
            "VpcId": VPC,
            "HealthCheckProtocol": "HTTPS",
        }
        (group,) = (await it.elb("create_target_group", **settings))["TargetGroups"]
        assert (group["Protocol"], group["HealthCheckProtocol"]) == ("HTTPS", "HTTPS")
        await it.listener(it.shelf.put(1, "a.example.com"), DefaultActions=forward(group["TargetGroupArn"]))
        await it.cloud.register(group["TargetGroupArn"], (instance(1), 8443))
        await it.cloud.clock.advance(5)
        assert [(each.port, each.secure) for each in it.cloud.prober.probes][:1] == [(8443, True)]
        (cluster,) = it.cloud.proxy.served.clusters
        assert cluster.tls
        # Checks go over HTTP where nothing else is said, as on AWS.
        settings = {"Name": "half", "Protocol": "HTTPS", "Port": 8443, "VpcId": VPC}
        (group,) = (await it.elb("create_target_group", **settings))["TargetGroups"]
        assert group["HealthCheckProtocol"] == "HTTP"


async def test_redirects_between_the_protocols(tmp_path: Path) -> None:
    async with https(tmp_path) as it:
        one = it.shelf.put(1, "a.example.com")

        def to(**config: str) -> list[dict[str, Any]]:
            return [{"Type": "redirect", "RedirectConfig": {"StatusCode": "HTTP_301", **config}}]

        onward = to(Protocol="HTTPS", Port="443")
        plain = await it.listener("", Protocol="HTTP", Port=80, DefaultActions=onward)
        loop = ("InvalidLoadBalancerAction", "The redirect configuration is not valid because it creates a loop.")
        assert await it.elb.refused("create_listener", **it.request(one, DefaultActions=onward)) == loop
        back = to(Protocol="HTTP", Port="80")
        code, _ = await it.elb.refused("create_listener", **it.request(one, DefaultActions=back))
        assert code == "InvalidLoadBalancerAction"
        # What a listener redirects to may become itself.
        assert (
            await it.elb.refused(
                "modify_listener",
                ListenerArn=plain["ListenerArn"],
                Protocol="HTTPS",
                Port=443,
                Certificates=[{"CertificateArn": one}],
            )
            == loop
        )
        arn = (await it.listener(one))["ListenerArn"]
        when = [{"Field": "path-pattern", "Values": ["/a"]}]
        for actions in (onward, back):
            code, _ = await it.elb.refused(
                "create_rule", ListenerArn=arn, Priority=1, Conditions=when, Actions=actions
            )
            assert code == "InvalidLoadBalancerAction"


async def test_a_new_start_serves_what_was_served(tmp_path: Path) -> None:
    async with https(tmp_path) as it:
        one, two = it.shelf.put(1, "a.example.com"), it.shelf.put(2, "*.example.com")
        arn = (await it.listener(one, SslPolicy="ELBSecurityPolicy-TLS13-1-3-2021-06"))["ListenerArn"]
        await it.elb("add_listener_certificates", ListenerArn=arn, Certificates=[{"CertificateArn": two}])
        served = it.shelf.served
        assert it.cloud.elb.users_of(one) == it.cloud.elb.users_of(two) == [it.balancer]
        it.cloud.database.close()
    again = ElbCloud(tmp_path)
    again.certificates = served
    async with again.elb:
        await again.elb.proxy_loop.turn("proxy")
        (socket,) = again.proxy.served.listeners
        assert socket.tls is not None
        assert [each.names for each in socket.tls.certificates] == [("a.example.com",), ("*.example.com",)]
        assert socket.tls.minimum == "TLSv1.3"


async def test_load_balancers_that_share_a_port(tmp_path: Path) -> None:
    async with https(tmp_path) as it:
        one, two = it.shelf.put(1, "a.example.com"), it.shelf.put(2, "b.example.com")
        first = await it.listener(one, SslPolicy="ELBSecurityPolicy-TLS13-1-3-2021-06")
        answer = await it.elb("create_load_balancer", Name="web-two", Subnets=SUBNETS)
        other = answer["LoadBalancers"][0]["LoadBalancerArn"]
        hello = [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "200"}}]
        await it.elb(
            "create_listener",
            LoadBalancerArn=other,
            Protocol="HTTPS",
            Port=443,
            Certificates=[{"CertificateArn": two}],
            DefaultActions=hello,
        )
        assert await it.served() == [("a.example.com",), ("b.example.com",)]
        (socket,) = it.cloud.proxy.served.listeners
        assert socket.tls is not None
        # Each may be spoken to by what its own policy allows.
        assert (socket.tls.minimum, socket.tls.maximum) == ("TLSv1", "TLSv1.3")
        assert len(socket.hosts) == 2
        # HTTP/2 is agreed on before the host is known.
        attributes = [{"Key": "routing.http2.enabled", "Value": "false"}]
        await it.elb("modify_load_balancer_attributes", LoadBalancerArn=other, Attributes=attributes)
        await it.served()
        (socket,) = it.cloud.proxy.served.listeners
        assert socket.tls is not None and not socket.tls.http2
        # One that speaks HTTP on that port is told apart by that alone.
        await it.elb("delete_listener", ListenerArn=first["ListenerArn"])
        await it.listener("", Protocol="HTTP")
        await it.served()
        assert [(each.port, each.tls is None) for each in it.cloud.proxy.served.listeners] == [
            (443, True),
            (443, False),
        ]
