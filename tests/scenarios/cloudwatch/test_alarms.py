"""Alarms in virtual time: from published data to a state, and from a state to its actions."""

import json
from contextlib import asynccontextmanager

import pytest

from portside.cloud.kernel.clock import AWS_PACE, FAST_PACE
from portside.cloud.kernel.database import Database
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller
from portside.cloud.services.cloudwatch import records
from portside.cloud.services.cloudwatch.api import CloudWatchApi
from portside.cloud.services.cloudwatch.evaluate import State
from portside.testing.calls import ScriptedCalls
from portside.testing.clock import VirtualClock
from portside.testing.server import ACCOUNT, REGION, quiet_log

SERVICE = Caller.root(ACCOUNT, REGION)
USER = Caller.root(ACCOUNT, REGION, "key")
POLICY = f"arn:aws:autoscaling:{REGION}:{ACCOUNT}:scalingPolicy:1:autoScalingGroupName/g:policyName/out"
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:topic"
CLUSTER = [{"Name": "ClusterName", "Value": "c"}]


class World:
    def __init__(self, api, clock, calls, pace, database):
        self.database = database
        self.api = api
        self.clock = clock
        self.calls = calls
        self.pace = pace

    def do(self, operation, **params):
        found = self.api.service().operations[operation]
        return found(SERVICE, params)

    def alarm(self, name="high", **more):
        self.do(
            "PutMetricAlarm",
            **{
                "AlarmName": name,
                "Namespace": "AWS/ECS",
                "MetricName": "CPUReservation",
                "Dimensions": CLUSTER,
                "Statistic": "Average",
                "Period": 60,
                "EvaluationPeriods": 1,
                "Threshold": 75.0,
                "ComparisonOperator": "GreaterThanThreshold",
                "AlarmActions": [POLICY],
            }
            | more,
        )

    def state(self, name="high"):
        found = self.do("DescribeAlarms", AlarmNames=[name])
        (alarm,) = found["MetricAlarms"] + found["CompositeAlarms"]
        return alarm["StateValue"]

    async def publish(self, value, periods=1):
        for _ in range(periods):
            datum = {"MetricName": "CPUReservation", "Dimensions": CLUSTER, "Value": value, "Unit": "Percent"}
            self.do("PutMetricData", Namespace="AWS/ECS", MetricData=[datum])
            await self.clock.advance(self.pace.wait(60.0))

    @property
    def executed(self):
        return self.calls.asked("autoscaling", "ExecutePolicy")


@asynccontextmanager
async def world_at(tmp_path, pace=AWS_PACE, clock=None):
    clock = clock or VirtualClock(1_699_999_980.0)
    calls = ScriptedCalls(
        {
            ("autoscaling", "ExecutePolicy"): lambda params: {},
            ("sns", "Publish"): lambda params: {"MessageId": "1"},
        }
    )
    database = Database(tmp_path / "state.db")
    api = CloudWatchApi(database=database, clock=clock, pace=pace, calls=calls, log=quiet_log(), account=ACCOUNT)
    async with api:
        yield World(api, clock, calls, pace, database)
    database.close()


@pytest.mark.parametrize("pace", [AWS_PACE, FAST_PACE])
async def test_an_alarm_follows_its_metric_and_acts_every_period(tmp_path, pace):
    async with world_at(tmp_path, pace) as world:
        world.alarm()
        assert world.state() == "INSUFFICIENT_DATA"
        await world.publish(50.0, 2)
        assert world.state() == "OK"
        assert world.executed == []
        await world.publish(90.0, 2)
        assert world.state() == "ALARM"
        assert world.executed[0] == {
            "PolicyName": POLICY,
            "HonorCooldown": True,
            "MetricValue": 90.0,
            "BreachThreshold": 75.0,
        }
        before = len(world.executed)
        await world.publish(95.0, 3)
        assert len(world.executed) in (before + 2, before + 3)
        await world.publish(20.0, 3)
        assert world.state() == "OK"
        settled = len(world.executed)
        await world.publish(20.0, 3)
        assert len(world.executed) == settled


async def test_a_topic_is_told_once_in_the_form_of_cloudwatch(tmp_path):
    async with world_at(tmp_path) as world:
        world.alarm(AlarmActions=[TOPIC], OKActions=[TOPIC], AlarmDescription="too full")
        await world.publish(90.0, 5)
        (sent,) = world.calls.asked("sns", "Publish")
        assert sent["Subject"] == f'ALARM: "high" in {REGION}'
        message = json.loads(sent["Message"])
        assert message["NewStateValue"] == "ALARM"
        assert message["AlarmDescription"] == "too full"
        assert message["Trigger"]["MetricName"] == "CPUReservation"
        assert "was greater than the threshold (75.0)" in message["NewStateReason"]
        await world.publish(10.0, 4)
        assert json.loads(world.calls.asked("sns", "Publish")[-1]["Message"])["NewStateValue"] == "OK"
        kinds = [each["HistoryItemType"] for each in world.do("DescribeAlarmHistory")["AlarmHistoryItems"]]
        assert kinds == ["Action", "StateUpdate", "Action", "StateUpdate", "ConfigurationUpdate"]


async def test_a_set_state_takes_its_actions_and_lasts_until_the_next_look(tmp_path):
    async with world_at(tmp_path) as world:
        world.alarm()
        await world.publish(10.0, 3)
        world.do("SetAlarmState", AlarmName="high", StateValue="ALARM", StateReason="a drill")
        assert world.state() == "ALARM"
        await world.clock.advance(1)
        assert [each["PolicyName"] for each in world.executed] == [POLICY]
        assert world.state() == "ALARM"
        await world.publish(10.0, 2)
        assert world.state() == "OK"


async def test_disabled_actions_are_not_taken(tmp_path):
    async with world_at(tmp_path) as world:
        world.alarm()
        world.do("DisableAlarmActions", AlarmNames=["high"])
        await world.publish(90.0, 4)
        assert world.state() == "ALARM"
        assert world.executed == []
        world.do("EnableAlarmActions", AlarmNames=["high"])
        await world.publish(90.0, 2)
        assert world.executed


async def test_a_crash_between_state_and_action_loses_no_action(tmp_path):
    async with world_at(tmp_path) as world:
        world.alarm(AlarmActions=[TOPIC])
        await world.publish(10.0, 2)
        # The state is committed, then the process is gone.
        found = records.alarm(world.database, REGION, "high")
        world.api.loop.move(found, State.ALARM, "full", "")
    async with world_at(tmp_path, clock=world.clock) as later:
        await later.clock.advance(1)
        assert len(later.calls.asked("sns", "Publish")) == 1


async def test_a_failing_action_is_noted_and_hinders_nothing(tmp_path):
    async with world_at(tmp_path) as world:

        def refuse(params):
            raise AwsError("ValidationError", "Group not found")

        world.calls.answers["autoscaling", "ExecutePolicy"] = refuse
        world.alarm(AlarmActions=[POLICY, TOPIC])
        await world.publish(90.0, 2)
        summaries = [each["HistorySummary"] for each in world.do("DescribeAlarmHistory")["AlarmHistoryItems"]]
        assert f'Failed to execute action {POLICY}. Received error: "Group not found"' in summaries
        assert f"Successfully executed action {TOPIC}" in summaries


async def test_a_composite_alarm_follows_others(tmp_path):
    async with world_at(tmp_path) as world:
        with pytest.raises(AwsError, match="do not exist"):
            world.do("PutCompositeAlarm", AlarmName="both", AlarmRule='ALARM("high") AND NOT OK(low)')
        world.alarm()
        world.alarm("low", Threshold=20.0, AlarmActions=[])
        world.do(
            "PutCompositeAlarm", AlarmName="both", AlarmRule='ALARM("high") AND NOT OK(low)', AlarmActions=[TOPIC]
        )
        await world.publish(50.0, 3)
        assert world.state("both") == "OK"
        await world.publish(90.0, 2)
        assert world.state("both") == "ALARM"
        assert len(world.calls.asked("sns", "Publish")) == 1
        with pytest.raises(AwsError, match="composite alarm both uses them"):
            world.do("DeleteAlarms", AlarmNames=["high"])
        world.do("DeleteAlarms", AlarmNames=["high", "both"])


async def test_metric_math(tmp_path):
    async with world_at(tmp_path) as world:
        stat = {"Period": 60, "Stat": "Average"}
        metric = {"Namespace": "AWS/ECS", "MetricName": "CPUReservation", "Dimensions": CLUSTER}
        metrics = [
            {"Id": "m1", "MetricStat": stat | {"Metric": metric}, "ReturnData": False},
            {"Id": "e1", "Expression": "IF(m1 > 10, m1 * 2, 0)", "ReturnData": True},
        ]
        world.do(
            "PutMetricAlarm",
            AlarmName="high",
            Metrics=metrics,
            EvaluationPeriods=1,
            Threshold=75.0,
            ComparisonOperator="GreaterThanThreshold",
        )
        await world.publish(40.0, 2)
        assert world.state() == "ALARM"
        for wrong, text in (
            ("RATE(m1)", "does not offer the metric math function RATE"),
            ("m1 +", "Invalid metric math expression"),
            ("m2 + 1", "Unknown identifier m2"),
            ("__import__('os')", "does not offer the metric math function"),
        ):
            broken = [metrics[0], metrics[1] | {"Expression": wrong}]
            with pytest.raises(AwsError, match=text):
                world.do(
                    "PutMetricAlarm",
                    AlarmName="x",
                    Metrics=broken,
                    EvaluationPeriods=1,
                    Threshold=1.0,
                    ComparisonOperator="GreaterThanThreshold",
                )


async def test_users_publish_their_own_namespaces_only(tmp_path):
    async with world_at(tmp_path) as world:
        put = world.api.service().operations["PutMetricData"]
        datum = {"MetricName": "m", "Values": [1.0, 3.0], "Counts": [2.0, 1.0]}
        with pytest.raises(AwsError, match="The value AWS/ for parameter Namespace is invalid"):
            put(USER, {"Namespace": "AWS/ECS", "MetricData": [datum]})
        put(USER, {"Namespace": "mine", "MetricData": [datum]})
        now = world.clock.now()
        found = world.do(
            "GetMetricStatistics",
            Namespace="mine",
            MetricName="m",
            StartTime=now - 60,
            EndTime=now + 60,
            Period=60,
            Statistics=["Sum", "SampleCount", "Average", "Minimum", "Maximum"],
            ExtendedStatistics=["p90"],
        )
        (point,) = found["Datapoints"]
        assert point | {"Timestamp": 0} == {
            "Timestamp": 0,
            "Unit": "None",
            "Sum": 5.0,
            "SampleCount": 3.0,
            "Average": 5.0 / 3,
            "Minimum": 1.0,
            "Maximum": 3.0,
            "ExtendedStatistics": {"p90": 3.0},
        }
        assert [each["MetricName"] for each in world.do("ListMetrics", Namespace="mine")["Metrics"]] == ["m"]
