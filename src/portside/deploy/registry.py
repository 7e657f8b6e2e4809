"""The image repository, through ECR's API."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

from portside.deploy.api import Aws, error_code
from portside.deploy.errors import DeployError


@dataclass(frozen=True, slots=True)
class Repository:
    name: str
    uri: str


@dataclass(frozen=True, slots=True)
class Token:
    """What the docker client logs in with; valid for twelve hours."""

    username: str
    password: str = field(repr=False)


def find(aws: Aws, name: str) -> Repository:
    with aws.errors(f"the repository {name} cannot be looked up"):
        row = aws.client("ecr").describe_repositories(repositoryNames=[name])["repositories"][0]
    return Repository(row["repositoryName"], row["repositoryUri"])


def has(aws: Aws, name: str, tag: str) -> bool:
    """Whether the repository holds an image with this tag."""
    with aws.errors(f"the images of {name} cannot be looked up"):
        answer = aws.client("ecr").batch_get_image(repositoryName=name, imageIds=[{"imageTag": tag}])
    return bool(answer["images"])


def login(aws: Aws) -> Token:
    with aws.errors("the registry gives no token"):
        rows = aws.client("ecr").get_authorization_token()["authorizationData"]
    if not rows:
        raise DeployError("the registry gives no token")
    username, _, password = base64.b64decode(rows[0]["authorizationToken"]).decode().partition(":")
    return Token(username, password)


def empty(aws: Aws, name: str) -> int:
    """Delete every image of a repository; the number of images. None if the repository does not exist."""
    ecr = aws.client("ecr")
    count = 0
    with aws.errors(f"the images of {name} cannot be deleted"):
        try:
            pages = list(ecr.get_paginator("list_images").paginate(repositoryName=name))
        except Exception as error:
            if error_code(error) == "RepositoryNotFoundException":
                return 0
            raise
        digests = sorted({row["imageDigest"] for page in pages for row in page["imageIds"]})
        for start in range(0, len(digests), 100):
            batch = digests[start : start + 100]
            ecr.batch_delete_image(repositoryName=name, imageIds=[{"imageDigest": d} for d in batch])
            count += len(batch)
    return count
