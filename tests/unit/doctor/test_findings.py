"""What each fact about a machine means, and that every finding that is not good says what mends it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from portside.cloud.examination import Engine, Facts
from portside.cloud.findings import Finding, State, judge
from portside.cloud.settings import CloudSettings

ENGINE = Engine("unix:///var/run/docker.sock", "Docker", "27.1.2", "x86_64", True)
GOOD = Facts(
    settings=CloudSettings(),
    home=Path("/home/user/.portside"),
    running="",
    cloud="11111111",
    left_over=False,
    engine=ENGINE,
    port_taken="",
    many_addresses=True,
    first_free_port=0,
    resolved=("127.0.0.1",),
    disk=100 * 2**30,
    memory=8 * 2**30,
    git=True,
    root=False,
)


def found(**changed: Any) -> dict[str, Finding]:
    return {each.what: each for each in judge(replace(GOOD, **changed))}


def test_a_machine_in_order_has_nothing_to_mend():
    findings = judge(GOOD)
    assert {each.state for each in findings} == {State.GOOD}
    assert not any(each.remedy for each in findings)


@pytest.mark.parametrize(
    ("changed", "what", "state", "words"),
    [
        ({"aws_cli": "2.9.19"}, "AWS CLI", State.POOR, "does not read AWS_ENDPOINT_URL"),
        ({"aws_cli": "1.28.9"}, "AWS CLI", State.POOR, "does not read AWS_ENDPOINT_URL"),
        ({"aws_cli": "2.13.0"}, "AWS CLI", State.GOOD, "2.13.0"),
        ({"aws_cli": "1.44.2"}, "AWS CLI", State.GOOD, "1.44.2"),
        ({"engine": None}, "container engine", State.BAD, "none answers"),
        ({"engine": replace(ENGINE, version="19.03.5")}, "container engine", State.POOR, "from 20.10 on"),
        ({"engine": replace(ENGINE, version="20.10.24+dfsg1")}, "container engine", State.GOOD, "20.10.24"),
        ({"engine": replace(ENGINE, name="Podman", version="4.3.1")}, "container engine", State.GOOD, "Podman 4.3.1"),
        ({"engine": replace(ENGINE, limits_memory=False)}, "container engine", State.POOR, "cannot limit memory"),
        ({"engine": replace(ENGINE, containers={"11111111": 3})}, "containers", State.POOR, "3 of this cloud"),
        (
            {"engine": replace(ENGINE, containers={"11111111": 3}), "running": "http://127.0.0.1:4566"},
            "containers", State.GOOD, "none is left over",
        ),
        ({"engine": replace(ENGINE, containers={"22222222": 1})}, "containers", State.POOR, "cloud=22222222"),
        ({"port_taken": "Address already in use"}, "endpoint", State.BAD, "127.0.0.1:4566: Address already in use"),
        ({"running": "http://127.0.0.1:4566"}, "endpoint", State.GOOD, "runs at http://127.0.0.1:4566"),
        ({"many_addresses": False}, "loopback addresses", State.POOR, "same port"),
        ({"first_free_port": 1024}, "ports below 1024", State.POOR, "ip_unprivileged_port_start=53"),
        ({"first_free_port": 1024, "root": True}, "ports below 1024", State.GOOD, "may be listened on"),
        ({"resolved": ()}, "names", State.POOR, "is not known"),
        ({"resolved": ("10.1.2.3",)}, "names", State.POOR, "leads to 10.1.2.3"),
        ({"resolved": ("127.0.0.1", "::1")}, "names", State.GOOD, "this machine"),
        ({"disk": 3 * 2**30}, "disk", State.POOR, "3.0 GiB are free"),
        ({"disk": 2**29}, "disk", State.BAD, "0.5 GiB are free"),
        ({"disk": None}, "disk", State.POOR, "cannot be read"),
        ({"memory": 2**29}, "memory", State.POOR, "0.5 GiB"),
        ({"left_over": True}, "state", State.POOR, "nothing is lost"),
        ({"git": False}, "git", State.POOR, "Install git"),
    ],
)  # fmt: skip
def test_each_fact_is_judged(changed, what, state, words):
    finding = found(**changed)[what]
    assert finding.state is state
    assert words in f"{finding.said} {finding.remedy}"
    assert finding.remedy if state is not State.GOOD else not finding.remedy
