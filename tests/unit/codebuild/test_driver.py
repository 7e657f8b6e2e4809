"""The driver's program, run by the shells that are here; and what its words come to."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from portside.cloud.services.codebuild import driver
from portside.cloud.services.codebuild.buildspec import parse
from portside.cloud.services.codebuild.records import Status
from portside.cloud.services.codebuild.transcript import Transcript, masker

NONCE = "portside-0123"
SHELLS = [shell for shell in ("dash", "bash") if shutil.which(shell)]


def run(tmp_path, text, shell="dash", expressions=None):
    spec = parse(text)
    for each in driver.files(spec, NONCE, expressions or {}, engine=False):
        program = each.text.replace(driver.DIRECTORY, str(tmp_path)).replace("/bin/sh ", f"{shell} ")
        (tmp_path / Path(each.path).name).write_text(program)
    source = tmp_path / "src"
    source.mkdir()
    done = subprocess.run(
        [shell, str(tmp_path / "supervisor")],
        env={"PATH": os.environ["PATH"], "HOME": "/root", "CODEBUILD_SRC_DIR": str(source)},
        stdout=subprocess.PIPE,
        text=True,
        timeout=20,
    )
    transcript = Transcript(spec, NONCE, masker(["s3cret"]))
    said = [line.text for raw in done.stdout.splitlines() for line in transcript.feed(1.0, raw)]
    return transcript, [line for line in said if not line.startswith("[Container]")]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        ('["A=\'x  y\'", "exit 4"]', ["x  y"]),
        ('["export A=1", "set -e", "false"]', ["1"]),
        ('["A=\\"it\'s\\"; cd ..; exit 1"]', ["it's"]),
        ('["set -u; A=z", "trap \'echo bye\' EXIT; exit 9"]', ["bye", "z"]),
        ("[\"A='two\\nlines'; exit 2\"]", ["two", "lines"]),
    ],
)
def test_variables_outlive_a_shell_that_a_command_ended(tmp_path, shell, commands, expected):
    text = f'version: 0.2\nphases:\n  build: {{commands: {commands}}}\n  post_build: {{commands: [\'printf "%s\\n" "$A"\']}}\n'
    transcript, output = run(tmp_path, text, shell)
    assert output == expected
    assert transcript.failed == ("BUILD",)
    assert transcript.ended


@pytest.mark.parametrize("shell", SHELLS)
def test_functions_and_directories_last_and_nothing_is_read_from_standard_input(tmp_path, shell):
    text = """
version: 0.2
phases:
  install: {commands: ['f() { echo "in $1"; }', 'mkdir d; cd d', 'read X || echo empty']}
  build: {commands: ['f there', 'basename "$PWD"', 'printf unfinished']}
  post_build: {commands: ['set -x; echo traced', 'echo again']}
"""
    transcript, output = run(tmp_path, text, shell)
    plain = [line.replace("++ ", "+ ") for line in output]
    assert plain[:4] == ["empty", "in there", "d", "unfinished"]
    assert plain[4:] == ["+ echo traced", "traced", "+ echo again", "again"]
    assert transcript.failed == ()


def test_expressions_are_evaluated_at_the_end_by_the_builds_own_shell(tmp_path):
    text = "version: 0.2\nphases: {build: {commands: ['V=1.2', 'cd /']}}\n"
    expressions = {"name": "app-$V-$(echo x)", "quoted": 'a "b"', "base": "$PWD"}
    transcript, _ = run(tmp_path, text, expressions=expressions)
    assert transcript.values == {"name": "app-1.2-x", "quoted": 'a "b"', "base": str(tmp_path / "src")}


def test_secrets_are_hidden_in_output_commands_and_reasons(tmp_path):
    text = "version: 0.2\nphases: {build: {commands: ['echo s3cret; exit 1']}}\n"
    transcript, output = run(tmp_path, text)
    assert output == ["***"]
    (phase,) = [each for each in transcript.phases if each.type == "BUILD"]
    assert phase.status is Status.FAILED
    assert phase.contexts[0].message == "Error while executing command: echo ***; exit 1. Reason: exit status 1"


def test_a_user_that_is_not_there_ends_the_build_and_says_so(tmp_path):
    text = "version: 0.2\nphases: {build: {run-as: nobody-of-that-name, commands: ['echo no']}}\n"
    transcript, output = run(tmp_path, text)
    assert transcript.failed == ("BUILD",)
    assert transcript.ended
    assert "echo no" not in output
    assert "nobody-of-that-name" in transcript.phases[-1].contexts[0].message
