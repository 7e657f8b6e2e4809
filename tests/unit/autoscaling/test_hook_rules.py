import pytest

from portside.cloud.kernel.database import Database
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.autoscaling import group_records, hook_records
from portside.cloud.services.autoscaling.arrivals import pause
from portside.cloud.services.autoscaling.group_records import Key
from portside.cloud.services.autoscaling.hook_rules import LAUNCHING, TERMINATING, Hook, merged, shown

QUEUE = "arn:aws:sqs:eu-west-1:000000000000:q"
ROLE = "arn:aws:iam::000000000000:role/r"


def test_a_new_hook_has_the_defaults_of_aws():
    hook = merged(None, {"LifecycleHookName": "h", "LifecycleTransition": LAUNCHING})
    assert hook == Hook("h", LAUNCHING, timeout=3600, result="ABANDON")
    assert shown(hook, "g")["GlobalTimeout"] == 172_800


def test_what_an_update_leaves_out_stays():
    old = Hook("h", LAUNCHING, timeout=60, result="CONTINUE", target=QUEUE, role=ROLE, metadata="m")
    assert merged(old, {"LifecycleHookName": "h"}) == old
    changed = merged(old, {"LifecycleHookName": "h", "NotificationTargetARN": "", "HeartbeatTimeout": 90})
    assert (changed.target, changed.timeout, changed.result) == ("", 90, "CONTINUE")
    assert changed.limit == 9000


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"LifecycleTransition": None}, "required for a new lifecycle hook"),
        ({"LifecycleTransition": "autoscaling:EC2_INSTANCE_FLYING"}, "is not a lifecycle transition"),
        ({"HeartbeatTimeout": 29}, "between 30 and 7200"),
        ({"HeartbeatTimeout": 7201}, "between 30 and 7200"),
        ({"DefaultResult": "PERHAPS"}, "DefaultResult must be"),
        ({"NotificationTargetARN": "arn:aws:lambda:eu-west-1:000000000000:function:f"}, "an SNS topic or an SQS"),
        ({"NotificationTargetARN": QUEUE + ".fifo", "RoleARN": ROLE}, "FIFO"),
        ({"NotificationTargetARN": QUEUE}, "RoleARN is required"),
    ],
)
def test_what_no_hook_may_be(given, words):
    with pytest.raises(AwsError, match=words):
        merged(None, {"LifecycleHookName": "h", "LifecycleTransition": TERMINATING} | given)


def test_pauses_grow_to_a_limit():
    assert [pause(each) for each in (1, 2, 3, 99)] == [5, 10, 20, 300]


def test_instances_that_waited_before_an_upgrade_still_wait(tmp_path):
    database = Database(tmp_path / "state.db")
    database.migrate("autoscaling-groups", group_records.MIGRATIONS[:1])
    with database.write() as tx:
        tx.execute("INSERT INTO as_leaving VALUES ('r', 'i-1', 'g', 10.0, 70.0, 0, ?)", ("a\nb",))
        tx.execute("INSERT INTO as_leaving VALUES ('r', 'i-2', 'g', 11.0, 11.0, 1, '')")
    database.migrate("autoscaling-groups", group_records.MIGRATIONS)
    key = Key("r", "g")
    first, second = group_records.leaving(database, key)
    assert (first.instance, first.decrement, first.abandoned, first.served) == ("i-1", False, False, True)
    assert (second.instance, second.decrement) == ("i-2", True)
    actions = hook_records.actions(database, key)
    assert [(each.instance, each.hook, each.deadline) for each in actions] == [
        ("i-1", "a", 70.0),
        ("i-1", "b", 70.0),
    ]
    assert len({each.token for each in actions}) == 2 and {len(each.token) for each in actions} == {36}
    database.close()
