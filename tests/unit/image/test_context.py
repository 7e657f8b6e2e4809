"""What is sent to a build, and the digest that becomes the image's tag."""

import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portside.image.builder import base_of
from portside.image.context import Context, ignored, rules
from portside.image.errors import ImageError


@pytest.fixture
def app(tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.js").write_text("a")
    (tmp_path / "node_modules" / "x").mkdir(parents=True)
    (tmp_path / "node_modules" / "x" / "index.js").write_text("x")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text("ref")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        ("node_modules", "node_modules/x/index.js", True),
        ("node_modules", "src/node_modules/x.js", False),
        ("**/node_modules", "src/node_modules/x.js", True),
        ("**/node_modules", "node_modules/x.js", True),
        ("*.md", "README.md", True),
        ("*.md", "docs/README.md", False),
        ("**/*.md", "docs/deep/README.md", True),
        ("*.md\n!README.md", "README.md", False),
        ("!README.md\n*.md", "README.md", True),
        ("*\n!src", "src/a.js", False),
        ("*\n!src", "b.js", True),
        ("/build", "build/x", True),
        ("build/", "build/x", True),
        ("# build", "build/x", False),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("[ab].txt", "a.txt", True),
        ("[!ab].txt", "a.txt", False),
        ("docs/**", "docs/a/b", True),
        (".", "a", False),
        ("\\*", "*", True),
        ("\\*", "a", False),
    ],
)
def test_dockerignore(text, path, expected):
    assert ignored(path, rules(text)) is expected


@given(st.text(max_size=30), st.lists(st.text("abc.*?[]!/", min_size=1, max_size=6), min_size=1, max_size=4))
def test_no_pattern_is_a_fault(text, parts):
    ignored("/".join(parts), rules(text))


def test_files_are_sorted_and_without_the_repository(app):
    assert Context(app, "Dockerfile").files == ("Dockerfile", "node_modules/x/index.js", "src/a.js")


def test_the_dockerfile_is_sent_even_if_it_is_ignored(app):
    (app / ".dockerignore").write_text("*\n!src\n")
    assert Context(app, "Dockerfile").files == (".dockerignore", "Dockerfile", "src/a.js")


def test_the_digest_changes_with_content_mode_and_arguments_and_with_nothing_else(app):
    first = Context(app, "Dockerfile").digest({})
    assert Context(app, "Dockerfile").digest({}) == first
    (app / ".git" / "HEAD").write_text("other")
    assert Context(app, "Dockerfile").digest({}) == first
    assert Context(app, "Dockerfile").digest({"A": "1"}) != first
    (app / "src" / "a.js").chmod(0o755)
    second = Context(app, "Dockerfile").digest({})
    assert second != first
    (app / "src" / "a.js").write_text("b")
    assert Context(app, "Dockerfile").digest({}) not in (first, second)


def test_the_archive_holds_what_the_digest_covers(app):
    (app / "link").symlink_to("src/a.js")
    context = Context(app, "Dockerfile")
    with tarfile.open(fileobj=context.archive()) as tar:
        assert tuple(sorted(tar.getnames())) == context.files
        assert tar.getmember("link").linkname == "src/a.js"
        assert {member.mtime for member in tar.getmembers()} == {0}


def test_no_dockerfile(tmp_path):
    with pytest.raises(ImageError, match="there is no Dockerfile") as caught:
        Context(tmp_path, "Dockerfile")
    assert "build.dockerfile" in caught.value.next


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ARG BASE=node:24-slim\nFROM ${BASE}\n", "node:24-slim"),
        ('# c\narg BASE = "node:20"\nFROM ${BASE}\n', "node:20"),
        ("FROM node\nARG BASE=node:24\n", ""),
        ("ARG OTHER=node:24\nFROM ${OTHER}\n", ""),
    ],
)
def test_the_base_that_a_build_argument_names(text, expected):
    assert base_of(text, "BASE") == expected
