"""How the walkthrough is read, compared and written anew; and what its commands may not need."""

from __future__ import annotations

import re

import pytest

from walk import PAGE, Differs, Shell, filtered, rewritten, steps

PAGE_OF_TWO = """# Title

```console
$ echo one \\
>   two
one two
$ true
```

```toml
$ not = "a command"
```

```console
$ date
2026-01-01T00:00:00Z
```
"""


def test_commands_go_on_over_lines_and_their_output_follows():
    found = steps(PAGE_OF_TWO)
    assert [(each.command, each.output) for each in found] == [
        ("echo one \\\n  two", "one two\n"),
        ("true", ""),
        ("date", "2026-01-01T00:00:00Z\n"),
    ]
    lines = PAGE_OF_TWO.splitlines()
    assert lines[found[0].first : found[0].last] == ["one two"]
    assert lines[found[2].first : found[2].last] == ["2026-01-01T00:00:00Z"]


def test_output_of_no_command_is_refused():
    with pytest.raises(Differs, match="line 2 is printed by no command"):
        steps("```console\nhello\n```\n")


def test_what_differs_is_written_anew_and_the_rest_stays():
    anew = rewritten(PAGE_OF_TWO, steps(PAGE_OF_TWO), ["one two\n", "a\nb\n", "2027-02-02T02:02:02Z\n"])
    assert anew == PAGE_OF_TWO.replace("$ true\n", "$ true\na\nb\n")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Hello World", "Hello again"),
        ("staging-alb CREATE_COMPLETE", "staging-alb ROLLBACK_COMPLETE"),
        ("ACTIVE\t2\t2", "ACTIVE\t2\t1"),
        ('"imageTags": ["first"]', '"imageTags": ["second"]'),
        ("127.0.0.1:3001->3000/tcp", "127.0.0.1:3002->3000/tcp"),
        (
            "http://stagi-LoadB-G8GM-28.us-east-1.elb.localhost:3000",
            "http://stagi-LoadB-G8GM-28.us-east-1.elb.localhost",
        ),
        (
            "stack/staging-alb/aa5afd41-0318-45c3-8985-b4821244bd5c",
            "stack/staging-cluster/aa5afd41-0318-45c3-8985-b4821244bd5c",
        ),
    ],
)
def test_the_filters_leave_what_matters(one, other):
    assert filtered(one) != filtered(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("sha256:" + "0" * 64, "sha256:" + "a" * 64),
        ("vpc-a29fb1ae61f08d923 subnet-51e3b93eb137d4a34", "vpc-1 subnet-2"),
        ('"imageSizeInBytes": 98789436,', '"imageSizeInBytes": 1,'),
        ('"imagePushedAt": 1795658983.88,', '"imagePushedAt": "2026-11-26T02:15:28+00:00",'),
        (
            "http://stagi-LoadB-G8GMO90H-2848.us-east-1.elb.localhost:3000",
            "http://stagi-LoadB-AAAA-1.us-east-1.elb.localhost:3000",
        ),
        ("Total reclaimed space: 0B", "Total reclaimed space: 12kB"),
    ],
)
def test_the_filters_take_ids_times_and_sizes(one, other):
    assert filtered(one) == filtered(other)


def test_one_shell_goes_on_from_command_to_command(tmp_path):
    shell = Shell(tmp_path, "127.0.0.94", "unix:///nowhere")
    try:
        assert shell.type("cd examples && there=$PWD") == ("", 0)
        assert shell.type("echo $there; echo wrong >&2; false") == ("/home/you/portside/examples\nwrong\n", 1)
        # What reads its input finds none, and the next command is not eaten.
        assert shell.type("cat; printf 'no end of line'") == ("no end of line\n", 0)
        assert shell.type("for each in 1 2; do\n  echo http://127.0.0.94:$each\ndone") == (
            "http://127.0.0.1:4566\n" * 2,
            0,
        )
        said = "printf 'DEPRECATED: old\\n   more of it\\n\\nsha256:1\\n'"
        assert shell.type(said) == ("sha256:1\n", 0)
        with pytest.raises(Differs, match=r"not within 0\.2 s: tail -f"):
            shell.type("tail -f /dev/null", 0.2)
    finally:
        shell.close()


def test_no_command_of_the_walk_needs_what_aws_would_not():
    commands = [each.command for each in steps(PAGE.read_text())]
    assert len(commands) > 60
    for command in commands:
        assert not re.search(
            r"--endpoint-url|--no-verify-ssl|--no-sign-request|--insecure|localhost:4566", command
        ), command
    # portside starts and stops the cloud, writes templates and binds a checkout; all else is done by others.
    words = {found for each in commands for found in re.findall(r"\bportside (cloud \w+|\w+)", each)}
    assert words == {"cloud start", "cloud env", "cloud reset", "synth", "connect"}
