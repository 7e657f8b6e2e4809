"""Bucket policies are judged with their conditions."""

import json

from moto.iam.access_control import PermissionResult

from portside.cloud.moto_server.bucket_policies import judge

OBJECT = "arn:aws:s3:::bucket/key"


def judged(*statements, action="s3:PutObject"):
    return judge(json.dumps({"Version": "2012-10-17", "Statement": statements}).encode(), action, OBJECT)


def statement(effect, **more):
    return {"Effect": effect, "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::bucket/*", **more}


def test_only_over_tls_locks_nobody_out():
    assert (
        judged(statement("Deny", Condition={"Bool": {"aws:SecureTransport": "false"}})) is PermissionResult.NEUTRAL
    )


def test_other_denials_hold_and_win():
    assert judged(statement("Deny")) is PermissionResult.DENIED
    assert judged(statement("Allow"), statement("Deny", Action="s3:PutObject")) is PermissionResult.DENIED
    assert judged(statement("Allow"), statement("Deny", Action="s3:DeleteObject")) is PermissionResult.PERMITTED


def test_no_policy_says_nothing():
    assert judge(None, "s3:GetObject", OBJECT) is PermissionResult.NEUTRAL
