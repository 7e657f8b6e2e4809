"""What a tracked metric asks for, and the alarms that watch it."""

import pytest

from portside.cloud.services.scaling import tracking


@pytest.mark.parametrize(
    ("base", "value", "target", "wanted"),
    [(1, 200.0, 50.0, 4), (4, 50.0, 50.0, 4), (3, 60.0, 50.0, 4), (10, 51.0, 50.0, 11), (0, 60.0, 10.0, 1)],
)
def test_outward_as_much_as_brings_it_to_the_target(base, value, target, wanted):
    assert tracking.outward(base, value, target) == wanted


@pytest.mark.parametrize(
    ("base", "value", "target", "wanted"),
    [(4, 0.0, 50.0, 2), (2, 0.0, 50.0, 1), (1, 0.0, 50.0, 0), (10, 40.0, 50.0, 9), (10, 25.0, 50.0, 7), (1, 40.0, 50.0, 1)],
)  # fmt: skip
def test_inward_half_of_the_surplus(base, value, target, wanted):
    assert tracking.inward(base, value, target) == wanted


def test_a_resource_label_names_load_balancer_and_group():
    found = tracking.balancer_metric("app/lb/12/targetgroup/web/34")
    assert found["Dimensions"] == [
        {"Name": "TargetGroup", "Value": "targetgroup/web/34"},
        {"Name": "LoadBalancer", "Value": "app/lb/12"},
    ]
    for label in ("", "app/lb/12", "net/lb/12/targetgroup/web/34", "app/lb//targetgroup/web/34"):
        assert tracking.balancer_metric(label) is None
