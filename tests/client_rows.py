"""Whose clients are tested, by the name that the mark `client` of a test gives, and how each is had.

docs/generate.py makes docs/reference/clients.md of this table and of those marks. A row without a mark, a mark without
a row and a version that is not the one that runs are failures.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    version: str
    """What the program says of itself begins with this; a trailing + means: or later."""
    source: str
    needs: str = ""
    """What its user has to do, beyond `eval "$(portside cloud env)"`."""


BUILDS = "`DOCKER_BUILDKIT=0` for builds upon images of the registry, which BuildKit looks for by itself"

ROWS = {
    "awscli1": Row("AWS CLI 1", "1.40+", "`awscli` from PyPI"),
    "awscli2": Row(
        "AWS CLI 2",
        "2.9.19",
        "`awscli` of Debian 12",
        '`--endpoint-url "$AWS_ENDPOINT_URL"` with every command, by an alias or by `awslocal`',
    ),
    "boto3": Row("boto3", "1.40+", "PyPI"),
    "botocore-old": Row("botocore, old", "1.29.165", "PyPI", "`endpoint_url` for every client"),
    "aiobotocore": Row("aiobotocore", "3.10.0", "PyPI"),
    "ecs-deploy": Row("ecs-deploy", "1.17.0", "PyPI"),
    "awslocal": Row("awslocal", "0.23.0", "`awscli-local` from PyPI", "nothing, not even the variables"),
    "docker12": Row("docker of Debian 12", "20.10", "`docker.io` of Debian 12", BUILDS),
    "docker13": Row("docker of Debian 13", "26.1", "`docker-cli` of Debian 13", BUILDS),
    "docker-now": Row("docker of today", "28+", "`docker-cli` of Debian unstable", BUILDS),
    "docker-py": Row("docker SDK for Python", "7.1+", "`docker` from PyPI"),
    "skopeo": Row("skopeo", "1.9+", "Debian 12", "`--tls-verify=false`; for names as on AWS the cloud as proxy"),
    "podman": Row("podman", "4.3+", "Debian 12", "`--tls-verify=false`; for names as on AWS the cloud as proxy"),
}


def is_version(row: str, said: str) -> bool:
    """Whether a program of version `said` is the one that the row speaks of."""
    wanted = ROWS[row].version
    parts = said.split(".")
    if wanted.endswith("+"):
        least = [int(each) for each in wanted[:-1].split(".")]
        return [int(each) for each in parts[: len(least)]] >= least
    return parts[: len(wanted.split("."))] == wanted.split(".")
