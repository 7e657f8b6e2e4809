"""The documents are true: files that they name exist, references are current, commands are real."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))


def test_each_file_that_the_architecture_names_exists():
    text = (ROOT / "ARCHITECTURE.md").read_text()
    named = {name for name in re.findall(r"`((?:src|docs|tests)/[\w/.*-]+)`", text) if "*" not in name}
    assert len(named) > 20
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_each_loop_is_where_the_architecture_says():
    assert len(list((ROOT / "src/portside/cloud/services").glob("*/*_loop.py"))) >= 6


def test_the_references_are_current():
    found = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert found.returncode == 0, f"{found.stdout}{found.stderr}: run `make reference`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def commands():
    text = (ROOT / "README.md").read_text()
    for block in re.findall(r"```console\n(.*?)```", text, re.S):
        for line in block.splitlines():
            if line.startswith("$ "):
                yield line[2:].split("#")[0].strip()


def test_each_portside_command_of_the_readme_exists():
    asked = [command for command in commands() if command.startswith("portside ")]
    assert len(asked) >= 8
    for command in asked:
        words = [word for word in command.split()[1:] if not word.startswith("-")]
        path = words[:2] if words[0] in ("build", "cloud", "pipeline") else words[:1]
        found = subprocess.run(
            [sys.executable, "-m", "portside", *path, "--help"], cwd=ROOT, capture_output=True, text=True
        )
        assert found.returncode == 0, command
        for option in (word for word in command.split() if word.startswith("-")):
            assert re.search(rf"(^|\s){re.escape(option)}\s", found.stdout), f"{command}: no {option}"


def test_each_make_target_of_the_readme_exists():
    makefile = (ROOT / "Makefile").read_text()
    for command in commands():
        if command.startswith("make "):
            assert re.search(rf"^{command.split()[1]}:", makefile, re.M), command


def test_ci_calls_what_the_readme_says():
    script = (ROOT / ".ci" / "run").read_text()
    assert [line for line in script.splitlines() if line.startswith("make")] == ["make test"]
