"""cloud.toml and the PORTSIDE_* variables."""

import pytest

from portside.cloud.settings import CloudSettings, CloudSettingsError, Home, home, read


@pytest.fixture
def place(tmp_path):
    return Home(tmp_path)


def test_defaults(place):
    assert read(place, {}) == CloudSettings()


def test_a_variable_wins_over_the_file(place):
    place.settings_file.write_text('port = 5000\nregion = "eu-west-1"\n')
    found = read(place, {"PORTSIDE_PORT": "6000"})
    assert (found.port, found.region) == (6000, "eu-west-1")


@pytest.mark.parametrize(
    ("text", "environ", "said"),
    [
        ("prot = 1\n", {}, r"cloud.toml: prot: unknown key. Did you mean `port`\?"),
        ("port = 'x'\n", {}, r"cloud.toml: port: this must be an integer, not 'x'"),
        ("port = 70000\n", {}, r"port: a port is a number from 0 to 65535, not 70000"),
        ("port = \n", {}, r"cloud.toml: .*line 1"),
        ('address = "0.0.0.0"\n', {}, r"loopback only"),
        ('account = "12"\n', {}, r"12 digits"),
        ('pace = "slow"\n', {}, r"pace: this must be fast or aws, not 'slow'"),
        ("", {"PORTSIDE_PORT": "many"}, r"PORTSIDE_PORT: port: .*not 'many'"),
        ("", {"PORTSIDE_PACE": "x"}, r"PORTSIDE_PACE: pace"),
    ],
)
def test_mistakes_name_their_place(place, text, environ, said):
    if text:
        place.settings_file.write_text(text)
    with pytest.raises(CloudSettingsError, match=said):
        read(place, environ)


def test_home_follows_its_variable(tmp_path):
    assert home({"PORTSIDE_HOME": str(tmp_path)}).directory == tmp_path
    assert home({}).directory.name == ".portside"


def test_settings_survive_the_way_to_the_process():
    made = CloudSettings(port=1, pace="aws")
    assert CloudSettings.from_json(made.to_json()) == made
