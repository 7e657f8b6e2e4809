"""From an unmodified client's calls to real requests at real targets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import boto3

from backends import backend, free_port
from elb_cloud import SUBNETS, VPC, make_elb
from portside.cloud.kernel.clock import Pace, SystemClock
from portside.cloud.kernel.database import Database
from portside.cloud.machine.envoy import EnvoyProxy
from portside.cloud.machine.http_prober import HttpProber
from portside.testing.server import quiet_log, serve


@asynccontextmanager
async def stopping(proxy: EnvoyProxy) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await proxy.stop()


async def test_a_load_balancer_serves_its_healthy_targets(tmp_path: Path) -> None:
    port = free_port()
    proxy = EnvoyProxy(tmp_path / "envoy", clock=SystemClock(), log=quiet_log())
    elb = make_elb(
        Database(tmp_path / "state.db"), SystemClock(), Pace(factor=0.02, floor=0.05), proxy, HttpProber()
    )
    async with (
        stopping(proxy),
        backend("one") as one,
        backend("two") as two,
        elb,
        serve([elb.service()]) as url,
    ):
        client = await asyncio.to_thread(
            boto3.client,
            "elbv2",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

        async def call(name: str, **params: Any) -> Any:
            return await asyncio.to_thread(getattr(client, name), **params)

        balancers = await call("create_load_balancer", Name="web", Subnets=SUBNETS)
        balancer = balancers["LoadBalancers"][0]
        groups = await call(
            "create_target_group", Name="web", Protocol="HTTP", Port=3000, VpcId=VPC, TargetType="ip"
        )
        group = groups["TargetGroups"][0]["TargetGroupArn"]
        await call(
            "create_listener",
            LoadBalancerArn=balancer["LoadBalancerArn"],
            Protocol="HTTP",
            Port=port,
            DefaultActions=[{"Type": "forward", "TargetGroupArn": group}],
        )
        # The first listener is what Envoy is started for; it listens when the answer is there.
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/") as answer:
            assert answer.status == 503
        targets = [{"Id": "127.0.0.1", "Port": each.port} for each in (one, two)]
        await call("register_targets", TargetGroupArn=group, Targets=targets)
        waiter = await asyncio.to_thread(client.get_waiter, "target_in_service")
        await asyncio.to_thread(waiter.wait, TargetGroupArn=group, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
        async with aiohttp.ClientSession() as http:
            async with asyncio.timeout(10):
                seen: set[str] = set()
                while seen != {"one", "two"}:
                    async with http.get(
                        f"http://127.0.0.1:{port}/", headers={"Host": balancer["DNSName"]}
                    ) as answer:
                        assert answer.status == 200
                        assert "AWSALB" not in answer.cookies
                        seen.add(await answer.text())
            sticky = [{"Key": "stickiness.enabled", "Value": "true"}]
            await call("modify_target_group_attributes", TargetGroupArn=group, Attributes=sticky)
            async with http.get(f"http://127.0.0.1:{port}/") as answer:
                cookie, body = answer.cookies["AWSALB"], await answer.text()
            assert cookie["max-age"] == "86400"
            for _ in range(5):
                headers = {"Cookie": f"AWSALB={cookie.coded_value}"}
                async with http.get(f"http://127.0.0.1:{port}/", headers=headers) as answer:
                    assert await answer.text() == body
            await call("deregister_targets", TargetGroupArn=group, Targets=targets[:1])
            waiter = await asyncio.to_thread(client.get_waiter, "target_deregistered")
            await asyncio.to_thread(
                waiter.wait,
                TargetGroupArn=group,
                Targets=targets[:1],
                WaiterConfig={"Delay": 1, "MaxAttempts": 20},
            )
            for _ in range(10):
                async with http.get(f"http://127.0.0.1:{port}/") as answer:
                    assert await answer.text() == "two"
        checks = [
            headers for line, headers in one.heads if headers["user-agent"].startswith("ELB-HealthChecker/2.0")
        ]
        assert checks[0]["connection"] == "close"
        assert checks[0]["host"] == f"127.0.0.1:{one.port}"
