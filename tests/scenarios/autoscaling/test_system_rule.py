"""The system's own rule, in virtual time: tasks fill the cluster above 75 % -> alarm -> one more instance -> the
waiting task is placed; emptying below 30 % takes an instance away."""

from contextlib import asynccontextmanager

from portside.cloud.kernel.clock import FAST_PACE
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.autoscaling.api import AutoScalingApi
from portside.cloud.services.calls import Caller
from portside.cloud.services.cloudwatch.api import CloudWatchApi
from portside.testing.server import ACCOUNT, REGION, quiet_log
from worlds.ecs import virtual_world

GROUP = "group"
USER = Caller.root(ACCOUNT, REGION, "key")


def policy_arn(name):
    return f"arn:aws:autoscaling:{REGION}:{ACCOUNT}:scalingPolicy:1:autoScalingGroupName/{GROUP}:policyName/{name}"


class Groups:
    """One group whose instances are those of the fake EC2."""

    def __init__(self, world, least=1, most=5):
        self.world = world
        self.least, self.most = least, most
        self.suspended = []
        self.policies = {}

    def describe(self, params):
        return {
            "AutoScalingGroups": [
                {
                    "AutoScalingGroupName": GROUP,
                    "MinSize": self.least,
                    "MaxSize": self.most,
                    "DesiredCapacity": len(self.world.ec2.instances),
                    "DefaultCooldown": 300,
                    "SuspendedProcesses": [{"ProcessName": name} for name in self.suspended],
                }
            ]
        }

    def describe_policies(self, params):
        found = [each for each in self.policies.values() if each["PolicyName"] in params["PolicyNames"]]
        return {"ScalingPolicies": found}

    def set(self, params):
        wanted, present = params["DesiredCapacity"], self.world.ec2.instances
        assert self.least <= wanted <= self.most
        for number in range(len(present), wanted):
            self.world.ec2.launch(100 + number + len(self.world.calls.made))
        for ec2_id in list(present)[wanted:]:
            del present[ec2_id]
        self.world.ecs.capacity.wake()
        return {}

    def policy(self, name, amount, **more):
        self.policies[name] = {
            "PolicyName": name,
            "AutoScalingGroupName": GROUP,
            "PolicyType": "SimpleScaling",
            "AdjustmentType": "ChangeInCapacity",
            "ScalingAdjustment": amount,
            **more,
        }


@asynccontextmanager
async def scaled(tmp_path, **programs):
    async with virtual_world(tmp_path, pace=FAST_PACE, **programs) as world:
        groups = Groups(world)
        world.calls.answers |= {
            ("autoscaling", "DescribeAutoScalingGroups"): groups.describe,
            ("autoscaling", "DescribePolicies"): groups.describe_policies,
            ("autoscaling", "SetDesiredCapacity"): groups.set,
        }
        del world.calls.answers["cloudwatch", "PutMetricData"]
        shared = {"database": world.database, "clock": world.clock, "pace": FAST_PACE, "calls": world.calls}
        watch = CloudWatchApi(**shared, log=quiet_log(), account=ACCOUNT)
        world.calls.add(watch.service())
        world.calls.add(AutoScalingApi(**shared, log=quiet_log()).service())
        async with watch:
            yield world, groups


def alarm(world, name, comparison, threshold, metric, policy):
    world.calls.services["cloudwatch"].operations["PutMetricAlarm"](
        USER,
        {
            "AlarmName": name,
            "Namespace": "AWS/ECS",
            "MetricName": metric,
            "Dimensions": [{"Name": "ClusterName", "Value": "default"}],
            "Statistic": "Average",
            "Period": 60,
            "EvaluationPeriods": 1,
            "Threshold": threshold,
            "ComparisonOperator": comparison,
            "AlarmActions": [policy_arn(policy)],
        },
    )


async def test_the_cluster_grows_when_it_is_full_and_shrinks_when_it_is_empty(tmp_path):
    async with scaled(tmp_path) as (world, groups):
        groups.policy("out", 1, Cooldown=60)
        groups.policy("in", -1, Cooldown=60)
        alarm(world, "full", "GreaterThanThreshold", 75.0, "MemoryReservation", "out")
        alarm(world, "empty", "LessThanThreshold", 30.0, "MemoryReservation", "in")
        # A t3.small registers 1945 MiB: three tasks fit, the fourth has to wait.
        await world.register(memory=600, cpu=128)
        await world.create_service(count=4)
        await world.clock.advance(3)
        assert len(world.running()) == 3
        assert any("was unable to place a task" in each for each in world.events())
        await world.until(lambda: len(world.running()) == 4, 120)
        assert len(world.ec2.instances) == 2
        await world.clock.advance(120)
        assert len(world.ec2.instances) == 2, "at 62 % neither more nor fewer"
        await world.call("UpdateService", {"service": "web", "desiredCount": 1})
        await world.until(lambda: len(world.ec2.instances) == 1, 240)
        await world.until(lambda: len(world.running()) == 1, 60)
        await world.clock.advance(240)
        assert len(world.ec2.instances) == 1, "never below the least"


async def test_a_simple_policy_waits_for_its_cool_down(tmp_path):
    async with scaled(tmp_path) as (world, groups):
        groups.policy("out", 1, Cooldown=600)
        alarm(world, "full", "GreaterThanThreshold", -1.0, "MemoryReservation", "out")
        await world.until(lambda: len(world.ec2.instances) == 2, 120)
        # The alarm goes on asking, once every six seconds.
        await world.clock.advance(50)
        assert len(world.ec2.instances) == 2
        await world.clock.advance(30)
        assert len(world.ec2.instances) == 3


async def test_steps_and_warm_up(tmp_path):
    async with scaled(tmp_path) as (world, groups):
        groups.policy(
            "steps",
            0,
            PolicyType="StepScaling",
            EstimatedInstanceWarmup=300,
            StepAdjustments=[
                {"MetricIntervalLowerBound": 0.0, "MetricIntervalUpperBound": 20.0, "ScalingAdjustment": 1},
                {"MetricIntervalLowerBound": 20.0, "ScalingAdjustment": 3},
            ],
        )
        execute = world.calls.services["autoscaling"].operations["ExecutePolicy"]

        async def breach(value):
            params = {"PolicyName": policy_arn("steps"), "MetricValue": value, "BreachThreshold": 50.0}
            await execute(USER, params)
            return len(world.ec2.instances)

        assert await breach(40.0) == 1
        assert await breach(60.0) == 2
        assert await breach(60.0) == 2, "the same step adds nothing while the first one warms up"
        assert await breach(90.0) == 4, "a higher step adds the difference"
        await world.clock.advance(31)
        assert await breach(60.0) == 5
        try:
            await execute(USER, {"PolicyName": policy_arn("steps")})
        except AwsError as error:
            assert error.code == "ValidationError"
        else:
            raise AssertionError("a step policy needs the metric's value")


async def test_suspended_alarm_notifications_change_nothing(tmp_path):
    async with scaled(tmp_path) as (world, groups):
        groups.suspended.append("AlarmNotification")
        groups.policy("out", 1)
        alarm(world, "full", "GreaterThanThreshold", -1.0, "MemoryReservation", "out")
        await world.clock.advance(60)
        assert len(world.ec2.instances) == 1
