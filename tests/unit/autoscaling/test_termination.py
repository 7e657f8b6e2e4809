"""Which instances of a group go first."""

from dataclasses import replace

import pytest

from portside.cloud.services.autoscaling.termination import Member, victims

NOW = 100_000.0
OLD = Member("i-old", "a", launched=NOW - 7_300, key=0.1)  # 100 s into its third hour
NEW = Member("i-new", "a", launched=NOW - 3_500, key=0.2)  # 100 s before its second hour
MIDDLE = Member("i-mid", "a", launched=NOW - 5_400, key=0.3)


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        (["OldestInstance"], "i-old"),
        (["NewestInstance"], "i-new"),
        (["ClosestToNextInstanceHour"], "i-new"),
        (["Default"], "i-new"),
        ([], "i-new"),
        (["AllocationStrategy", "OldestInstance"], "i-old"),
    ],
)
def test_the_policy_decides_within_a_zone(policies, expected):
    assert victims([MIDDLE, OLD, NEW], 1, policies, NOW) == [expected]


def test_zones_stay_balanced_whatever_the_policy_says():
    alone = replace(OLD, id="i-alone", zone="b", launched=0.0)
    assert victims([alone, OLD, NEW], 1, ["OldestInstance"], NOW) == ["i-old"]
    assert victims([alone, OLD, NEW], 2, ["OldestInstance"], NOW) == ["i-old", "i-alone"]


def test_what_the_group_no_longer_launches_goes_first():
    outdated = replace(MIDDLE, id="i-outdated", outdated=True)
    template = replace(MIDDLE, id="i-template", version=2)
    configuration = replace(MIDDLE, id="i-configuration", configuration=True)
    assert victims([NEW, outdated], 1, ["Default"], NOW) == ["i-outdated"]
    assert victims([template, configuration], 1, ["OldestLaunchConfiguration"], NOW) == ["i-configuration"]
    older = replace(template, id="i-older", version=1)
    assert victims([template, older], 1, ["OldestLaunchTemplate"], NOW) == ["i-older"]


def test_protected_instances_never_go():
    safe = replace(NEW, protected=True)
    assert victims([safe, OLD], 2, [], NOW) == ["i-old"]
    assert victims([safe], 1, [], NOW) == []
