"""What people see: words for types and states, lines that fit, changes only where nobody watches."""

import io
import re

import pytest
from rich.console import Console

from portside.cli.terminal import Board, kind, words


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("AWS::ECS::TaskDefinition", "ECS task definition"),
        ("AWS::ElasticLoadBalancingV2::TargetGroup", "ELB target group"),
        ("AWS::AutoScaling::AutoScalingGroup", "auto scaling group"),
        ("AWS::Logs::LogGroup", "CloudWatch Logs log group"),
        ("Custom::Thing", "Custom::Thing"),
    ],
)
def test_types_in_words(given, expected):
    assert kind(given) == expected


def test_states_in_words():
    assert words("CREATE_IN_PROGRESS") == "creating"
    assert words("UPDATE_ROLLBACK_COMPLETE") == "update rollback complete"


@pytest.mark.parametrize("width", [80, 120])
def test_state_and_seconds_are_never_cut(width):
    board = Board(live=True)
    board.put(
        "a", "  MemoryReservationHighAndVeryLong", "an Auto Scaling thing of Debian packages " * 3, "creating"
    )
    board.put("b", "base image", "node", "not to be had")
    out = io.StringIO()
    Console(file=out, width=width).print(board._render())
    lines = out.getvalue().splitlines()
    assert len(lines) == 2
    assert all(len(line) <= width for line in lines)
    assert "creating" in lines[0]
    # However busy the machine is.
    assert re.search(r"creating +\d+\.\d s$", lines[0].rstrip())
    assert "not to be had" in lines[1]


def test_without_a_terminal_only_changes_are_printed(capsys):
    board = Board(live=False)
    with board.shown():
        for state in ("creating", "creating", "created"):
            board.put("a", "web", "service stack", state)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "web, service stack: creating"
    assert lines[1].startswith("web, service stack: created (0.")
    assert len(lines) == 2
