"""Where engines listen."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from portside import engines


def test_docker_host_is_the_only_one_if_it_is_set(tmp_path: Path) -> None:
    assert engines.candidates({"DOCKER_HOST": "tcp://127.0.0.1:2375"}, tmp_path) == ["tcp://127.0.0.1:2375"]


def test_the_clouds_own_socket_is_no_engine(tmp_path: Path) -> None:
    led = {"DOCKER_HOST": "unix:///home/u/.portside/cloud/portside.sock"}
    assert engines.candidates(led, tmp_path) == engines.candidates({}, tmp_path)
    named = led | {"PORTSIDE_ENGINE": "tcp://127.0.0.1:2375"}
    assert engines.candidates(named, tmp_path) == ["tcp://127.0.0.1:2375"]


def test_the_usual_places(tmp_path: Path) -> None:
    found = engines.candidates({"XDG_RUNTIME_DIR": "/run/user/7"}, tmp_path)
    assert found == [
        "unix:///var/run/docker.sock",
        "unix:///run/user/7/docker.sock",
        "unix:///run/user/7/podman/podman.sock",
        "unix:///run/podman/podman.sock",
        f"unix://{tmp_path}/.colima/default/docker.sock",
        f"unix://{tmp_path}/.docker/run/docker.sock",
    ]


@pytest.fixture
def answering(tmp_path: Path) -> Iterator[Path]:
    """A socket on which something answers like an engine, once."""
    path = tmp_path / "engine.sock"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(1024).startswith(b"GET /_ping HTTP/1.1\r\n")
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")

    thread = threading.Thread(target=answer)
    thread.start()
    yield path
    thread.join()
    listener.close()


def test_only_what_answers_counts(tmp_path: Path, answering: Path) -> None:
    dead = tmp_path / "dead.sock"
    left_over = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    left_over.bind(str(dead))
    left_over.close()
    assert not engines.answers(f"unix://{dead}")
    assert not engines.answers(f"unix://{tmp_path}/missing.sock")
    assert not engines.answers("ssh://somewhere")
    assert engines.find({"DOCKER_HOST": f"unix://{answering}"}, tmp_path) == f"unix://{answering}"
    assert engines.find({"DOCKER_HOST": f"unix://{dead}"}, tmp_path) is None


def test_one_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(tmp_path / "mute.sock"))
    listener.listen()
    assert not engines.answers(f"unix://{tmp_path}/mute.sock", timeout=0.1)
    listener.close()
