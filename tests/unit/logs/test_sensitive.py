"""What data protection policies say, and what they mask."""

from __future__ import annotations

import json
from typing import Any

import pytest

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.logs.sensitive import ARN, read

EMPLOYEE = {"Name": "Employee", "Regex": r"EmployeeID-\d{9}"}


def policy(*identifiers: str, custom: Any = (), audit: Any = None, mask: Any = None, **more: Any) -> str:
    named = list(identifiers)
    audited = {"Audit": {"FindingsDestination": {}}} if audit is None else audit
    masked = {"Deidentify": {"MaskConfig": {}}} if mask is None else mask
    document: dict[str, Any] = {
        "Name": "p",
        "Version": "2021-06-01",
        "Statement": [
            {"Sid": "a", "DataIdentifier": named, "Operation": audited},
            {"Sid": "b", "DataIdentifier": named, "Operation": masked},
        ],
    }
    if custom:
        document["Configuration"] = {"CustomDataIdentifier": list(custom)}
    return json.dumps(document | more)


@pytest.mark.parametrize(
    ("name", "text", "shown"),
    [
        ("EmailAddress", '{"to": "jo.doe+x@mail.example.com"}', '{"to": "' + "*" * 25 + '"}'),
        ("EmailAddress", "a@b, a@b.c, user@localhost", "a@b, a@b.c, user@localhost"),
        ("IpAddress", "from 10.0.0.1:80 to ::1", "from ********:80 to ***"),
        ("IpAddress", "fe80::1ff:fe23:4567:890a up", "************************ up"),
        ("IpAddress", "::ffff:10.0.0.1, 10.0.0.2.", "***************, ********."),
        ("IpAddress", "1.2.3.4.5 [::1]:80", "1.2.3.4.5 [***]:80"),
        ("IpAddress", "1.2.3.400 at 12:30:45, v1.2.3", "1.2.3.400 at 12:30:45, v1.2.3"),
        (
            "PkcsPrivateKey",
            "k=-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----.",
            "k=" + "*" * 65 + ".",
        ),
        ("OpenSshPrivateKey", "-----BEGIN OPENSSH PRIVATE KEY-----b3Bl", "*" * 39),
        ("PgpPrivateKey", "x -----BEGIN PGP PRIVATE KEY BLOCK-----", "x " + "*" * 37),
        ("PuttyPrivateKey", "PuTTY-User-Key-File-2: ssh-rsa ... Private-MAC: 0a1b done", "*" * 52 + " done"),
    ],
)
def test_managed_identifiers(name: str, text: str, shown: str) -> None:
    assert read(policy(ARN + name)).masked(text) == shown


def test_custom_identifiers_beside_managed_ones() -> None:
    found = read(policy("Employee", ARN + "EmailAddress", custom=[EMPLOYEE]))
    text = "EmployeeID-123456789 is a@example.com, EmployeeID-12 is not"
    assert found.masked(text) == "*" * 20 + " is " + "*" * 13 + ", EmployeeID-12 is not"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "must be a JSON object"),
        ("x" * 30_721, "at most 30720 characters"),
        (policy(ARN + "EmailAddress", Statement=[]), "two statements"),
        (policy(ARN + "EmailAddress", audit={"Deidentify": {}}), "lacks the operation Audit"),
        (policy(ARN + "EmailAddress", mask={"Deidentify": {"MaskConfig": {"x": 1}}}), "empty MaskConfig"),
        (policy(ARN + "EmailAddress", audit={"Audit": {}}), "must have a FindingsDestination"),
        (
            policy(ARN + "EmailAddress", audit={"Audit": {"FindingsDestination": {"S3": {"Bucket": "b"}}}}),
            "empty, without S3",
        ),
        (policy(), "one identifier at least"),
        (policy("Employee"), "neither a custom one"),
        (policy(ARN + "Ssn-US"), "does not offer the data identifier Ssn-US"),
        (policy("a b", custom=[{"Name": "a b", "Regex": "x"}]), "needs a name of its own"),
        (policy("EmailAddress", custom=[{"Name": "EmailAddress", "Regex": "x"}]), "needs a name of its own"),
        (policy("A", custom=[{"Name": "A", "Regex": "(x)"}]), "not supported"),
        (policy("A", custom=[{"Name": "A", "Regex": "x" * 201}]), "too long"),
        (policy("A", custom=[{"Name": "A", "Regex": "["}]), "is invalid"),
        (policy("A0", custom=[{"Name": f"A{n}", "Regex": "x"} for n in range(11)]), "10 identifiers at most"),
    ],
)
def test_what_is_no_policy(document: str, message: str) -> None:
    with pytest.raises(AwsError, match=message) as error:
        read(document)
    assert error.value.code == "InvalidParameterException"


def test_both_statements_name_the_same_data() -> None:
    document = json.loads(policy(ARN + "EmailAddress"))
    document["Statement"][1]["DataIdentifier"] = [ARN + "IpAddress"]
    with pytest.raises(AwsError, match="same list in both"):
        read(json.dumps(document))
