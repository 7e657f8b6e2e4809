from typing import Any

import pytest

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.elbv2.rules import actions, conditions, groups_of

ARN = "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/web/0123456789abcdef"


def redirect(**config: str) -> list[dict[str, Any]]:
    return [{"Type": "redirect", "RedirectConfig": {"StatusCode": "HTTP_301", **config}}]


def test_a_forward_is_shown_in_both_forms() -> None:
    (shown,) = actions([{"Type": "forward", "TargetGroupArn": ARN}])
    assert shown == {
        "Type": "forward",
        "TargetGroupArn": ARN,
        "ForwardConfig": {
            "TargetGroups": [{"TargetGroupArn": ARN, "Weight": 1}],
            "TargetGroupStickinessConfig": {"Enabled": False},
        },
    }
    assert groups_of([shown]) == [ARN]
    assert actions([shown]) == (shown,)


def test_a_redirect_shows_what_stays() -> None:
    (shown,) = actions(redirect(Protocol="HTTPS", Port="443"))
    assert shown["RedirectConfig"] == {
        "Protocol": "HTTPS",
        "Host": "#{host}",
        "Port": "443",
        "Path": "/#{path}",
        "Query": "#{query}",
        "StatusCode": "HTTP_301",
    }


@pytest.mark.parametrize(
    ("given", "code"),
    [
        *(
            (
                [
                    {
                        "Type": "forward",
                        "ForwardConfig": {
                            "TargetGroups": [{"TargetGroupArn": ARN}],
                            "TargetGroupStickinessConfig": sticky,
                        },
                    }
                ],
                "ValidationError",
            )
            for sticky in ({"Enabled": True}, {"Enabled": True, "DurationSeconds": 604801})
        ),
        ([], "ValidationError"),
        ([{"Type": "forward"}], "ValidationError"),
        ([{"Type": "authenticate-oidc"}], "InvalidConfigurationRequest"),
        ([{"Type": "forward", "TargetGroupArn": ARN}] * 2, "TooManyActions"),
        (redirect(), "InvalidConfigurationRequest"),
        (redirect(Host="www.#{host}"), "InvalidConfigurationRequest"),
        (redirect(Path="no-slash"), "InvalidConfigurationRequest"),
        (redirect(Port="70000"), "ValidationError"),
        ([{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "302"}}], "ValidationError"),
        (
            [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "200", "MessageBody": "x" * 1025}}],
            "ValidationError",
        ),
    ],
)
def test_actions_that_are_refused(given: list[dict[str, Any]], code: str) -> None:
    with pytest.raises(AwsError) as refused:
        actions(given)
    assert refused.value.code == code


@pytest.mark.parametrize(
    "given",
    [
        [],
        [{"Field": "path-pattern"}],
        [{"Field": "path-pattern", "Values": ["no-slash"]}],
        [{"Field": "host-header", "Values": ["nodot"]}],
        [{"Field": "http-request-method", "HttpRequestMethodConfig": {"Values": ["get"]}}],
        [{"Field": "source-ip", "SourceIpConfig": {"Values": ["10.0.0.300/8"]}}],
        [{"Field": "path-pattern", "Values": ["/a"]}, {"Field": "path-pattern", "Values": ["/b"]}],
        [{"Field": "path-pattern", "Values": [f"/{n}" for n in range(6)]}],
        [{"Field": "path-pattern", "Values": ["/******"]}],
        [{"Field": "path-pattern", "PathPatternConfig": {"Values": [], "RegexValues": ["/.*"]}}],
    ],
)
def test_conditions_that_are_refused(given: list[dict[str, Any]]) -> None:
    with pytest.raises(AwsError):
        conditions(given)
