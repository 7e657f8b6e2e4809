"""HTTPS in front of real containers: a stack, clients that check whom they speak to, and a cloud that is killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import ssl
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_surroundings_docker import Site, until

from backends import free_port
from tls import Authority, _shake

pytestmark = pytest.mark.docker

# A load balancer's own ports where the system lets us have them.
PLAIN, SECURE = (80, 443) if os.geteuid() == 0 else (free_port(), free_port())
SERVER = "mkdir -p /www && echo hello > /www/index.html; exec httpd -f -p 3000 -h /www"


@pytest.fixture
def site(host: str, busybox: str, tmp_path: Path) -> Iterator[Site]:
    if shutil.which("curl") is None:
        pytest.skip("curl, which speaks HTTP/2, is not installed")
    made = Site(tmp_path, busybox)
    # Not at the usual address: nothing here needs the bridge.
    made.environ["PORTSIDE_ADDRESS"] = "127.0.0.61"
    try:
        made.begin()
        yield made
    finally:
        made.portside("cloud", "stop")


def of(kind: str, **properties: Any) -> dict[str, Any]:
    return {"Type": f"AWS::{kind}", "Properties": properties}


def template(site: Site, brought: str) -> dict[str, Any]:
    balanced = {"TargetGroupArn": {"Ref": "Group"}, "ContainerName": "app", "ContainerPort": 3000}
    onward = {"Protocol": "HTTPS", "Port": str(SECURE), "StatusCode": "HTTP_301"}
    container = {
        "Name": "app",
        "Image": site.image,
        "Memory": 32,
        "Command": ["sh", "-c", SERVER],
        "PortMappings": [{"ContainerPort": 3000}],
    }
    return {
        "Certificate": of(
            "CertificateManager::Certificate",
            DomainName="shop.example.com",
            SubjectAlternativeNames=["*.shop.example.com"],
            ValidationMethod="DNS",
        ),
        "Balancer": of("ElasticLoadBalancingV2::LoadBalancer", Subnets=site.subnets[:2]),
        "Group": of(
            "ElasticLoadBalancingV2::TargetGroup",
            Protocol="HTTP",
            Port=3000,
            VpcId=site.vpc,
            HealthCheckIntervalSeconds=5,
            HealthCheckTimeoutSeconds=2,
        ),
        "Plain": of(
            "ElasticLoadBalancingV2::Listener",
            LoadBalancerArn={"Ref": "Balancer"},
            Protocol="HTTP",
            Port=PLAIN,
            DefaultActions=[{"Type": "redirect", "RedirectConfig": onward}],
        ),
        "Secure": of(
            "ElasticLoadBalancingV2::Listener",
            LoadBalancerArn={"Ref": "Balancer"},
            Protocol="HTTPS",
            Port=SECURE,
            SslPolicy="ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09",
            Certificates=[{"CertificateArn": {"Ref": "Certificate"}}],
            DefaultActions=[{"Type": "forward", "TargetGroupArn": {"Ref": "Group"}}],
        ),
        "More": of(
            "ElasticLoadBalancingV2::ListenerCertificate",
            ListenerArn={"Ref": "Secure"},
            Certificates=[{"CertificateArn": brought}],
        ),
        "Definition": of("ECS::TaskDefinition", Family="web", ContainerDefinitions=[container]),
        "Service": of(
            "ECS::Service", DesiredCount=2, TaskDefinition={"Ref": "Definition"}, LoadBalancers=[balanced]
        )
        | {"DependsOn": "Secure"},
    }


class Load:
    """Requests one after the other over new connections, until told to end."""

    def __init__(self, address: str, trusted: str) -> None:
        self.context = ssl.create_default_context(cadata=trusted)
        self.context.check_hostname = False
        self.url = f"https://{address}:{SECURE}/"
        self.done = threading.Event()
        self.served = 0
        self.failures: list[str] = []
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self.done.is_set():
            try:
                with urllib.request.urlopen(self.url, context=self.context, timeout=10) as answer:
                    assert answer.read() == b"hello\n"
                self.served += 1
            except (OSError, AssertionError) as error:
                self.failures.append(repr(error))

    def __enter__(self) -> Load:
        self.thread.start()
        until(lambda: self.served > 10)
        return self

    def __exit__(self, *_: object) -> None:
        before = self.served
        until(lambda: self.served > before + 10 or self.failures)
        self.done.set()
        self.thread.join(20)


def test_a_service_over_https(site: Site, tmp_path: Path) -> None:
    trusted, acm = Authority(), site("acm")

    def brought(*names: str) -> str:
        pair = trusted.pair_for(*names)
        made = acm.import_certificate(
            Certificate=pair.chain.encode(),
            PrivateKey=pair.key.encode(),
            CertificateChain=trusted.pair.chain.encode(),
        )
        return str(made["CertificateArn"])

    stacks, elb = site("cloudformation"), site("elbv2")
    resources = template(site, brought("www.example.org"))
    stacks.create_stack(StackName="web", TemplateBody=json.dumps({"Resources": resources}))

    def status() -> str:
        return str(stacks.describe_stacks(StackName="web")["Stacks"][0]["StackStatus"])

    until(lambda: not status().endswith("_IN_PROGRESS"), 120.0)
    reasons = [e.get("ResourceStatusReason") for e in stacks.describe_stack_events(StackName="web")["StackEvents"]]
    assert status() == "CREATE_COMPLETE", reasons
    (balancer,) = elb.describe_load_balancers()["LoadBalancers"]
    own = balancer["AvailabilityZones"][0]["LoadBalancerAddresses"][0]["IpAddress"]
    authority = Path(site.environ["PORTSIDE_HOME"]) / "cloud" / "authority.pem"
    assert str(authority) in site.portside("cloud", "status")

    def curl(url: str, name: str, trust: Path, *more: str) -> str:
        port = PLAIN if url.startswith("http:") else SECURE
        words = ["curl", "-sS", "--max-time", "20", "--cacert", str(trust), "--resolve", f"{name}:{port}:{own}"]
        done = subprocess.run([*words, *more, url], capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        return done.stdout

    # The default certificate, a wildcard in it, and one that is chosen by name; HTTP/2 where the client can.
    format_ = ("-w", "%{http_version} %{http_code}")
    theirs = trusted.write(tmp_path)
    assert curl(f"https://shop.example.com:{SECURE}/", "shop.example.com", authority, *format_) == "hello\n2 200"
    assert curl(f"https://a.shop.example.com:{SECURE}/", "a.shop.example.com", authority) == "hello\n"
    assert curl(f"https://www.example.org:{SECURE}/", "www.example.org", theirs, *format_) == "hello\n2 200"
    assert curl(f"https://www.example.org:{SECURE}/", "www.example.org", theirs, "--http1.1", *format_).endswith(
        "1.1 200"
    )
    followed = ("-L", "--resolve", f"shop.example.com:{SECURE}:{own}", "-w", "%{num_redirects} %{url_effective}")
    said = curl(f"http://shop.example.com:{PLAIN}/", "shop.example.com", authority, *followed)
    assert said.startswith("hello\n1 https://shop.example.com")
    if SECURE == 443:
        words = ["openssl", "s_client", "-connect", f"{own}:443", "-servername", "shop.example.com"]
        openssl = subprocess.run(
            [*words, "-verify_return_error", "-CAfile", str(authority), "-brief"],
            input="",
            capture_output=True,
            text=True,
            timeout=20,
        )
        assert "Verification: OK" in openssl.stderr, openssl.stderr
        assert "TLSv1.3" in openssl.stderr

    # Another default certificate, while requests come in.
    (listener,) = [
        each for each in elb.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
        if each["Protocol"] == "HTTPS"
    ]  # fmt: skip
    other = brought("default.example.org")
    with Load(own, authority.read_text() + trusted.pair.chain) as load:
        elb.modify_listener(ListenerArn=listener["ListenerArn"], Certificates=[{"CertificateArn": other}])
        until(lambda: _shake(own, SECURE, None, {}).names == ("default.example.org",))
        elb.add_listener_certificates(
            ListenerArn=listener["ListenerArn"],
            Certificates=[{"CertificateArn": listener["Certificates"][0]["CertificateArn"]}],
        )
        until(lambda: _shake(own, SECURE, "shop.example.com", {}).names[0] == "shop.example.com")
    assert load.failures == []

    # A killed cloud leaves the load balancer serving; with both gone, the next start brings all of it back.
    home = Path(site.environ["PORTSIDE_HOME"])
    serial = _shake(own, SECURE, "shop.example.com", {}).serial
    os.kill(json.loads((home / "cloud" / "running.json").read_text())["pid"], signal.SIGKILL)
    assert curl(f"https://shop.example.com:{SECURE}/", "shop.example.com", authority) == "hello\n"
    os.kill(int((home / "cloud" / "envoy" / "pid").read_text()), signal.SIGKILL)
    site.portside("cloud", "start")

    def served() -> bool:
        try:
            found = _shake(own, SECURE, "shop.example.com", {})
        except OSError:
            return False
        return found.serial == serial

    until(served)
    deadline = time.monotonic() + 60
    while True:
        try:
            assert curl(f"https://a.shop.example.com:{SECURE}/", "a.shop.example.com", authority) == "hello\n"
            break
        except AssertionError:
            # Targets are looked at before they get requests again.
            assert time.monotonic() < deadline
            time.sleep(0.2)
    words = site.portside("cloud", "env").split()
    site.url = next(w.partition("=")[2] for w in words if w.startswith("AWS_ENDPOINT_URL="))
    found = site("elbv2").describe_listener_certificates(ListenerArn=listener["ListenerArn"])["Certificates"]
    assert [each["IsDefault"] for each in found] == [True, False, False]
    log = (home / "cloud" / "cloud.log").read_text()
    assert "PRIVATE KEY" not in log
    assert "PRIVATE KEY" not in (home / "cloud" / "envoy" / "envoy.log").read_text()
