from dataclasses import replace

from elb_cloud import resolve
from portside.cloud.machine.proxy import Balancing, Endpoint, FixedResponse, Forward, Redirect
from portside.cloud.services.elbv2.health import Health, State
from portside.cloud.services.elbv2.records import Listener, LoadBalancer, Rule, Target, TargetGroup
from portside.cloud.services.elbv2.routing import World, cluster_name, in_rotation, match_of, snapshot
from portside.cloud.services.elbv2.rules import actions, conditions

PLACE = "arn:aws:elasticloadbalancing:us-east-1:000000000000"
GROUP = TargetGroup(
    f"{PLACE}:targetgroup/web/00", "us-east-1", "web", 0.0, "HTTP", "HTTP1", 3000, "vpc-1", "instance"
)


def balancer(name: str) -> LoadBalancer:
    return LoadBalancer(
        f"{PLACE}:loadbalancer/app/{name}/1", "us-east-1", name, 0.0, f"{name}-1.us-east-1.elb.localhost",
        "internet-facing", "ipv4", "vpc-1", (), (),
    )  # fmt: skip


def target(number: int, state: State) -> Target:
    return Target(GROUP.arn, f"i-{number:017x}", 3000, None, Health(state))


def world(*names: str, targets: tuple[Target, ...] = ()) -> World:
    balancers = [balancer(name) for name in names]
    listeners = [Listener(f"listener-{lb.name}", lb.arn, 80, "HTTP") for lb in balancers]
    forward = actions([{"Type": "forward", "TargetGroupArn": GROUP.arn}])
    rules = [Rule(f"rule-{li.arn}", li.arn, None, (), forward) for li in listeners]
    return World(balancers, listeners, rules, [GROUP], targets)


def test_who_is_in_rotation() -> None:
    healthy, ill, new, leaving = (target(n, s) for n, s in enumerate(
        (State.HEALTHY, State.UNHEALTHY, State.INITIAL, State.DRAINING), start=1
    ))  # fmt: skip
    assert in_rotation(GROUP, [healthy, ill, new, leaving]) == [healthy]
    assert in_rotation(GROUP, [ill, new, leaving]) == [ill]
    assert in_rotation(GROUP, [new, leaving]) == []
    key = "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count"
    assert in_rotation(replace(GROUP, attributes=((key, "2"),)), [healthy, ill, new]) == [healthy, ill]
    key = key.replace("count", "percentage")
    assert in_rotation(replace(GROUP, attributes=((key, "50"),)), [healthy, ill, new]) == [healthy]
    assert in_rotation(replace(GROUP, attributes=((key, "51"),)), [healthy, ill, new]) == [healthy, ill]


def test_the_only_load_balancer_on_a_port_answers_to_every_name() -> None:
    made = snapshot(
        world("one", targets=(target(1, State.HEALTHY), target(0, State.HEALTHY))),
        ["127.0.0.1", "172.17.0.1"],
        lambda arn: "127.64.0.1",
        resolve,
    )
    assert [(li.address, li.port, li.hosts[0].domains) for li in made.listeners] == [
        ("127.0.0.1", 80, ("one-1.us-east-1.elb.localhost", "*")),
        ("172.17.0.1", 80, ("one-1.us-east-1.elb.localhost", "*")),
        ("127.64.0.1", 80, ("*",)),
    ]
    (cluster,) = made.clusters
    assert cluster.name == cluster_name(GROUP.arn) == "us-east-1-web-00"
    assert cluster.endpoints == (Endpoint("127.0.1.1", 3000),)


def test_several_on_a_port_are_told_apart_by_name() -> None:
    made = snapshot(world("one", "two"), ["127.0.0.1"], lambda arn: "127.0.0.1", resolve)
    (socket,) = made.listeners
    assert [host.domains for host in socket.hosts] == [
        ("one-1.us-east-1.elb.localhost",),
        ("two-1.us-east-1.elb.localhost",),
    ]


def test_actions_and_conditions() -> None:
    match = match_of(
        conditions(
            [
                {"Field": "path-pattern", "Values": ["/a*"]},
                {"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": "X-A", "Values": ["1"]}},
                {"Field": "query-string", "QueryStringConfig": {"Values": [{"Key": "k", "Value": "v"}]}},
                {"Field": "query-string", "QueryStringConfig": {"Values": [{"Value": "w"}]}},
                {"Field": "source-ip", "SourceIpConfig": {"Values": ["10.0.0.0/8"]}},
            ]
        )
    )
    assert match.paths == ("/a*",)
    host = {"Field": "host-header", "HostHeaderConfig": {"Values": ["*.example.com"]}}
    assert match_of(conditions([host])).hosts == ("*.example.com",)
    assert match.headers == (("X-A", ("1",)),)
    assert match.queries == ((("k", "v"),), ((None, "w"),))
    assert match.sources == ("10.0.0.0/8",)
    w = world("one")
    for given, expected in (
        ({"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}, FixedResponse(404)),
        (
            {"Type": "redirect", "RedirectConfig": {"StatusCode": "HTTP_302", "Port": "443", "Query": ""}},
            Redirect(302, port=443, query=""),
        ),
        ({"Type": "forward", "TargetGroupArn": GROUP.arn}, Forward((("us-east-1-web-00", 1),))),
    ):
        rule = replace(w.rules[0], actions=actions([given]))
        made = snapshot(replace(w, rules=[rule]), ["127.0.0.1"], lambda arn: "127.0.0.1", resolve)
        assert made.listeners[0].hosts[0].routes[0].action == expected


def test_stickiness_of_groups_and_of_targets() -> None:
    w = world("one")
    other = replace(GROUP, arn=GROUP.arn.replace("web", "other"))
    sticky = replace(
        GROUP,
        attributes=(("stickiness.enabled", "true"), ("stickiness.lb_cookie.duration_seconds", "60")),
    )
    config = {
        "TargetGroups": [{"TargetGroupArn": sticky.arn}, {"TargetGroupArn": other.arn, "Weight": 2}],
        "TargetGroupStickinessConfig": {"Enabled": True, "DurationSeconds": 30},
    }
    rule = replace(w.rules[0], actions=actions([{"Type": "forward", "ForwardConfig": config}]))
    made = snapshot(
        replace(w, rules=[rule], groups=[sticky, other]), ["127.0.0.1"], lambda arn: "127.0.0.1", resolve
    )
    assert made.listeners[0].hosts[0].routes[0].action == Forward(
        (("us-east-1-web-00", 1), ("us-east-1-other-00", 2)),
        sticky=30.0,
        sticky_targets=(("us-east-1-web-00", 60.0),),
    )


def test_attributes_of_balancer_listener_and_group_reach_the_proxy() -> None:
    w = world("one", targets=(target(1, State.HEALTHY),))
    lb = replace(
        w.load_balancers[0],
        attributes=(
            ("routing.http.drop_invalid_header_fields.enabled", "true"),
            ("routing.http.xff_client_port.enabled", "true"),
        ),
    )
    answers = "routing.http.response."
    li = replace(
        w.listeners[0],
        attributes=(
            (f"{answers}server.enabled", "false"),
            (f"{answers}access_control_allow_origin.header_value", "*"),
            (f"{answers}x_frame_options.header_value", ""),
        ),
    )
    group = replace(GROUP, attributes=(("load_balancing.algorithm.type", "weighted_random"),))
    made = snapshot(
        replace(w, load_balancers=[lb], listeners=[li], groups=[group]),
        ["127.0.0.1"],
        lambda arn: "127.0.0.1",
        resolve,
    )
    host = made.listeners[0].hosts[0]
    assert (host.plain_headers, host.client_port, host.name_server) == (True, True, False)
    assert host.response_headers == (("access-control-allow-origin", "*"),)
    assert made.clusters[0].balancing is Balancing.RANDOM
