"""portside init: what it finds, and that what it writes is valid."""

import pytest

from portside.blueprint.settings import load
from portside.cli.init import app_name, exposed_port, find_dockerfile, init, node_argument
from portside.cli.terminal import Terminal
from portside.deploy.errors import DeployError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM a\nEXPOSE 8080\n", 8080),
        ("FROM a\nexpose 8080/tcp 9090\n", 8080),
        ("FROM a\nEXPOSE 53/udp\nEXPOSE 80\n", 80),
        ("FROM a\nEXPOSE 53/udp\n", None),
        ("FROM a\nARG PORT=4000\nEXPOSE ${PORT}\n", 4000),
        ("FROM a\nENV PORT 5000\nEXPOSE $PORT/tcp\n", 5000),
        ("FROM a AS build\nEXPOSE 1\nFROM b\nEXPOSE 2\n", 2),
        ("FROM a\nEXPOSE \\\n  7000\n", 7000),
        ("FROM a\nEXPOSE 7000-7010\n", 7000),
        ("FROM a\nEXPOSE $NOBODY\n", None),
        ("FROM a\nEXPOSE 99999\n", None),
        ("", None),
    ],
)
def test_the_exposed_port(text, expected):
    assert exposed_port(text) == expected


@pytest.mark.parametrize(
    ("directory", "expected"),
    [
        ("helloworld", "helloworld"),
        ("My App_2", "my-app-2"),
        ("2048", "app-2048"),
        ("é", "app"),
        ("x" * 40, "x" * 32),
    ],
)
def test_a_name_from_the_directory(directory, expected):
    assert app_name(directory) == expected


def test_the_argument_of_a_node_base():
    assert node_argument("ARG BASE_IMAGE=node:24-slim\nFROM ${BASE_IMAGE}\n") == "BASE_IMAGE"
    assert node_argument("ARG BASE=public.example/library/node:24\nFROM ${BASE}\n") == "BASE"
    assert node_argument("ARG BASE=python:3\nFROM ${BASE}\n") is None
    assert node_argument("FROM node:24\n") is None


def test_what_is_written_is_valid_and_says_what_was_found(tmp_path):
    directory = tmp_path / "Shop"
    directory.mkdir()
    (directory / "Dockerfile").write_text("ARG BASE=node:24\nFROM $BASE\nEXPOSE 8080\n")
    init(Terminal(live=False), directory, None, False)
    found = load(directory)
    assert (found.name, found.service.port, found.build.node_base_argument) == ("shop", 8080, "BASE")
    text = (directory / "portside.toml").read_text()
    assert sum(line.startswith("#") for line in text.splitlines()) >= 8
    with pytest.raises(DeployError, match="exists already"):
        init(Terminal(live=False), directory, None, False)


def test_a_dockerfile_one_level_down(tmp_path):
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "Dockerfile").write_text("FROM a\n")
    assert find_dockerfile(tmp_path) == "web/Dockerfile"
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "Dockerfile").write_text("FROM a\n")
    with pytest.raises(DeployError, match="several Dockerfiles") as caught:
        find_dockerfile(tmp_path)
    assert caught.value.why == "api/Dockerfile, web/Dockerfile"


def test_no_dockerfile(tmp_path):
    with pytest.raises(DeployError, match="there is no Dockerfile"):
        find_dockerfile(tmp_path)
