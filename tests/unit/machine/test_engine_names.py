"""Names of the account's registry, and the engine's names for them."""

from __future__ import annotations

import pytest

from portside.cloud.machine.engine_names import RegistryNames, path_of, pulled
from portside.cloud.machine.guard_names import Reference

LOCAL = "127.0.0.92:4566"
HOST = "000000000000.dkr.ecr.us-east-1.amazonaws.com"
DIGEST = "sha256:" + "a" * 64
NAMES = RegistryNames("000000000000", LOCAL)


@pytest.mark.parametrize(
    ("image", "own"),
    [
        (f"{HOST}/team/app:v1", True),
        (f"{HOST}/app@{DIGEST}", True),
        ("000000000000.dkr.ecr.eu-central-1.amazonaws.com/app", True),
        ("000000000000.dkr.ecr-fips.us-east-1.amazonaws.com/app", True),
        ("000000000000.dkr.ecr.cn-north-1.amazonaws.com.cn/app", True),
        ("111111111111.dkr.ecr.us-east-1.amazonaws.com/app", False),
        (f"{HOST}.example.com/app", False),
        (f"{HOST}:443/app", False),
        (f"mirror.example.com/{HOST}/app", False),
        (f"{LOCAL}/app", False),
        ("localhost:4566/app", False),
        ("busybox", False),
        ("team/app:v1", False),
    ],
)
def test_which_names_are_the_accounts(image: str, own: bool) -> None:
    assert NAMES.is_own(Reference.parse(image)) is own


@pytest.mark.parametrize(
    ("name", "version", "expected"),
    [
        ("team/app", "v1", "team/app:v1"),
        ("team/app", DIGEST, f"team/app@{DIGEST}"),
        (f"team/app@{DIGEST}", "", f"team/app@{DIGEST}"),
        ("team/app:v1", "", "team/app:v1"),
        ("team/app", "", "team/app"),
    ],
)
def test_what_a_pull_asks_for(name: str, version: str, expected: str) -> None:
    assert str(pulled(f"{HOST}/{name}", version)) == f"{HOST}/{expected}"


@pytest.mark.parametrize(
    ("engine", "user"),
    [
        (f"The push refers to repository [{LOCAL}/{HOST}/app]", f"The push refers to repository [{HOST}/app]"),
        (
            f'Head "http://{LOCAL}/v2/{HOST}/app/manifests/v1": no basic auth credentials',
            f'Head "https://{HOST}/v2/app/manifests/v1": no basic auth credentials',
        ),
        # By a run at another port, of which the engine still knows digests.
        (f"127.0.0.1:40001/{HOST}/app@{DIGEST}", f"{HOST}/app@{DIGEST}"),
        (f"{LOCAL}/app", f"{LOCAL}/app"),
        (
            f"{LOCAL}/111111111111.dkr.ecr.us-east-1.amazonaws.com/app",
            f"{LOCAL}/111111111111.dkr.ecr.us-east-1.amazonaws.com/app",
        ),
    ],
)
def test_the_engine_speaks_in_the_users_names(engine: str, user: str) -> None:
    assert NAMES.user(engine) == user


def test_a_pull_tells_of_the_tag_though_its_digest_was_asked_for() -> None:
    reference = Reference.parse(f"{HOST}/team/app:v1")
    local = f"{LOCAL}/{HOST}/team/app"

    def line(text: str) -> str:
        return NAMES.pull_line(text, reference, DIGEST)

    first = f'{{"status":"Pulling from {HOST}/team/app","id":"{local}@{DIGEST}"}}'
    assert line(first) == '{"status":"Pulling from team/app","id":"v1"}'
    assert line(f'{{"status":"Digest: {DIGEST}"}}') == f'{{"status":"Digest: {DIGEST}"}}'
    last = f'{{"status":"Status: Downloaded newer image for {local}@{DIGEST}"}}'
    assert line(last) == f'{{"status":"Status: Downloaded newer image for {HOST}/team/app:v1"}}'
    assert path_of(reference) == "team/app"


SPARE = f"{LOCAL}/{HOST}/app@{DIGEST}"
OTHER = f"{LOCAL}/{HOST}/other@{DIGEST}"


@pytest.mark.parametrize(
    ("image", "names", "force", "spare"),
    [
        # The last tag of a repository takes the repository's digests with it.
        (f"{HOST}/app:v1", [f"{HOST}/app:v1", SPARE], False, [SPARE]),
        (f"{HOST}/app", [f"{HOST}/app:latest", SPARE], False, [SPARE]),
        (f"{HOST}/app:v1", [f"{HOST}/app:v1", f"{HOST}/app:v2", SPARE], False, []),
        (f"{HOST}/app:v1", [f"{HOST}/app:v1", f"{HOST}/other:v1", SPARE, OTHER], False, [SPARE]),
        ("busybox:1", ["busybox:1", f"{HOST}/app:v1", SPARE], False, []),
        # A name that a push was lent when the cloud was killed.
        (f"{HOST}/app:v1", [f"{HOST}/app:v1", f"{LOCAL}/{HOST}/app:v1"], False, [f"{LOCAL}/{HOST}/app:v1"]),
        # By its id an image goes if it has one name, and by force always.
        ("aaaaaaaaaaaa", [f"{HOST}/app:v1", SPARE], False, [SPARE]),
        ("aaaaaaaaaaaa", ["<none>:<none>", SPARE], False, [SPARE]),
        ("aaaaaaaaaaaa", [f"{HOST}/app:v1", "busybox:1", SPARE], False, []),
        ("aaaaaaaaaaaa", [f"{HOST}/app:v1", "busybox:1", SPARE], True, [SPARE]),
    ],
)
def test_which_of_the_engines_names_go_with_the_users(
    image: str, names: list[str], force: bool, spare: list[str]
) -> None:
    assert NAMES.spare(image, names, force=force) == spare
