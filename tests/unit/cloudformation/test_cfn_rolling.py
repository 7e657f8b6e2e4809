"""Rolling updates: batches, and the words of AWS's events."""

from __future__ import annotations

from typing import Any

import pytest

from portside.cloud.services.cloudformation import rolling
from portside.cloud.services.cloudformation.policies import RollingUpdate, rolling_update
from portside.cloud.services.cloudformation.rolling import Batch, Sizes


@pytest.mark.parametrize(
    ("batch", "in_service", "sizes", "obsolete", "capacity"),
    [
        (1, 3, Sizes(3, 5, 3), 3, 4),
        (1, 1, Sizes(1, 4, 2), 2, 2),
        (6, 3, Sizes(3, 9, 3), 3, 6),
        (6, 6, Sizes(3, 9, 6), 6, 9),
        (1, 0, Sizes(1, 1, 1), 1, 1),
        (2, 1, Sizes(0, 2, 1), 1, 2),
    ],
)
def test_the_capacity_during_an_update(
    batch: int, in_service: int, sizes: Sizes, obsolete: int, capacity: int
) -> None:
    assert rolling.widened(RollingUpdate(batch=batch, in_service=in_service), sizes, obsolete) == capacity


@pytest.mark.parametrize(
    ("batch", "in_service", "desired", "obsolete", "serving", "renewed", "expected"),
    [
        (1, 3, 3, "abc", 4, 1, Batch(("a",), 1)),
        (1, 3, 3, "c", 4, 3, Batch(("c",), 0)),
        (2, 0, 3, "abc", 3, 0, Batch(("a", "b"), 2)),
        (2, 0, 3, "c", 3, 2, Batch(("c",), 1)),
        (5, 2, 4, "abcd", 4, 0, Batch(("a", "b"), 2)),
        (1, 3, 3, "abc", 3, 0, None),
        (3, 3, 3, "abc", 6, 3, Batch(("a", "b", "c"), 0)),
    ],
)
def test_the_next_batch(
    batch: int, in_service: int, desired: int, obsolete: str, serving: int, renewed: int, expected: Batch | None
) -> None:
    policy = RollingUpdate(batch=batch, in_service=in_service)
    sizes = Sizes(0, 10, desired)
    assert rolling.next_batch(policy, sizes, list(obsolete), serving, renewed) == expected


@pytest.mark.parametrize(
    ("group", "instance", "version", "expected"),
    [
        ({"LaunchConfigurationName": "b"}, {"LaunchConfigurationName": "a"}, "", True),
        ({"LaunchConfigurationName": "b"}, {"LaunchConfigurationName": "b"}, "", False),
        (
            {"LaunchTemplate": {"LaunchTemplateId": "lt-1", "Version": "$Latest"}},
            {"LaunchTemplate": {"LaunchTemplateId": "lt-1", "Version": "1"}},
            "2",
            True,
        ),
        (
            {"LaunchTemplate": {"LaunchTemplateName": "n", "Version": "2"}},
            {"LaunchTemplate": {"LaunchTemplateId": "lt-1", "LaunchTemplateName": "n", "Version": "2"}},
            "2",
            False,
        ),
        ({"LaunchTemplate": {"LaunchTemplateId": "lt-1"}}, {"LaunchConfigurationName": "a"}, "1", True),
        (
            {
                "MixedInstancesPolicy": {
                    "LaunchTemplate": {"LaunchTemplateSpecification": {"LaunchTemplateId": "lt-2"}}
                }
            },
            {"LaunchTemplate": {"LaunchTemplateId": "lt-1", "Version": "1"}},
            "1",
            True,
        ),
        ({}, {}, "", False),
    ],
)
def test_which_instances_are_obsolete(
    group: dict[str, Any], instance: dict[str, Any], version: str, expected: bool
) -> None:
    assert rolling.outdated(group, instance, version) is expected


def test_the_words() -> None:
    policy = RollingUpdate(batch=1, in_service=3, pause=900, shown="PT15M", waits=True)
    assert rolling.initiated(policy, 3) == (
        "Rolling update initiated. Terminating 3 obsolete instance(s) in batches of 1, while keeping at least 3 "
        "instance(s) in service. Waiting on resource signals with a timeout of PT15M when new instances are added to "
        "the autoscaling group."
    )
    assert rolling.added(policy, 1) == (
        "New instance(s) added to autoscaling group - Waiting on 1 resource signal(s) with a timeout of PT15M."
    )
    assert rolling.resized(4) == "Temporarily setting autoscaling group MinSize and DesiredCapacity to 4."
    assert rolling.terminating(Batch(("i-1", "i-2"), 1)) == (
        "Terminating instance(s) [i-1,i-2]; replacing with 1 new instance(s)."
    )
    assert rolling.terminated(["i-1"], 2, 3) == "Successfully terminated instance(s) [i-1] (Progress 67%)."


def test_a_policy_has_the_defaults_of_aws() -> None:
    assert rolling_update({}) is None
    assert rolling_update({"AutoScalingRollingUpdate": {}}) == RollingUpdate()
    waits = rolling_update({"AutoScalingRollingUpdate": {"WaitOnResourceSignals": "true"}})
    assert waits is not None and (waits.pause, waits.shown) == (300.0, "PT5M")
    with pytest.raises(ValueError):
        rolling_update({"AutoScalingRollingUpdate": {"PauseTime": "PT2H"}})
    assert rolling.impossible(RollingUpdate(in_service=3), Sizes(1, 3, 3))
    assert not rolling.impossible(RollingUpdate(in_service=2), Sizes(1, 3, 3))


def test_the_percentage_of_failures() -> None:
    assert rolling.enough(RollingUpdate(percent=50), 2, 5)
    assert not rolling.enough(RollingUpdate(percent=50), 3, 5)
    assert not rolling.enough(RollingUpdate(), 1, 5)
