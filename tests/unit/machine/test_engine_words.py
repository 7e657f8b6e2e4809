"""What a client's login becomes on its way to the engine."""

import base64
import json

from portside.cloud.machine.engine_words import addressed


def decoded(headers):
    (value,) = headers.values()
    assert list(headers) == ["X-Registry-Auth"]
    return json.loads(base64.urlsafe_b64decode(value))


def test_a_login_is_addressed_to_the_local_registry():
    said = decoded(addressed({"username": "AWS", "password": "p", "serveraddress": "far"}, "127.0.0.1:4566"))
    assert said == {"username": "AWS", "password": "p", "auth": "", "serveraddress": "127.0.0.1:4566"}


def test_no_login_is_said_too():
    assert decoded(addressed({}, "127.0.0.1:4566")) == {}
