"""portside.toml: every mistake is told with file, line, key and the nearest valid key."""

from pathlib import Path

import pytest

from portside.blueprint.settings import SettingsError, load, parse

FILE = Path("app/portside.toml")


def problem(text):
    with pytest.raises(SettingsError) as caught:
        parse(text, FILE)
    return caught.value


@pytest.mark.parametrize(
    ("text", "line", "key", "said", "remedy"),
    [
        ('name = "a1"\n[service]\nprot = 1\n', 3, "service.prot", "unknown key", "Did you mean `port`?"),
        ('name = "a1"\n\n[servce]\nport = 1\n', 3, "servce", "unknown key", "Did you mean `service`?"),
        ('name = "a1"\nservice.cuont = 2\n', 2, "service.cuont", "unknown key", "Did you mean `count`?"),
        ('name = "a1"\n[environments.staging]\ncuont = 2\n', 3, "environments.staging.cuont", "unknown key", "`count`"),
        ('name = "a1"\n[service.health_check]\npaht = "/"\n', 3, "service.health_check.paht", "unknown key", "`path`"),
        ('name = "a1"\n[service]\nzzzzzz = 1\n', 3, "service.zzzzzz", "unknown key", "[service] may hold: count, cpu"),
        ('name = "a1"\n[service.scaling]\nmix = 1\n', 3, "service.scaling.mix", "unknown key", "`m"),
        ('name = "a1"\n[service.scaling]\nmin = 9\n', 2, "service.scaling", "not above its max", "Correct"),
        ('name = "a1"\n[service]\nport = "80"\n', 3, "service.port", "valid integer, not '80' (string)", "Correct"),
        ('name = "a1"\n[service]\nport = 70000\n', 3, "service.port", "less than or equal to 65535", "Correct"),
        ('name = "a1"\n[service]\nport = true\n', 3, "service.port", "not True (boolean)", "Correct"),
        ('name = "a1"\nservice = 3\n', 2, "service", "not 3 (integer)", "Correct"),
        ('name = "Hello"\n', 1, "name", "not 'Hello' (string)", "lower-case"),
        ('name = "a1"\n[environments.pre-prod]\n', 2, "environments.pre-prod", "pre-prod", "without a hyphen"),
        ('[service]\nport = 80\n', None, "name", "required but missing", "Add `name"),
        ('name = "a1"\nport ==\n', 2, "", "not valid TOML", "Correct the line"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(text, line, key, said, remedy):
    found = problem(text)
    assert (found.line, found.key) == (line, key)
    assert said in str(found)
    assert str(found).startswith(f"app/portside.toml:{line}: " if line else "app/portside.toml: ")
    assert remedy in found.remedy


def test_no_file_at_all(tmp_path):
    with pytest.raises(SettingsError, match="no such file") as caught:
        load(tmp_path)
    assert "portside init" in caught.value.remedy


def test_a_file_that_is_not_utf8(tmp_path):
    (tmp_path / "portside.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(SettingsError, match="cannot be read"):
        load(tmp_path)


def test_defaults():
    found = parse('name = "helloworld"', FILE)
    assert found.service.port == 3000
    assert sorted(found.environments) == ["production", "staging"]
