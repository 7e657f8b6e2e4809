"""Names and Dockerfiles on their way through the guard."""

import io
import tarfile

import pytest

from portside.cloud.machine import build_context
from portside.cloud.machine.dockerfile import renamed, uses
from portside.cloud.machine.guard_names import Kind, Names, Reference, is_identifier, unreachable

OWN = "000000000000.dkr.ecr.us-east-1.amazonaws.com"
NAMES = Names("cloud-build", OWN, "127.0.0.1:4566")


@pytest.mark.parametrize(
    "name", [f"{OWN}/app:v1", "node:20", "library/x:latest", f"{OWN}/a/b@sha256:{'0' * 64}", "localhost:5000/x:1"]
)
def test_every_name_has_a_private_one_that_leads_back(name):
    private = NAMES.private(Reference.parse(name))
    assert private.startswith("portside.invalid/cloud-build/")
    assert NAMES.public(private) == name
    assert Names("other", OWN, "127.0.0.1:4566").public(private) is None


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (f"{OWN}/app", Kind.OWN),
        ("111111111111.dkr.ecr.us-east-1.amazonaws.com/app", Kind.UNREACHABLE),
        ("000000000000.dkr.ecr.eu-west-1.amazonaws.com/app", Kind.UNREACHABLE),
        ("localhost:5000/x", Kind.UNREACHABLE),
        ("127.0.0.1:4566/x", Kind.UNREACHABLE),
        ("portside.invalid/other/x", Kind.UNREACHABLE),
        ("node:20", Kind.PUBLIC),
        ("ghcr.io/a/b", Kind.PUBLIC),
    ],
)
def test_where_a_name_leads(name, kind):
    assert NAMES.kind(Reference.parse(name)) is kind


def test_what_the_engine_says_is_told_in_the_clients_names():
    private = NAMES.private(Reference.parse(f"{OWN}/app:v1"))
    assert NAMES.translate(f"Successfully tagged {private}") == f"Successfully tagged {OWN}/app:v1"
    assert NAMES.translate("refers to repository [127.0.0.1:4566/app]") == f"refers to repository [{OWN}/app]"
    assert "no such host" in unreachable(Reference.parse("1.dkr.ecr.x.amazonaws.com/a"))
    assert is_identifier("sha256:" + "a" * 64)
    assert not is_identifier("node")


@pytest.mark.parametrize(
    ("text", "arguments", "expected"),
    [
        ("FROM a:1\nRUN x", {}, ["a:1"]),
        ("ARG B=b:1\nFROM ${B} AS one\nFROM one\nFROM scratch\n", {}, ["b:1"]),
        ("ARG B=b:1\nFROM $B\n", {"B": "c:2"}, ["c:2"]),
        ("ARG B\nFROM ${B:-d:3}\n", {}, ["d:3"]),
        (
            "FROM --platform=linux/amd64 a AS x\nCOPY --from=x / /\nCOPY --from=0 / /\nCOPY --from=e:1 / /",
            {},
            ["a", "e:1"],
        ),
        ("# FROM no\nfrom a \\\n  as x\n", {}, ["a"]),
        ("RUN echo \\\n# comment\n  FROM no\nFROM yes", {}, ["yes"]),
        ("# escape=`\nRUN a `\n  FROM no\nFROM c:\\x", {}, ["c:\\x"]),
    ],
)
def test_the_images_that_a_dockerfile_uses(text, arguments, expected):
    assert [use.image for use in uses(text, arguments)] == expected


def test_only_the_names_change():
    text = "ARG B=b:1\nFROM ${B} AS one # x\nFROM b:1 AS two\nCOPY --from=c:1 /a /b\n"
    text = text.replace(" # x", "")
    changed = renamed(text, uses(text, {}), {"b:1": "NEW", "c:1": "OTHER"})
    assert changed == "ARG B=b:1\nFROM NEW AS one\nFROM NEW AS two\nCOPY --from=OTHER /a /b\n"


async def test_a_context_passes_byte_for_byte_but_for_its_dockerfile(tmp_path):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, data in (("a", b"1" * 700), ("./Dockerfile", b"FROM x\n"), ("z", b"2")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    path = tmp_path / "context.tar"
    path.write_bytes(content.getvalue())
    context = build_context.read(path, "Dockerfile")
    assert context.dockerfile == "FROM x\n"
    assert b"".join([chunk async for chunk in build_context.send(context, "FROM x\n")]) == content.getvalue()
    sent = b"".join([chunk async for chunk in build_context.send(context, "FROM another\n")])
    with tarfile.open(fileobj=io.BytesIO(sent)) as tar:
        assert {m.name.removeprefix("./"): tar.extractfile(m).read() for m in tar} == {
            "a": b"1" * 700, "Dockerfile": b"FROM another\n", "z": b"2",
        }  # fmt: skip
    with pytest.raises(build_context.ContextError, match="Cannot locate specified Dockerfile: other"):
        build_context.read(path, "other")
