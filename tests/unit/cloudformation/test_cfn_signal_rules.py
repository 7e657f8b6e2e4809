"""Signals: what is enough, what user data sends, what handles take."""

from __future__ import annotations

import base64
import gzip

import pytest

from portside.cloud.services import user_data
from portside.cloud.services.cloudformation import boot_script, handles, policies
from portside.cloud.services.cloudformation.boot_script import Call
from portside.cloud.services.cloudformation.policies import SignalsWanted
from portside.cloud.services.cloudformation.signals import Judgement, judge, needed


def wanted(count: int, percent: float = 100.0) -> SignalsWanted:
    return SignalsWanted(count, 300.0, "PT5M", percent)


LATE = (
    "Failed to receive {} resource signal(s) for the current batch.  Each resource signal timeout is counted as a "
    "FAILURE."
)
SHORT = "Received {} signal(s) out of {}.  Unable to satisfy {}% MinSuccessfulInstancesPercent requirement"


@pytest.mark.parametrize(
    ("count", "percent", "received", "over", "group", "expected"),
    [
        (1, 100, "", False, False, Judgement()),
        (1, 100, "s", False, False, Judgement(enough=True)),
        (2, 100, "s", False, False, Judgement()),
        (2, 100, "sf", False, False, Judgement(failed="Received FAILURE signal with UniqueId i1")),
        (
            3, 100, "s", True, False,
            Judgement(failed="Failed to receive 2 resource signal(s) within the specified duration"),
        ),
        (1, 100, "", True, True, Judgement(failed=SHORT.format("0 SUCCESS", 1, 100), note=LATE.format(1))),
        (2, 100, "f", False, True, Judgement(failed=SHORT.format("1 FAILURE", 2, 100))),
        (2, 50, "f", False, True, Judgement()),
        (2, 50, "fs", False, True, Judgement(enough=True)),
        (2, 50, "s", False, True, Judgement()),
        (2, 50, "s", True, True, Judgement(enough=True, note=LATE.format(1))),
        (4, 75, "sss", False, True, Judgement()),
        (4, 75, "sssf", False, True, Judgement(enough=True)),
        (4, 75, "ssff", False, True, Judgement(failed=SHORT.format("2 FAILURE", 4, 75))),
        (2, 100, "sss", False, True, Judgement(enough=True)),
    ],
)  # fmt: skip
def test_what_is_enough(
    count: int, percent: float, received: str, over: bool, group: bool, expected: Judgement
) -> None:
    found = {f"i{number}": "SUCCESS" if each == "s" else "FAILURE" for number, each in enumerate(received)}
    assert judge(wanted(count, percent), found, over, group=group) == expected


def test_five_instances_at_fifty_percent_need_three() -> None:
    assert needed(wanted(5, 50)) == 3
    assert needed(wanted(4, 50)) == 2
    assert needed(wanted(3, 33.3)) == 1
    assert needed(wanted(10, 0)) == 0


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo nothing", ()),
        ("# cfn-signal --stack a --resource b", ()),
        (
            "#!/bin/bash\n/opt/aws/bin/cfn-signal -e $? --stack web --resource Group --region eu-west-1\n",
            (Call("web", "Group", "eu-west-1"),),
        ),
        ("cfn-signal --exit-code 0 --stack=web --resource=Group", (Call("web", "Group"),)),
        ("cfn-signal -e 1 --stack web --resource Group", (Call("web", "Group", success=False),)),
        ("cfn-signal --success false --stack web --resource Group", (Call("web", "Group", success=False),)),
        ("cfn-signal -s true --stack web --resource Group", (Call("web", "Group"),)),
        ("cfn-signal -s web -r Group", (Call("web", "Group"),)),
        ("cfn-signal --stack web --resource Group -r 'all done'", (Call("web", "Group"),)),
        ("cfn-init -s web && cfn-signal \\\n  -e $? \\\n  --stack web \\\n  --resource G\n", (Call("web", "G"),)),
        ("cfn-signal -e 0 'http://h/_portside/waitcondition/a?Signature=b'",
         (Call(url="http://h/_portside/waitcondition/a?Signature=b"),)),
        (
            "aws cloudformation signal-resource --stack-name web --logical-resource-id G --unique-id $ID "
            "--status FAILURE",
            (Call("web", "G", success=False),),
        ),
        ("cfn-signal --stack web --resource A; cfn-signal --stack web --resource B",
         (Call("web", "A"), Call("web", "B"))),
        ('<powershell>\ncfn-signal.exe -e 0 --stack "web" --resource "G"\n</powershell>', (Call("web", "G"),)),
        ("cfn-signal --stack 'web --resource G", (Call("web", "G"),)),
    ],
)  # fmt: skip
def test_what_user_data_would_send(script: str, expected: tuple[Call, ...]) -> None:
    assert boot_script.calls(script) == expected


def test_user_data_is_decoded() -> None:
    script = "#!/bin/bash\necho ECS_CLUSTER=web >> /etc/ecs/ecs.config\n"
    for packed in (script.encode(), gzip.compress(script.encode()), base64.b64encode(script.encode())):
        assert user_data.decoded(base64.b64encode(packed).decode()) == script
    assert user_data.cluster_assigned(script) == "web"
    assert user_data.cluster_assigned("# ECS_CLUSTER=web") == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [("PT5M", 300), ("PT1H", 3600), ("PT1H30M10S", 5410), ("PT0S", 0), ("5M", None), ("PT", None), ("x", None)],
)
def test_durations(text: str, expected: float | None) -> None:
    assert policies.seconds(text) == expected


def test_policies_have_the_defaults_of_aws() -> None:
    assert policies.signals_wanted({}) is None
    assert policies.signals_wanted({"ResourceSignal": {}}) == SignalsWanted(1, 300.0, "PT5M", 100.0)
    group = {"MinSuccessfulInstancesPercent": "50"}
    found = policies.signals_wanted({"ResourceSignal": {"Count": "3"}, "AutoScalingCreationPolicy": group})
    assert found == SignalsWanted(3, 300.0, "PT5M", 50.0)
    for bad in ({"Timeout": "PT13H"}, {"Timeout": "soon"}, {"Count": "many"}, {"Count": -1}):
        with pytest.raises(ValueError):
            policies.signals_wanted({"ResourceSignal": bad})


def test_a_handles_url_is_read_back() -> None:
    stack_id = "arn:aws:cloudformation:us-east-1:000000000000:stack/web/1234"
    url = handles.url("http://127.0.0.1:4566", stack_id, "Handle", "secret")
    assert handles.parts(url) == (stack_id, "Handle", "secret")
    for other in ("", "http://127.0.0.1:4566/x", url.partition("?")[0], "http://h/_portside/waitcondition/x?a=b"):
        assert handles.parts(other) is None


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"{}", b'{"Status": "SUCCESS"}', b'{"Status": "x", "UniqueId": "a"}', b"\xff"]
)
def test_what_is_no_message(body: bytes) -> None:
    assert handles.message(body, 0.0) is None


@pytest.mark.parametrize("value", [True, 5, "x", ["x"]])
def test_parts_of_policies_that_are_no_objects_are_named(value: object) -> None:
    for policy in ({"ResourceSignal": value}, {"ResourceSignal": {}, "AutoScalingCreationPolicy": value}):
        with pytest.raises(ValueError, match="must be an object"):
            policies.signals_wanted(policy)
    with pytest.raises(ValueError, match="AutoScalingRollingUpdate must be an object"):
        policies.rolling_update({"AutoScalingRollingUpdate": value})
    assert not policies.keeps_sizes({"AutoScalingScheduledAction": value})
    assert not policies.replaces_group({"AutoScalingReplacingUpdate": value})


@pytest.mark.parametrize("value", [True, "nan", "inf", {}])
def test_counts_are_numbers(value: object) -> None:
    with pytest.raises(ValueError, match="ResourceSignal Count must be a number"):
        policies.signals_wanted({"ResourceSignal": {"Count": value}})
    with pytest.raises(ValueError, match="SuspendProcesses must be a list"):
        policies.rolling_update({"AutoScalingRollingUpdate": {"SuspendProcesses": 5}})
