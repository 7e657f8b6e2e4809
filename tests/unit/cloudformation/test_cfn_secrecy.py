"""What is not shown of texts that hold secrets."""

from __future__ import annotations

import pytest

from portside.cloud.services.cloudformation.secrecy import covered, told


@pytest.mark.parametrize(
    ("text", "secrets", "shown"),
    [
        ("it is red", ["red"], "it is ****"),
        ("red and redder", ["red", "redder"], "**** and ****"),
        ("7", ["7"], "****"),
        ("17", ["7"], "17"),
        ("so true", ["true"], "so true"),
        ('{"a":"7","b":7,"c":17,"d":null}', ["7"], '{"a":"****","b":"****","c":17,"d":null}'),
        ('{"a":true,"b":["x","secret-x"]}', ["true", "secret"], '{"a":"****","b":["x","****-x"]}'),
        ('{"a": "b"}', [], '{"a": "b"}'),
        ('{"a": "b"}', ["other"], '{"a": "b"}'),
        ('{"a":"say \\"hi\\""}', ['"hi"'], '{"a":"say ****"}'),
        ("{broken red", ["red"], "{broken ****"),
        ('{"Policy":"{\\"who\\":\\"a\\\\\\"b\\"}"}', ['a"b'], '{"Policy":"{\\"who\\":\\"****\\"}"}'),
        ("plain", [""], "plain"),
    ],
)
def test_texts(text: str, secrets: list[str], shown: str) -> None:
    assert covered(text, secrets) == shown
    assert told(text, secrets) is (text != shown)
