"""What is read from a checkout: git itself, and the fake that stands for it in other tests."""

from __future__ import annotations

import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from portside.cloud.machine.git import GitRepositories
from portside.cloud.machine.repositories import RepositoryError
from portside.testing.repositories import FakeRepositories

ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
    "GIT_AUTHOR_DATE": "2026-01-31T12:00:00Z",
    "GIT_COMMITTER_DATE": "2026-01-31T12:00:00Z",
}


def git(path: str, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", path, *arguments], env=ENVIRONMENT, check=True, capture_output=True, text=True, timeout=30
    ).stdout.strip()


def times(path: str) -> dict[Path, int]:
    return {each: each.stat().st_mtime_ns for each in Path(path).rglob("*")}


def give_away(path: str) -> None:
    for each in (Path(path), *Path(path).rglob("*")):
        os.chown(each, 12345, 12345)


class RealCheckout:
    def __init__(self, path: Path) -> None:
        path.mkdir()
        self.path = str(path)
        self.read = GitRepositories()
        git(self.path, "init", "-q", "-b", "main")

    def commit(self, files: dict[str, bytes], message: str = "A change", branch: str = "main") -> str:
        if git(self.path, "branch", "--list", branch) or branch == "main":
            git(self.path, "checkout", "-q", branch) if git(self.path, "branch", "--list", branch) else None
        else:
            git(self.path, "checkout", "-q", "-b", branch)
        for name, content in files.items():
            target = Path(self.path) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        git(self.path, "add", "-A")
        git(self.path, "commit", "-q", "-m", message)
        return git(self.path, "rev-parse", "HEAD")

    def tag(self, name: str, commit: str) -> None:
        git(self.path, "tag", "-a", "-m", "annotated", name, commit)


class FakeCheckout:
    path = "/checkout"

    def __init__(self, path: Path) -> None:
        self.read = FakeRepositories()

    def commit(self, files: dict[str, bytes], message: str = "A change", branch: str = "main") -> str:
        return self.read.commit_files(self.path, files, message=message, branch=branch)

    def tag(self, name: str, commit: str) -> None:
        self.read.tag(self.path, name, commit)


@pytest.fixture(params=[RealCheckout, FakeCheckout], ids=["git", "fake"])
def checkout(request, tmp_path):
    return request.param(tmp_path / "checkout")


async def test_branches_and_tags_are_commits(checkout):
    first = checkout.commit({"a": b"1"})
    second = checkout.commit({"a": b"2"})
    checkout.tag("v1", first)
    assert await checkout.read.refs(checkout.path) == {"refs/heads/main": second, "refs/tags/v1": first}
    for revision, commit in (("main", second), ("refs/heads/main", second), ("v1", first), (first[:10], first)):
        assert await checkout.read.resolve(checkout.path, revision) == commit


async def test_a_commit_tells_message_author_and_dates(checkout):
    made = checkout.commit({"a": b"1"}, message="Greet\n\nMore politely")
    found = await checkout.read.commit(checkout.path, made)
    assert (found.id, found.message, found.author) == (made, "Greet\n\nMore politely", "Ada")
    assert found.author_date == found.committer_date == "2026-01-31T12:00:00Z"


async def test_changed_files_between_commits(checkout):
    first = checkout.commit({"a": b"1", "src/b": b"1"})
    second = checkout.commit({"src/b": b"2", "c": b"1"})
    assert sorted(await checkout.read.changed(checkout.path, first, second)) == ["c", "src/b"]


async def test_an_archive_and_a_clone_hold_the_tree_of_the_commit(checkout, tmp_path):
    first = checkout.commit({"a": b"1", "src/b": b"1"})
    checkout.commit({"a": b"2"})
    target = tmp_path / "archive.zip"
    await checkout.read.archive(checkout.path, first, target)
    with zipfile.ZipFile(target) as archive:
        files = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
    assert files == {"a": b"1", "src/b": b"1"}
    for depth in (0, 1):
        clone = tmp_path / f"clone{depth}"
        await checkout.read.clone(checkout.path, first, clone, depth)
        assert (clone / "a").read_bytes() == b"1"
        assert (clone / "src" / "b").read_bytes() == b"1"


async def test_a_mark_changes_with_branches_and_tags_only(checkout):
    made = checkout.commit({"a": b"1"})
    marks = [await checkout.read.mark(checkout.path)]
    assert marks[0] == await checkout.read.mark(checkout.path)
    checkout.commit({"a": b"2"})
    marks.append(await checkout.read.mark(checkout.path))
    checkout.tag("v1", made)
    marks.append(await checkout.read.mark(checkout.path))
    checkout.commit({"b": b"2"}, branch="feature/x")
    marks.append(await checkout.read.mark(checkout.path))
    assert len(set(marks)) == 4


async def test_what_is_not_there_is_named(checkout, tmp_path):
    checkout.commit({"a": b"1"})
    with pytest.raises(RepositoryError, match=r"nowhere is not a|not a directory"):
        await checkout.read.refs(str(tmp_path / "nowhere"))
    with pytest.raises(RepositoryError, match=r"has no branch.* side"):
        await checkout.read.resolve(checkout.path, "refs/heads/side")
    with pytest.raises(RepositoryError):
        await checkout.read.commit(checkout.path, "0" * 40)
    assert await checkout.read.mark(str(tmp_path / "nowhere")) == ""


# What only git has


@pytest.fixture
def real(tmp_path):
    return RealCheckout(tmp_path / "checkout")


async def test_packed_references_and_worktrees_and_bare_repositories_are_read(real, tmp_path):
    made = real.commit({"a": b"1"})
    real.tag("v1", made)
    git(real.path, "pack-refs", "--all")
    assert (await real.read.refs(real.path))["refs/tags/v1"] == made
    tree = str(tmp_path / "tree")
    git(real.path, "worktree", "add", "-q", "-b", "side", tree)
    before = await real.read.mark(tree)
    assert before == await real.read.mark(real.path)
    (Path(tree) / "b").write_bytes(b"1")
    git(tree, "add", "-A")
    git(tree, "commit", "-q", "-m", "in the worktree")
    assert await real.read.mark(real.path) != before
    assert (await real.read.refs(real.path))["refs/heads/side"] == git(tree, "rev-parse", "HEAD")
    bare = str(tmp_path / "bare.git")
    git(real.path, "clone", "-q", "--bare", real.path, bare)
    assert (await real.read.refs(bare))["refs/heads/main"] == made
    assert await real.read.mark(bare)


async def test_a_checkout_is_never_written_to(real, tmp_path):
    made = real.commit({"a": b"1"})
    (Path(real.path) / "a").write_bytes(b"not committed")
    os.utime(Path(real.path) / "a")
    before = times(real.path)
    await real.read.refs(real.path)
    await real.read.commit(real.path, await real.read.resolve(real.path, "main"))
    await real.read.changed(real.path, made, made)
    await real.read.archive(real.path, made, tmp_path / "x.zip")
    await real.read.clone(real.path, made, tmp_path / "clone")
    await real.read.mark(real.path)
    assert times(real.path) == before


async def test_a_checkout_of_somebody_else_is_read(real, tmp_path):
    if os.getuid() != 0:
        pytest.skip("only root can give files away")
    made = real.commit({"a": b"1"})
    give_away(real.path)
    assert await real.read.resolve(real.path, "main") == made
    await real.read.clone(real.path, made, tmp_path / "clone", 1)
    assert (tmp_path / "clone" / "a").read_bytes() == b"1"


async def test_a_whole_clone_has_the_history_and_an_option_is_no_revision(real, tmp_path):
    first = real.commit({"a": b"1"})
    real.commit({"a": b"2"})
    await real.read.clone(real.path, "main", tmp_path / "clone")
    assert git(str(tmp_path / "clone"), "rev-list", "--count", "HEAD") == "2"
    assert git(str(tmp_path / "clone"), "rev-parse", "HEAD~1") == first
    with pytest.raises(RepositoryError):
        await real.read.resolve(real.path, "--help")
