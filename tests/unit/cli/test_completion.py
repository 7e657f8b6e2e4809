"""What Tab offers, from the files at hand; and a real bash that asks for it."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from portside.blueprint.app import App
from portside.blueprint.pipeline import stages
from portside.blueprint.settings import parse
from portside.cli import completion
from portside.cli.main import app

SHOP = """name = "shop"
[environments.staging]
[environments.preview]
[environments.production]
[pipeline]
repository = "ada/shop"
"""
LIMIT = 60


@pytest.fixture
def apps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in (("services/shop", SHOP), ("services/mail", 'name = "mail"\n'), ("broken", "name =")):
        directory = tmp_path / name
        directory.mkdir(parents=True)
        (directory / "portside.toml").write_text(text)
    for hidden in ("node_modules/thing", ".cache/thing", "a/b/c/d"):
        (tmp_path / hidden).mkdir(parents=True)
        (tmp_path / hidden / "portside.toml").write_text(SHOP)
    return tmp_path


def context(directory: str = "") -> typer.Context:
    made = typer.main.get_command(app).make_context("portside", [], resilient_parsing=True)
    made.params["directory"] = Path(directory)
    return made


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("", ["broken", "services/mail", "services/shop"]),
        ("serv", ["services/mail", "services/shop"]),
        ("services/s", ["services/shop"]),
        ("./services/m", ["./services/mail"]),
        (".c", [".cache/thing"]),
        ("nothing", []),
        ("nothing/at/all", []),
    ],
)
def test_apps_are_directories_with_settings(apps: Path, typed: str, offered: list[str]) -> None:
    assert completion.apps(typed) == offered


def test_an_absolute_path_stays_one(apps: Path) -> None:
    assert completion.apps(f"{apps}/services/") == [f"{apps}/services/mail", f"{apps}/services/shop"]


def test_environments_are_those_of_the_app_that_is_named(apps: Path) -> None:
    assert completion.environments(context("services/shop"), "p") == ["preview", "production"]
    for other in ("services/mail", "broken", "nothing"):
        assert completion.environments(context(other), "") == ["staging", "production"]


def test_stages_containers_and_repositories(apps: Path) -> None:
    offered = completion.stages(context("services/shop"), "")
    assert offered == ["Source", "Build", "Staging", "Preview", "Production"]
    assert set(offered) < set(stages(App(parse(SHOP, apps / "portside.toml"))))
    assert completion.containers(context("services/shop"), "s") == ["shop"]
    assert completion.containers(context("nothing"), "") == []
    assert completion.repositories("") == ["ada/shop"]
    assert completion.repositories("bob") == []


def test_nothing_heavy_is_loaded_while_the_user_waits(apps: Path) -> None:
    """Each of these takes longer than all the rest."""
    code = (
        "import sys\n"
        "from portside.cli.entry import main\n"
        "sys.argv = ['portside']\n"
        "try:\n    main()\n"
        "finally:\n    print(*sys.modules, file=sys.stderr)\n"
    )
    environment = {
        **os.environ,
        "COMP_WORDS": "portside up --env ",
        "COMP_CWORD": "3",
        "_PORTSIDE_COMPLETE": "complete_bash",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert done.stdout.split() == ["staging", "production"]
    heavy = {"boto3", "botocore", "troposphere", "moto", "rich", "aiohttp", "asyncio"}
    assert heavy & set(done.stderr.split()) == set()


class Bash:
    """An interactive bash with the completion script of `portside --show-completion`."""

    def __init__(self, directory: Path) -> None:
        place = directory / "bin"
        place.mkdir()
        script = place / "portside"
        script.write_text(f"#!{sys.executable}\nfrom portside.cli.entry import main\nmain()\n")
        script.chmod(0o755)
        environment = {
            "PATH": f"{place}:{os.environ['PATH']}",
            "HOME": str(directory),
            "TERM": "dumb",
            "PS1": "> ",
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        }
        bash = shutil.which("bash")
        assert bash is not None
        self._environment = environment
        self._terminal, inner = pty.openpty()
        self._process = subprocess.Popen(
            [bash, "--norc", "--noprofile", "-i"],
            stdin=inner,
            stdout=inner,
            stderr=inner,
            env=environment,
            cwd=directory,
            start_new_session=True,
        )
        os.close(inner)
        self.shown = ""
        # What a shell can source is what a person's .bashrc sources after --install-completion.
        self.type(
            "eval \"$(portside --show-completion)\"; bind 'set show-all-if-ambiguous on'; echo re''ady\r", "ready"
        )

    def type(self, keys: str, awaited: str) -> str:
        """What is shown until `awaited` is."""
        os.write(self._terminal, keys.encode())
        seen, end = "", time.monotonic() + LIMIT
        while awaited not in seen:
            ready, _, _ = select.select([self._terminal], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"{awaited!r} is not shown: {seen!r}"
            seen += os.read(self._terminal, 65536).decode(errors="replace")
        return seen

    def close(self) -> None:
        os.close(self._terminal)
        self._process.kill()
        self._process.wait(LIMIT)


def test_a_real_bash_completes_what_is_typed(apps: Path) -> None:
    bash = Bash(apps)
    try:
        bash.type("portside pipel\t", "portside pipeline ")
        bash.type("rej\t", "ect ")
        bash.type("\x15portside up serv\t", "services/")
        bash.type("s\t", "hop ")
        bash.type("--env prev\t", "iew ")
        bash.type("--tar\t", "get ")
        bash.type("a\t", "ws ")
        bash.type("\x15portside pipeline retry --app services/shop Pro\t", "Production ")
        assert "staging" in bash.type("\x15portside logs services/shop --env \t", "production")
    finally:
        bash.close()
