"""What is published of load balancers, once a minute."""

from elb_cloud import elb_cloud, instance
from portside.cloud.machine.proxy import ClusterCounts, SocketCounts
from portside.cloud.services.elbv2.routing import cluster_name


def published(cloud, name, *keys):
    """The values of one metric with exactly these dimensions, oldest first."""
    return [
        each.get("Value", each.get("Values"))
        for params in cloud.calls.asked("cloudwatch", "PutMetricData")
        for each in params["MetricData"]
        if each["MetricName"] == name and [d["Name"] for d in each["Dimensions"]] == list(keys)
    ]


BOTH = ("TargetGroup", "LoadBalancer")


async def served(cloud):
    balancer, group = await cloud.balancer(), await cloud.group()
    await cloud.listener(balancer, group)
    await cloud.register(group, (instance(1), 3000), (instance(2), 3000))
    await cloud.clock.advance(200)
    return cluster_name(group)


async def test_what_came_since_the_last_minute_is_published(tmp_path):
    async with elb_cloud(tmp_path) as cloud:
        cluster = await served(cloud)
        cloud.proxy.counts[cluster] = ClusterCounts(
            requests=100, codes=((2, 90), (5, 6)), failed=4, without_endpoint=3, times=((0.1, 96),)
        )
        cloud.proxy.sockets["127.0.0.1", 80] = SocketCounts(open=2, made=40, not_agreed=3)
        await cloud.clock.advance(60)
        assert published(cloud, "RequestCount", "LoadBalancer") == [100.0]
        assert published(cloud, "RequestCount", *BOTH) == [100.0]
        assert published(cloud, "RequestCountPerTarget", "TargetGroup")[-1] == 50.0
        assert published(cloud, "HTTPCode_Target_2XX_Count", "LoadBalancer") == [90.0]
        assert published(cloud, "HTTPCode_Target_5XX_Count", *BOTH) == [6.0]
        assert published(cloud, "HTTPCode_ELB_5XX_Count", "LoadBalancer") == [7.0]
        assert published(cloud, "HTTPCode_ELB_502_Count", "LoadBalancer") == [4.0]
        assert published(cloud, "HTTPCode_ELB_503_Count", "LoadBalancer") == [3.0]
        assert published(cloud, "TargetResponseTime", *BOTH) == [[0.1]]
        assert published(cloud, "NewConnectionCount", "LoadBalancer") == [40.0]
        assert published(cloud, "ActiveConnectionCount", "LoadBalancer") == [2.0]
        assert published(cloud, "ClientTLSNegotiationErrorCount", "LoadBalancer") == [3.0]
        assert published(cloud, "UnHealthyHostCount", *BOTH)[-1] == 2.0, "as the checks say"
        await cloud.clock.advance(60)
        assert published(cloud, "RequestCount", "LoadBalancer") == [100.0], "counters only when not zero"
        assert published(cloud, "RequestCountPerTarget", "TargetGroup")[-1] == 0.0, "requests per target always"


async def test_after_a_restart_of_the_proxy_everything_counts_anew(tmp_path):
    async with elb_cloud(tmp_path) as cloud:
        cluster = await served(cloud)
        cloud.proxy.counts[cluster] = ClusterCounts(requests=100)
        await cloud.clock.advance(60)
        cloud.proxy.restart()
        cloud.proxy.counts[cluster] = ClusterCounts(requests=130)
        await cloud.clock.advance(60)
        assert published(cloud, "RequestCount", "LoadBalancer") == [100.0, 130.0]


async def test_a_proxy_that_does_not_answer_is_not_taken_for_an_idle_one(tmp_path):
    async with elb_cloud(tmp_path) as cloud:
        await served(cloud)
        before = len(published(cloud, "RequestCountPerTarget", "TargetGroup"))
        cloud.proxy.broken = "away"
        await cloud.clock.advance(300)
        assert len(published(cloud, "RequestCountPerTarget", "TargetGroup")) == before
