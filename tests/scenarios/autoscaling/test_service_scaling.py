"""Service auto scaling in virtual time: metrics -> alarms -> policies -> the number of tasks."""

import pytest

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.scaling.triggers import Trigger
from portside.testing.server import REGION
from worlds.scaling import RESOURCE, scaling_world, with_service

CPU = {"PredefinedMetricSpecification": {"PredefinedMetricType": "ECSServiceAverageCPUUtilization"}}
MEMORY = {"PredefinedMetricSpecification": {"PredefinedMetricType": "ECSServiceAverageMemoryUtilization"}}
MIB = 2**20


async def track(made, name="cpu", target=50.0, metric=CPU, **more):
    given = {"TargetValue": target, **metric, **more}
    return await made.call(
        "PutScalingPolicy",
        PolicyName=name,
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration=given,
    )


async def steps(made, name, adjustments, kind="ChangeInCapacity", **more):
    given = {"AdjustmentType": kind, "StepAdjustments": adjustments, **more}
    answer = await made.call("PutScalingPolicy", PolicyName=name, StepScalingPolicyConfiguration=given)
    return answer["PolicyARN"]


async def breach(made, arn, value, threshold=50.0, state="ALARM"):
    await made.scaling.execution.execute(Trigger(REGION, arn, "alarm", state, value, threshold))
    await made.clock.advance(3)
    return made.desired


async def test_tracking_adds_tasks_under_load_and_takes_them_away_again(tmp_path):
    async with scaling_world(tmp_path) as made:
        await with_service(made)
        await track(made)
        # Half a core is twice what the one task reserves: 200 % at a target of 50 % asks for four.
        made.load(0.5)
        await made.ecs.until(lambda: made.desired == 4, 60)
        await made.ecs.until(lambda: made.running == 4, 60)
        made.spread(0.5)
        await made.clock.advance(120)
        assert made.desired == 4, "at the target it stays"
        newest = (await made.activities())[0]
        assert newest["StatusCode"] == "Successful"
        assert newest["Description"] == "Setting desired count to 4."
        assert newest["Cause"].startswith(f"monitor alarm TargetTracking-{RESOURCE}-AlarmHigh-")
        assert newest["Cause"].endswith("in state ALARM triggered policy cpu")
        made.load(0.0)
        counts = []
        for _ in range(60):
            await made.clock.advance(5)
            counts.append(made.desired)
        assert counts[-1] == 1, "never below the least"
        assert counts == sorted(counts, reverse=True)
        assert {2, 1} <= set(counts), "half of what is too much at a time"


async def test_never_more_than_the_most(tmp_path):
    async with scaling_world(tmp_path) as made:
        await with_service(made, most=2)
        await track(made)
        made.load(2.0)
        await made.clock.advance(120)
        assert made.desired == 2


async def test_the_two_alarms_belong_to_the_policy(tmp_path):
    async with scaling_world(tmp_path) as made:
        await with_service(made)
        answer = await track(made)
        names = [each["AlarmName"] for each in answer["Alarms"]]
        assert [name.rsplit("-Alarm", 1)[0] for name in names] == [f"TargetTracking-{RESOURCE}"] * 2
        found = await made.ecs.call("DescribeAlarms", {"AlarmNames": names}, "cloudwatch")
        high, low = sorted(found["MetricAlarms"], key=lambda each: each["EvaluationPeriods"])
        assert (high["EvaluationPeriods"], high["Threshold"], high["ComparisonOperator"]) == (
            3,
            50.0,
            "GreaterThanThreshold",
        )
        assert (low["EvaluationPeriods"], low["Threshold"], low["ComparisonOperator"]) == (
            15,
            45.0,
            "LessThanThreshold",
        )
        assert high["AlarmActions"] == [answer["PolicyARN"]]
        # Put again with another target: the same alarms, changed.
        again = await track(made, target=80.0, DisableScaleIn=True)
        assert [each["AlarmName"] for each in again["Alarms"]] == [high["AlarmName"]]
        assert list(await made.alarms()) == [high["AlarmName"]]
        await made.call("DeleteScalingPolicy", PolicyName="cpu")
        assert await made.alarms() == {}


async def test_deregistering_takes_policies_alarms_and_scheduled_actions_along(tmp_path):
    async with scaling_world(tmp_path) as made:
        await with_service(made)
        await track(made)
        action = {"Schedule": "rate(1 hour)", "ScalableTargetAction": {"MinCapacity": 2}}
        await made.call("PutScheduledAction", ScheduledActionName="hourly", **action)
        await made.call("DeregisterScalableTarget")
        await made.clock.advance(1)
        assert await made.alarms() == {}
        assert (await made.call("DescribeScalingPolicies"))["ScalingPolicies"] == []
        assert (await made.call("DescribeScheduledActions"))["ScheduledActions"] == []
        with pytest.raises(AwsError) as caught:
            await made.call("DeregisterScalableTarget")
        assert caught.value.code == "ObjectNotFoundException"
        assert caught.value.message == (
            f"No scalable target registered for service namespace: ecs, resource ID: {RESOURCE}, "
            "scalable dimension: ecs:service:DesiredCount"
        )


async def test_no_tasks_are_taken_away_where_that_is_switched_off(tmp_path):
    async with scaling_world(tmp_path) as made:
        await with_service(made, count=3)
        await track(made, DisableScaleIn=True)
        await made.clock.advance(400)
        assert made.desired == 3


async def test_two_policies_take_away_only_if_both_agree(tmp_path):
    async with scaling_world(tmp_path) as made:
        await with_service(made, count=3)
        await track(made)
        await track(made, "memory", 50.0, MEMORY)
        for each in made.engine.running:
            made.engine.set_load(each.id, cores=0.0, memory=32 * MIB)  # 50 %: neither too much nor too little
        await made.clock.advance(400)
        assert made.desired == 3
        for each in made.engine.running:
            made.engine.set_load(each.id, memory=MIB)
        await made.ecs.until(lambda: made.desired == 1, 600)


async def test_one_policy_is_enough_to_add_tasks(tmp_path):
    async with scaling_world(tmp_path) as made:
        await with_service(made)
        await track(made)
        await track(made, "memory", 50.0, MEMORY)
        for each in made.engine.running:
            made.engine.set_load(each.id, cores=0.0, memory=64 * MIB)
        await made.ecs.until(lambda: made.desired == 2, 120)


async def test_steps_count_from_before_the_last_one_while_its_cool_down_lasts(tmp_path):
    async with scaling_world(tmp_path) as made:
        await with_service(made, most=20)
        arn = await steps(
            made,
            "out",
            [
                {"MetricIntervalLowerBound": 0.0, "MetricIntervalUpperBound": 20.0, "ScalingAdjustment": 1},
                {"MetricIntervalLowerBound": 20.0, "ScalingAdjustment": 3},
            ],
            Cooldown=300,
        )
        assert await breach(made, arn, 40.0) == 1
        assert await breach(made, arn, 60.0) == 2
        assert await breach(made, arn, 60.0) == 2, "the same step adds nothing"
        assert await breach(made, arn, 90.0) == 4, "a larger one adds the difference"
        await made.clock.advance(30)
        assert await breach(made, arn, 60.0) == 5


async def test_taking_away_waits_for_its_cool_down_and_adding_ends_it(tmp_path):
    async with scaling_world(tmp_path) as made:
        await with_service(made, count=5, most=6)
        away = await steps(made, "in", [{"MetricIntervalUpperBound": 0.0, "ScalingAdjustment": -1}], Cooldown=300)
        out = await steps(made, "out", [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 2}], Cooldown=10)
        assert await breach(made, away, 10.0) == 4
        assert await breach(made, away, 10.0) == 4
        await made.clock.advance(30)
        assert await breach(made, away, 10.0) == 3
        assert await breach(made, out, 90.0) == 5, "at once, in spite of the cool-down"
        assert await breach(made, away, 10.0) == 4, "and that one is over"


async def test_outside_its_bounds_a_service_is_brought_back_first(tmp_path):
    async with scaling_world(tmp_path) as made:
        await with_service(made, count=2, least=4, most=6)
        out = await steps(made, "out", [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}], Cooldown=0)
        away = await steps(made, "in", [{"MetricIntervalUpperBound": 0.0, "ScalingAdjustment": -1}], Cooldown=0)
        assert made.desired == 2, "registering changes nothing"
        assert await breach(made, away, 10.0) == 2
        assert await breach(made, out, 90.0) == 4
        await made.ecs.call("UpdateService", {"service": "web", "desiredCount": 8})
        await made.ecs.until(lambda: made.running == 8, 60)
        assert await breach(made, out, 90.0) == 8
        assert await breach(made, away, 10.0) == 6


async def test_suspended_ways_stay_closed(tmp_path):
    async with scaling_world(tmp_path) as made:
        await with_service(made, count=3)
        out = await steps(made, "out", [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}], Cooldown=0)
        away = await steps(made, "in", [{"MetricIntervalUpperBound": 0.0, "ScalingAdjustment": -1}], Cooldown=0)
        both = {"DynamicScalingInSuspended": True, "DynamicScalingOutSuspended": True}
        await made.call("RegisterScalableTarget", SuspendedState=both)
        assert await breach(made, out, 90.0) == 3
        assert await breach(made, away, 10.0) == 3
        await made.call("RegisterScalableTarget", SuspendedState={"DynamicScalingOutSuspended": False})
        assert await breach(made, away, 10.0) == 3
        assert await breach(made, out, 90.0) == 4


async def test_nothing_is_taken_away_during_a_deployment(tmp_path):
    async with scaling_world(tmp_path) as made:
        await with_service(made, count=2)
        out = await steps(made, "out", [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}], Cooldown=0)
        away = await steps(made, "in", [{"MetricIntervalUpperBound": 0.0, "ScalingAdjustment": -1}], Cooldown=0)
        await made.ecs.call("UpdateService", {"service": "web", "forceNewDeployment": True})
        assert await breach(made, away, 10.0) == 2
        await made.ecs.until_steady()
        assert await breach(made, away, 10.0) == 1
        await made.ecs.call("UpdateService", {"service": "web", "forceNewDeployment": True})
        assert await breach(made, out, 90.0) == 2


async def test_an_alarm_without_data_changes_nothing(tmp_path):
    async with scaling_world(tmp_path) as made:
        await with_service(made, count=3)
        await track(made)
        made.engine.go_away()
        await made.clock.advance(300)
        assert made.desired == 3
        assert set((await made.alarms()).values()) == {"INSUFFICIENT_DATA"}


async def test_a_user_s_alarm_calls_a_step_policy_as_long_as_it_lasts(tmp_path):
    async with scaling_world(tmp_path) as made:
        await with_service(made, most=3)
        arn = await steps(made, "out", [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}], Cooldown=60)
        alarm = {
            "AlarmName": "busy",
            "Namespace": "AWS/ECS",
            "MetricName": "CPUUtilization",
            "Dimensions": [{"Name": "ClusterName", "Value": "default"}, {"Name": "ServiceName", "Value": "web"}],
            "Statistic": "Average",
            "Period": 60,
            "EvaluationPeriods": 1,
            "Threshold": 50.0,
            "ComparisonOperator": "GreaterThanThreshold",
            "AlarmActions": [arn],
        }
        await made.ecs.call("PutMetricAlarm", alarm, "cloudwatch")
        made.load(0.25)
        await made.ecs.until(lambda: made.desired == 2, 60)
        made.load(0.25)
        await made.ecs.until(lambda: made.desired == 3, 60)
        await made.clock.advance(60)
        assert made.desired == 3
        causes = {each["Cause"] for each in await made.activities()}
        assert causes == {"monitor alarm busy in state ALARM triggered policy out"}


async def test_requests_per_target_are_tracked(tmp_path):
    async with scaling_world(tmp_path) as made:
        await with_service(made)
        balancer, group = "app/lb/0123456789abcdef", "targetgroup/web/0123456789abcdef"
        specification = {
            "PredefinedMetricType": "ALBRequestCountPerTarget",
            "ResourceLabel": f"{balancer}/{group}",
        }
        await track(made, "requests", 100.0, {"PredefinedMetricSpecification": specification})
        dimensions = [{"Name": "TargetGroup", "Value": group}, {"Name": "LoadBalancer", "Value": balancer}]

        async def minutes(count, requests):
            for _ in range(count):
                datum = {"MetricName": "RequestCountPerTarget", "Dimensions": dimensions, "Value": requests}
                params = {"Namespace": "AWS/ApplicationELB", "MetricData": [datum]}
                await made.ecs.call("PutMetricData", params, "cloudwatch")
                await made.clock.advance(6)

        await minutes(5, 250.0)
        assert made.desired == 3
        await minutes(6, 83.0)
        assert made.desired == 3
        await minutes(40, 0.0)
        assert made.desired == 1


async def test_a_customized_metric_by_an_expression_is_tracked(tmp_path):
    async with scaling_world(tmp_path) as made:
        await with_service(made)
        queue = {"Namespace": "app", "MetricName": "waiting"}
        metrics = [
            {"Id": "waiting", "MetricStat": {"Metric": queue, "Stat": "Average"}, "ReturnData": False},
            {"Id": "half", "Expression": "waiting / 2"},
        ]
        await track(made, "queue", 10.0, {"CustomizedMetricSpecification": {"Metrics": metrics}})
        for _ in range(6):
            datum = {"MetricName": "waiting", "Value": 60.0}
            await made.ecs.call("PutMetricData", {"Namespace": "app", "MetricData": [datum]}, "cloudwatch")
            await made.clock.advance(6)
        assert made.desired == 3


async def test_from_no_task_at_all_the_first_comes_with_the_first_datum(tmp_path):
    async with scaling_world(tmp_path) as made:
        await with_service(made, count=0, least=0)
        given = {"Namespace": "app", "MetricName": "waiting", "Statistic": "Average"}
        await track(made, "queue", 10.0, {"CustomizedMetricSpecification": given})
        for _ in range(6):
            datum = {"MetricName": "waiting", "Value": 60.0}
            await made.ecs.call("PutMetricData", {"Namespace": "app", "MetricData": [datum]}, "cloudwatch")
            await made.clock.advance(6)
            if made.desired:
                break
        assert made.desired == 1


async def test_scheduled_actions_move_the_bounds_and_the_service(tmp_path):
    async with scaling_world(tmp_path) as made:
        await with_service(made)
        # 1 700 000 000 is 2023-11-14T22:13:20Z.
        action = {"Schedule": "at(2023-11-14T22:30:00)", "ScalableTargetAction": {"MinCapacity": 3}}
        await made.call("PutScheduledAction", ScheduledActionName="evening", **action)
        await made.clock.advance(900)
        assert made.desired == 1
        await made.clock.advance(200)
        assert made.desired == 3
        (target,) = (await made.call("DescribeScalableTargets"))["ScalableTargets"]
        assert (target["MinCapacity"], target["MaxCapacity"]) == (3, 5)
        newest = (await made.activities())[0]
        assert newest["Cause"] == "minimum capacity was set to 3 by scheduled action evening"
        daily = {
            "Schedule": "cron(0 23 * * ? *)",
            "ScalableTargetAction": {"MinCapacity": 1, "MaxCapacity": 2},
        }
        await made.call("PutScheduledAction", ScheduledActionName="night", **daily)
        await made.clock.advance(3600)
        assert made.desired == 2


async def test_an_activity_that_was_cut_off_is_carried_out_once_more(tmp_path):
    async with scaling_world(tmp_path) as made:
        await with_service(made)
        target = f"{REGION}/{RESOURCE}"
        insert = (
            "INSERT INTO aas_activity (id, target, wanted, status, applied, cause, message, details, started_at)"
        )
        with made.ecs.database.write() as tx:
            tx.execute(insert + " VALUES ('one', ?, 3, 'Pending', 0, 'c', '', '', ?)", (target, made.clock.now()))
        made.scaling.activities.resume()
        await made.ecs.until(lambda: made.running == 3, 60)
        await made.clock.advance(5)
        assert (await made.activities())[0]["StatusCode"] == "Successful"


async def test_someone_else_s_count_overrides_an_activity(tmp_path):
    async with scaling_world(tmp_path, instances=0) as made:
        await made.ecs.call("CreateCluster")
        await made.ecs.register(memory=64, cpu=256)
        await made.ecs.create_service(count=1)
        await made.call("RegisterScalableTarget", MinCapacity=1, MaxCapacity=5)
        out = await steps(made, "out", [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 4}], Cooldown=0)
        assert await breach(made, out, 90.0) == 4
        assert (await made.activities())[0]["StatusCode"] == "InProgress"
        await made.ecs.call("UpdateService", {"service": "web", "desiredCount": 2})
        await made.clock.advance(5)
        assert (await made.activities())[0]["StatusCode"] == "Overridden"


async def test_what_is_refused_is_refused_by_name(tmp_path):
    async with scaling_world(tmp_path) as made:
        await with_service(made)

        async def refused(operation, **params):
            with pytest.raises(AwsError) as caught:
                await made.call(operation, **params)
            assert caught.value.code == "ValidationException"
            return caught.value.message

        said = await refused(
            "RegisterScalableTarget",
            ServiceNamespace="dynamodb",
            ResourceId="table/t",
            ScalableDimension="dynamodb:table:ReadCapacityUnits",
        )
        assert "does not offer Application Auto Scaling for the service namespace dynamodb" in said
        said = await refused(
            "RegisterScalableTarget", ResourceId="service/default/nobody", MinCapacity=1, MaxCapacity=2
        )
        assert said == "ECS service doesn't exist: service/default/nobody"
        assert "cannot be less" in await refused("RegisterScalableTarget", MinCapacity=9)
        said = await refused("PutScalingPolicy", PolicyName="p", PolicyType="PredictiveScaling")
        assert "does not offer predictive scaling" in said
        gap = [
            {"MetricIntervalLowerBound": 0.0, "MetricIntervalUpperBound": 10.0, "ScalingAdjustment": 1},
            {"MetricIntervalLowerBound": 20.0, "ScalingAdjustment": 2},
        ]
        given = {"AdjustmentType": "ChangeInCapacity", "StepAdjustments": gap}
        said = await refused("PutScalingPolicy", PolicyName="p", StepScalingPolicyConfiguration=given)
        assert "gaps" in said
        action = {"ScheduledActionName": "a", "ScalableTargetAction": {"MinCapacity": 1}}
        assert "future" in await refused("PutScheduledAction", Schedule="at(2001-01-01T00:00:00)", **action)
        assert "Invalid schedule" in await refused("PutScheduledAction", Schedule="every day", **action)
