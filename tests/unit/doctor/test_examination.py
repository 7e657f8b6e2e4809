"""Facts are those of the machine: sockets that listen, an engine that answers, a cloud that was killed."""

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer

import pytest

from portside.cloud import examination
from portside.cloud.settings import CloudSettings, Home

ANSWERS = {
    "/_ping": "OK",
    "/info": {"Architecture": "aarch64", "MemoryLimit": False},
    "/version": {"Version": "4.3.1", "Components": [{"Name": "Podman Engine"}]},
}
LABELLED = [
    {"Labels": {"portside.cloud": "a"}},
    {"Labels": {"portside.cloud": "b"}},
    {"Labels": {"portside.cloud": "a"}},
]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.partition("?")[0]
        answer = LABELLED if path == "/containers/json" else ANSWERS[path]
        body = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self):
        return "client"

    def log_message(self, *_):
        return


@pytest.fixture
def engine(tmp_path: Path):
    path = tmp_path / "engine.sock"
    with UnixStreamServer(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"unix://{path}"
        finally:
            server.shutdown()
            thread.join()


def test_an_engine_is_asked_what_it_is_and_which_containers_it_has(engine, tmp_path):
    facts = examination.look(Home(tmp_path / "home"), CloudSettings(engine=engine, port=0))
    assert facts.engine == examination.Engine(engine, "Podman", "4.3.1", "aarch64", False, {"a": 2, "b": 1})


def test_no_engine_and_a_taken_port_are_seen(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = CloudSettings(engine=f"unix://{tmp_path}/none.sock", port=port)
        facts = examination.look(Home(tmp_path / "home"), settings)
    assert facts.engine is None
    assert "in use" in facts.port_taken
    assert not examination.look(Home(tmp_path / "home"), settings).port_taken
    assert facts.disk is not None


def test_a_cloud_that_was_killed_is_seen_with_its_id(tmp_path):
    home = Home(tmp_path / "home")
    home.state.mkdir(parents=True)
    home.running.write_text(json.dumps({"id": "11111111"}))
    home.lock.touch()
    facts = examination.look(home, CloudSettings(engine=f"unix://{tmp_path}/none.sock", port=0))
    assert facts.left_over
    assert (facts.cloud, facts.running) == ("11111111", "")


def test_the_aws_cli_on_the_path_is_asked_for_its_version(tmp_path, monkeypatch):
    program = tmp_path / "aws"
    program.write_text("#!/bin/sh\necho aws-cli/2.9.19 Python/3.11.2 Linux source/x86_64 prompt/off >&2\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert examination.look(Home(tmp_path / "home"), CloudSettings(port=0)).aws_cli == "2.9.19"
    program.write_text("#!/bin/sh\nexit 127\n")
    assert examination.look(Home(tmp_path / "home"), CloudSettings(port=0)).aws_cli == ""
