"""The ELBv2 API as boto3 sees it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aws_clients import AwsClient
from elb_cloud import SUBNETS, VPC, ElbCloud, elb_cloud, forward, instance
from portside.testing.server import serve


@asynccontextmanager
async def clients(directory: Path) -> AsyncIterator[tuple[AwsClient, ElbCloud]]:
    async with elb_cloud(directory) as cloud, serve([cloud.elb.service()]) as url:
        yield AwsClient("elbv2", url), cloud


async def made(elb: AwsClient, name: str = "web", **more: Any) -> tuple[str, str]:
    balancer = (await elb("create_load_balancer", Name=name, Subnets=SUBNETS))["LoadBalancers"][0]
    settings = {"Name": name, "Protocol": "HTTP", "Port": 3000, "VpcId": VPC} | more
    group = (await elb("create_target_group", **settings))["TargetGroups"][0]
    return balancer["LoadBalancerArn"], group["TargetGroupArn"]


async def listening(elb: AwsClient, balancer: str, group: str, port: int = 80) -> str:
    answer = await elb(
        "create_listener", LoadBalancerArn=balancer, Protocol="HTTP", Port=port, DefaultActions=forward(group)
    )
    return str(answer["Listeners"][0]["ListenerArn"])


async def test_a_load_balancer_in_full(tmp_path: Path) -> None:
    async with clients(tmp_path) as (elb, _):
        tags = [{"Key": "team", "Value": "blue"}]
        answer = await elb("create_load_balancer", Name="web", Subnets=SUBNETS, Tags=tags)
        balancer = answer["LoadBalancers"][0]
        arn = balancer["LoadBalancerArn"]
        assert balancer["State"] == {"Code": "provisioning"}
        assert re.fullmatch(r"web-\d{10}\.us-east-1\.elb\.localhost", balancer["DNSName"])
        assert balancer["SecurityGroups"] == ["sg-default"]
        assert balancer["VpcId"] == VPC
        assert [zone["ZoneName"] for zone in balancer["AvailabilityZones"]] == ["us-east-1a", "us-east-1b"]
        waiter = elb.boto.get_waiter("load_balancer_available")
        await asyncio.to_thread(waiter.wait, LoadBalancerArns=[arn])
        assert (await elb("describe_tags", ResourceArns=[arn]))["TagDescriptions"][0]["Tags"] == tags
        # The same settings again are the same load balancer, other settings are refused.
        again = await elb("create_load_balancer", Name="web", Subnets=SUBNETS)
        assert again["LoadBalancers"][0]["LoadBalancerArn"] == arn
        assert await elb.refused("create_load_balancer", Name="web", Subnets=SUBNETS, Scheme="internal") == (
            "DuplicateLoadBalancerName",
            "A load balancer with the same name 'web' exists, but with different settings",
        )
        answer = await elb("create_load_balancer", Name="in", Subnets=SUBNETS, Scheme="internal")
        assert answer["LoadBalancers"][0]["DNSName"].startswith("internal-in-")
        shown = await elb.pages("describe_load_balancers", "LoadBalancers", PaginationConfig={"PageSize": 1})
        assert sorted(each["LoadBalancerName"] for each in shown) == ["in", "web"]
        await elb("delete_load_balancer", LoadBalancerArn=arn)
        await elb("delete_load_balancer", LoadBalancerArn=arn)
        waiter = elb.boto.get_waiter("load_balancers_deleted")
        await asyncio.to_thread(waiter.wait, LoadBalancerArns=[arn])
        assert (await elb.refused("describe_load_balancers", Names=["web"]))[0] == "LoadBalancerNotFound"


async def test_what_cannot_be_created(tmp_path: Path) -> None:
    async with clients(tmp_path) as (elb, _):
        for expected, params in (
            ("ValidationError", {"Name": "-x", "Subnets": SUBNETS}),
            ("ValidationError", {"Name": "internal-x", "Subnets": SUBNETS}),
            ("ValidationError", {"Name": "x", "Subnets": SUBNETS[:1]}),
            ("SubnetNotFound", {"Name": "x", "Subnets": ["subnet-a", "subnet-z"]}),
            ("InvalidConfigurationRequest", {"Name": "x", "Subnets": ["subnet-a", "subnet-b", "subnet-c"]}),
            ("InvalidConfigurationRequest", {"Name": "x", "Subnets": SUBNETS, "Type": "network"}),
        ):
            assert (await elb.refused("create_load_balancer", **params))[0] == expected, params
        group = {"Name": "g", "Protocol": "HTTP", "Port": 80, "VpcId": VPC}
        for expected, change in (
            ("ValidationError", {"VpcId": "vpc-none"}),
            ("ValidationError", {"HealthCheckPath": "no-slash"}),
            ("ValidationError", {"HealthCheckTimeoutSeconds": 30}),
            ("ValidationError", {"Matcher": {"HttpCode": "200-600"}}),
            ("UnsupportedProtocol", {"Protocol": "TCP"}),
            ("UnsupportedProtocol", {"HealthCheckProtocol": "TCP"}),
            ("InvalidConfigurationRequest", {"TargetType": "lambda"}),
        ):
            assert (await elb.refused("create_target_group", **(group | change)))[0] == expected, change


async def test_br_17_a_target_group_tells_which_load_balancer_uses_it(tmp_path: Path) -> None:
    async with clients(tmp_path) as (elb, _):
        balancer, group = await made(elb)

        async def users() -> list[str]:
            shown = await elb("describe_target_groups", TargetGroupArns=[group])
            return list(shown["TargetGroups"][0]["LoadBalancerArns"])

        assert await users() == []
        listener = await listening(elb, balancer, group)
        assert await users() == [balancer]
        found = await elb("describe_target_groups", LoadBalancerArn=balancer)
        assert [each["TargetGroupArn"] for each in found["TargetGroups"]] == [group]
        other, _ = await made(elb, "two")
        code, _ = await elb.refused(
            "create_listener", LoadBalancerArn=other, Protocol="HTTP", Port=80, DefaultActions=forward(group)
        )
        assert code == "TargetGroupAssociationLimit"
        await elb("delete_listener", ListenerArn=listener)
        assert await users() == []


async def test_br_20_the_id_of_a_load_balancer_is_the_fourth_part_of_its_arn(tmp_path: Path) -> None:
    async with clients(tmp_path) as (elb, _):
        balancer, group = await made(elb)
        assert re.fullmatch(r"[0-9a-f]{16}", balancer.split("/")[3])
        assert len(f"tg-{balancer.split('/')[3]}") <= 32
        region = "arn:aws:elasticloadbalancing:us-east-1:000000000000"
        assert re.fullmatch(rf"{region}:loadbalancer/app/web/[0-9a-f]{{16}}", balancer)
        assert re.fullmatch(rf"{region}:targetgroup/web/[0-9a-f]{{16}}", group)
        listener = await listening(elb, balancer, group)
        assert listener.startswith(balancer.replace(":loadbalancer/", ":listener/") + "/")
        rules = (await elb("describe_rules", ListenerArn=listener))["Rules"]
        assert rules[0]["RuleArn"].startswith(listener.replace(":listener/", ":listener-rule/") + "/")


async def test_br_22_a_target_group_in_use_stays(tmp_path: Path) -> None:
    async with clients(tmp_path) as (elb, _):
        balancer, group = await made(elb)
        await listening(elb, balancer, group)
        assert await elb.refused("delete_target_group", TargetGroupArn=group) == (
            "ResourceInUse",
            f"Target group '{group}' is currently in use by a listener or a rule",
        )
        assert len((await elb("describe_target_groups"))["TargetGroups"]) == 1
        await elb("delete_load_balancer", LoadBalancerArn=balancer)
        await elb("delete_target_group", TargetGroupArn=group)
        assert (await elb("describe_target_groups"))["TargetGroups"] == []


async def test_br_23_a_second_listener_on_a_port_is_refused(tmp_path: Path) -> None:
    async with clients(tmp_path) as (elb, _):
        balancer, group = await made(elb)
        first = await listening(elb, balancer, group, 443)
        assert await listening(elb, balancer, group, 443) == first
        fixed = [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}]
        code, _ = await elb.refused(
            "create_listener", LoadBalancerArn=balancer, Protocol="HTTP", Port=443, DefaultActions=fixed
        )
        assert code == "DuplicateListener"
        (shown,) = (await elb("describe_listeners", LoadBalancerArn=balancer))["Listeners"]
        assert shown["DefaultActions"][0]["TargetGroupArn"] == group


async def test_br_26_known_attributes_are_kept_and_made_up_ones_refused_by_name(tmp_path: Path) -> None:
    async with clients(tmp_path) as (elb, _):
        balancer, group = await made(elb)

        async def attribute(key: str) -> str:
            shown = (await elb("describe_load_balancer_attributes", LoadBalancerArn=balancer))["Attributes"]
            return str({each["Key"]: each["Value"] for each in shown}[key])

        assert await attribute("idle_timeout.timeout_seconds") == "60"
        wanted = [{"Key": "client_keep_alive.seconds", "Value": "7200"}]
        await elb("modify_load_balancer_attributes", LoadBalancerArn=balancer, Attributes=wanted)
        assert await attribute("client_keep_alive.seconds") == "7200"
        for attributes in (
            [{"Key": "made.up", "Value": "1"}],
            [{"Key": "idle_timeout.timeout_seconds", "Value": "0"}],
        ):
            code, text = await elb.refused(
                "modify_load_balancer_attributes", LoadBalancerArn=balancer, Attributes=attributes
            )
            assert code == "ValidationError"
            assert attributes[0]["Key"] in text
        code, text = await elb.refused(
            "modify_target_group_attributes", TargetGroupArn=group, Attributes=[{"Key": "nope", "Value": "1"}]
        )
        assert (code, "'nope'" in text) == ("ValidationError", True)
        cookies = {"stickiness.enabled": "true", "stickiness.type": "app_cookie"}
        code, text = await elb.refused(
            "modify_target_group_attributes",
            TargetGroupArn=group,
            Attributes=[{"Key": key, "Value": value} for key, value in cookies.items()],
        )
        assert (code, "'app_cookie'" in text) == ("InvalidConfigurationRequest", True)
        protect = [{"Key": "deletion_protection.enabled", "Value": "true"}]
        await elb("modify_load_balancer_attributes", LoadBalancerArn=balancer, Attributes=protect)
        assert (await elb.refused("delete_load_balancer", LoadBalancerArn=balancer))[0] == "OperationNotPermitted"


async def test_rules_and_their_priorities(tmp_path: Path) -> None:
    async with clients(tmp_path) as (elb, cloud):
        balancer, group = await made(elb)
        listener = await listening(elb, balancer, group)

        async def rule(priority: int, path: str) -> str:
            condition = [{"Field": "path-pattern", "Values": [path]}]
            answer = await elb(
                "create_rule",
                ListenerArn=listener,
                Priority=priority,
                Conditions=condition,
                Actions=forward(group),
            )
            return str(answer["Rules"][0]["RuleArn"])

        second, first = await rule(20, "/two/*"), await rule(10, "/one/*")
        shown = await elb.pages("describe_rules", "Rules", ListenerArn=listener)
        assert [each["Priority"] for each in shown] == ["10", "20", "default"]
        assert shown[0]["Conditions"] == [
            {"Field": "path-pattern", "Values": ["/one/*"], "PathPatternConfig": {"Values": ["/one/*"]}}
        ]
        assert shown[2]["IsDefault"]
        condition = [{"Field": "path-pattern", "Values": ["/x"]}]
        assert await elb.refused(
            "create_rule", ListenerArn=listener, Priority=10, Conditions=condition, Actions=forward(group)
        ) == ("PriorityInUse", "Priority '10' is currently in use")
        swap = [{"RuleArn": first, "Priority": 20}, {"RuleArn": second, "Priority": 10}]
        await elb("set_rule_priorities", RulePriorities=swap)
        shown = (await elb("describe_rules", ListenerArn=listener))["Rules"]
        assert [each["RuleArn"] for each in shown[:2]] == [second, first]
        clash = [{"RuleArn": first, "Priority": 10}]
        assert (await elb.refused("set_rule_priorities", RulePriorities=clash))[0] == "PriorityInUse"
        await cloud.clock.idle()
        routes = cloud.proxy.served.listeners[0].hosts[0].routes
        assert [route.match.paths for route in routes] == [("/two/*",), ("/one/*",), ()]
        assert (await elb.refused("delete_rule", RuleArn=shown[2]["RuleArn"]))[0] == "OperationNotPermitted"
        await elb("delete_rule", RuleArn=first)
        assert len((await elb("describe_rules", ListenerArn=listener))["Rules"]) == 2


async def test_a_port_that_is_taken_leaves_nothing_behind(tmp_path: Path) -> None:
    async with clients(tmp_path) as (elb, cloud):
        balancer, group = await made(elb)
        cloud.proxy.taken.add(("127.0.0.1", 80))
        code, text = await elb.refused(
            "create_listener", LoadBalancerArn=balancer, Protocol="HTTP", Port=80, DefaultActions=forward(group)
        )
        assert code == "InvalidConfigurationRequest"
        assert "cannot listen on 127.0.0.1:80: Address already in use" in text
        assert (await elb("describe_listeners", LoadBalancerArn=balancer))["Listeners"] == []


async def test_a_listener_is_answered_for_once_it_listens(tmp_path: Path) -> None:
    async with clients(tmp_path) as (elb, cloud):
        balancer, group = await made(elb)
        cloud.proxy.broken = "Envoy ended at its start: no memory"
        wanted = {"LoadBalancerArn": balancer, "Protocol": "HTTP", "Port": 80, "DefaultActions": forward(group)}
        assert await elb.refused("create_listener", **wanted) == (
            "ServiceUnavailable",
            "The load balancer does not listen on port 80 of this machine yet: Envoy ended at its start: no memory",
        )
        cloud.proxy.broken = None
        listener = (await elb("create_listener", **wanted))["Listeners"][0]["ListenerArn"]
        assert [(each.address, each.port) for each in cloud.proxy.served.listeners] == [("127.0.0.1", 80)]
        await elb("modify_listener", ListenerArn=listener, Port=81)
        assert [each.port for each in cloud.proxy.served.listeners] == [81]
        await elb("delete_listener", ListenerArn=listener)
        assert cloud.proxy.served.listeners == ()


async def test_a_listener_without_its_port_does_not_keep_others_from_theirs(tmp_path: Path) -> None:
    async with clients(tmp_path) as (elb, cloud):
        balancer, group = await made(elb)
        first = await listening(elb, balancer, group, 80)
        cloud.proxy.taken.add(("127.0.0.1", 80))
        await listening(elb, balancer, group, 81)
        assert [each.port for each in cloud.proxy.served.listeners] == [81]
        attributes = [{"Key": "routing.http.response.server.enabled", "Value": "false"}]
        await elb("modify_listener_attributes", ListenerArn=first, Attributes=attributes)


async def test_rules_are_answered_for_once_requests_follow_them(tmp_path: Path) -> None:
    async with clients(tmp_path) as (elb, cloud):
        balancer, group = await made(elb)
        listener = await listening(elb, balancer, group)

        def paths() -> list[str]:
            hosts = cloud.proxy.served.listeners[0].hosts
            return [value for route in hosts[0].routes for value in route.match.paths]

        async def rule(path: str, priority: int) -> str:
            made = await elb(
                "create_rule",
                ListenerArn=listener,
                Priority=priority,
                Conditions=[{"Field": "path-pattern", "Values": [path]}],
                Actions=forward(group),
            )
            return str(made["Rules"][0]["RuleArn"])

        one, two = await rule("/one", 1), await rule("/two", 2)
        assert paths() == ["/one", "/two"]
        await elb("set_rule_priorities", RulePriorities=[{"RuleArn": one, "Priority": 3}])
        assert paths() == ["/two", "/one"]
        changed = [{"Field": "path-pattern", "Values": ["/three"]}]
        await elb("modify_rule", RuleArn=one, Conditions=changed)
        assert paths() == ["/two", "/three"]
        await elb("delete_rule", RuleArn=two)
        assert paths() == ["/three"]


async def test_listeners_that_are_not_offered_are_refused_in_plain_words(tmp_path: Path) -> None:
    async with clients(tmp_path) as (elb, _):
        balancer, group = await made(elb)
        assert await elb.refused(
            "create_listener", LoadBalancerArn=balancer, Protocol="TLS", Port=443, DefaultActions=forward(group)
        ) == ("ValidationError", "Listener protocol 'TLS' must be one of 'HTTPS, HTTP'")
        login = {"Type": "authenticate-cognito", "Order": 1}
        code, text = await elb.refused(
            "create_listener",
            LoadBalancerArn=balancer,
            Protocol="HTTP",
            Port=80,
            DefaultActions=[login, {**forward(group)[0], "Order": 2}],
        )
        assert (code, "authenticate-cognito" in text) == ("InvalidConfigurationRequest", True)


async def test_targets_by_waiters(tmp_path: Path) -> None:
    async with clients(tmp_path) as (elb, cloud):
        balancer, group = await made(elb)
        await listening(elb, balancer, group)
        wrong = [{"Id": instance(0), "Port": 80}]
        code, text = await elb.refused("register_targets", TargetGroupArn=group, Targets=wrong)
        assert (code, instance(0) in text) == ("InvalidTarget", True)
        cloud.prober.says("127.0.1.1", 3000, 200)
        targets = [{"Id": instance(1)}]
        await elb("register_targets", TargetGroupArn=group, Targets=targets)
        await cloud.clock.advance(1)
        waiter = elb.boto.get_waiter("target_in_service")
        await asyncio.to_thread(waiter.wait, TargetGroupArn=group)
        (shown,) = (await elb("describe_target_health", TargetGroupArn=group))["TargetHealthDescriptions"]
        assert shown == {
            "Target": {"Id": instance(1), "Port": 3000},
            "HealthCheckPort": "3000",
            "TargetHealth": {"State": "healthy"},
        }
        await elb("deregister_targets", TargetGroupArn=group, Targets=targets)
        await cloud.clock.advance(301)
        waiter = elb.boto.get_waiter("target_deregistered")
        await asyncio.to_thread(waiter.wait, TargetGroupArn=group, Targets=targets)


async def test_rewrites_are_refused(tmp_path: Path) -> None:
    async with clients(tmp_path) as (elb, _):
        balancer, group = await made(elb)
        listener = await listening(elb, balancer, group)
        rewrite = {"Rewrites": [{"Regex": "a", "Replace": "b"}]}
        code, _text = await elb.refused(
            "create_rule",
            ListenerArn=listener,
            Priority=1,
            Conditions=[{"Field": "path-pattern", "Values": ["/a"]}],
            Actions=forward(group),
            Transforms=[{"Type": "url-rewrite", "UrlRewriteConfig": rewrite}],
        )
        assert code == "InvalidConfigurationRequest"
