"""The ECR API as boto3 and the AWS command line see it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import aiohttp

from aws_clients import AwsClient
from ecr_cloud import DOCKER_MANIFEST, EcrCloud, digest, ecr_cloud, push, sample, upload

REPO = "app"
ID = "000000000000"


async def pushed(cloud: EcrCloud, content: bytes, tag: str) -> str:
    image = sample(content)
    async with cloud.session() as http:
        assert await push(http, REPO, tag, image) == 201
    return image.digest


async def test_repositories_come_and_go_with_aws_texts(tmp_path: Path) -> None:
    async with ecr_cloud(tmp_path) as cloud:
        ecr = AwsClient("ecr", cloud.url)
        made = (await ecr("create_repository", repositoryName="team/app"))["repository"]
        assert made["repositoryUri"] == f"{ID}.dkr.ecr.us-east-1.amazonaws.com/team/app"
        assert made["repositoryArn"] == f"arn:aws:ecr:us-east-1:{ID}:repository/team/app"
        assert made["imageTagMutability"] == "MUTABLE"
        assert made["imageScanningConfiguration"] == {"scanOnPush": False}
        assert made["encryptionConfiguration"] == {"encryptionType": "AES256"}
        assert await ecr.refused("create_repository", repositoryName="team/app") == (
            "RepositoryAlreadyExistsException",
            f"The repository with name 'team/app' already exists in the registry with id '{ID}'",
        )
        code, text = await ecr.refused("create_repository", repositoryName="Team")
        assert code == "InvalidParameterException"
        assert text.startswith(
            "Invalid parameter at 'repositoryName' failed to satisfy constraint: 'must satisfy regular expression '"
        )
        for number in range(5):
            await ecr("create_repository", repositoryName=f"many/{number}")
        names = await ecr.pages("describe_repositories", "repositories", PaginationConfig={"PageSize": 2})
        assert [each["repositoryName"] for each in names] == [*(f"many/{n}" for n in range(5)), "team/app"]
        # Another region is another registry.
        assert await AwsClient("ecr", cloud.url, "eu-west-1").pages("describe_repositories", "repositories") == []
        await ecr("delete_repository", repositoryName="team/app")
        assert await ecr.refused("describe_repositories", repositoryNames=["team/app"]) == (
            "RepositoryNotFoundException",
            f"The repository with name 'team/app' does not exist in the registry with id '{ID}'",
        )


async def test_br_44_one_image_with_two_tags_is_one_image(tmp_path: Path) -> None:
    async with ecr_cloud(tmp_path) as cloud:
        cloud.create(REPO)
        ecr = AwsClient("ecr", cloud.url)
        found = await pushed(cloud, b"one", "v1")
        got = await ecr("batch_get_image", repositoryName=REPO, imageIds=[{"imageTag": "v1"}])
        manifest = got["images"][0]["imageManifest"]
        again = {"repositoryName": REPO, "imageManifest": manifest, "imageTag": "latest"}
        await ecr("put_image", **again)
        details = (await ecr("describe_images", repositoryName=REPO))["imageDetails"]
        assert [(each["imageDigest"], sorted(each["imageTags"])) for each in details] == [
            (found, ["latest", "v1"])
        ]
        assert details[0]["imageSizeInBytes"] == len(sample(b"one").layer) + len(sample(b"one").config)
        code, text = await ecr.refused("put_image", **again)
        assert code == "ImageAlreadyExistsException"
        assert text == (
            f"Image with digest '{found}' and tag 'latest' already exists in the repository with name '{REPO}'"
            f" in registry with id '{ID}'"
        )
        both = [{"imageTag": "v1"}, {"imageTag": "latest"}]
        assert len((await ecr("describe_images", repositoryName=REPO, imageIds=both))["imageDetails"]) == 1
        listed = (await ecr("list_images", repositoryName=REPO))["imageIds"]
        assert {each["imageTag"] for each in listed} == {"latest", "v1"}


async def test_br_45_a_tag_moves_from_an_image_with_several(tmp_path: Path) -> None:
    async with ecr_cloud(tmp_path) as cloud:
        cloud.create(REPO)
        ecr = AwsClient("ecr", cloud.url)
        first, second = await pushed(cloud, b"1", "a"), await pushed(cloud, b"2", "b")
        manifest = sample(b"1").manifest.decode()
        await ecr("put_image", repositoryName=REPO, imageManifest=manifest, imageTag="t")
        manifest = sample(b"2").manifest.decode()
        await ecr("put_image", repositoryName=REPO, imageManifest=manifest, imageTag="t")
        details = (await ecr("describe_images", repositoryName=REPO))["imageDetails"]
        assert {each["imageDigest"]: each["imageTags"] for each in details} == {first: ["a"], second: ["b", "t"]}
        await ecr("put_image_tag_mutability", repositoryName=REPO, imageTagMutability="IMMUTABLE")
        manifest = sample(b"1").manifest.decode()
        assert await ecr.refused("put_image", repositoryName=REPO, imageManifest=manifest, imageTag="t") == (
            "ImageTagAlreadyExistsException",
            f"The image tag 't' already exists in the '{REPO}' repository and cannot be overwritten because the"
            " repository is immutable.",
        )


async def test_br_47_the_digest_is_that_of_the_exact_bytes(tmp_path: Path) -> None:
    async with ecr_cloud(tmp_path) as cloud:
        cloud.create(REPO)
        ecr = AwsClient("ecr", cloud.url)
        image = sample(b"exact")
        async with cloud.session() as http:
            await push(http, REPO, "v1", image)
            async with http.get(f"/v2/{REPO}/manifests/v1") as answer:
                raw = await answer.read()
                assert answer.headers["Docker-Content-Digest"] == digest(raw)
        (details,) = (await ecr("describe_images", repositoryName=REPO))["imageDetails"]
        assert details["imageDigest"] == "sha256:" + hashlib.sha256(image.manifest).hexdigest() == digest(raw)
        code, _ = await ecr.refused(
            "put_image",
            repositoryName=REPO,
            imageManifest=raw.decode(),
            imageTag="x",
            imageDigest=digest(b"other"),
        )
        assert code == "ImageDigestDoesNotMatchException"


async def test_br_49_a_repository_with_images_goes_only_by_force(tmp_path: Path) -> None:
    async with ecr_cloud(tmp_path) as cloud:
        cloud.create(REPO)
        ecr = AwsClient("ecr", cloud.url)
        await pushed(cloud, b"kept", "v1")
        assert await ecr.refused("delete_repository", repositoryName=REPO) == (
            "RepositoryNotEmptyException",
            f"The repository with name '{REPO}' in registry with id '{ID}' cannot be deleted because it still"
            " contains images",
        )
        await ecr("delete_repository", repositoryName=REPO, force=True)
        assert list((tmp_path / "blobs" / "sha256").glob("*/*")) == []


async def test_images_that_are_not_there(tmp_path: Path) -> None:
    async with ecr_cloud(tmp_path) as cloud:
        cloud.create(REPO)
        ecr = AwsClient("ecr", cloud.url)
        found = await pushed(cloud, b"x", "v1")
        wrong = [{"imageTag": "no"}, {"imageDigest": "bad"}, {"imageTag": "v1", "imageDigest": digest(b"")}, {}]
        got = await ecr("batch_get_image", repositoryName=REPO, imageIds=wrong)
        assert [each["failureCode"] for each in got["failures"]] == [
            "ImageNotFound",
            "InvalidImageDigest",
            "ImageTagDoesNotMatchDigest",
            "MissingDigestAndTag",
        ]
        assert await ecr.refused("describe_images", repositoryName=REPO, imageIds=[{"imageTag": "no"}]) == (
            "ImageNotFoundException",
            "The image with imageId {imageDigest:'null', imageTag:'no'} does not exist within the repository with"
            f" name '{REPO}' in the registry with id '{ID}'",
        )
        gone = await ecr("batch_delete_image", repositoryName=REPO, imageIds=[{"imageTag": "v1"}])
        assert gone["imageIds"] == [{"imageDigest": found, "imageTag": "v1"}]
        assert (await ecr("list_images", repositoryName=REPO))["imageIds"] == []
        text = sample(b"never pushed").manifest.decode()
        code, _ = await ecr.refused("put_image", repositoryName=REPO, imageManifest=text, imageTag="v1")
        assert code == "LayersNotFoundException"


async def test_mutability_with_exclusions(tmp_path: Path) -> None:
    async with ecr_cloud(tmp_path) as cloud:
        ecr = AwsClient("ecr", cloud.url)
        filters = [{"filterType": "WILDCARD", "filter": "latest*"}]
        await ecr(
            "create_repository",
            repositoryName=REPO,
            imageTagMutability="IMMUTABLE_WITH_EXCLUSION",
            imageTagMutabilityExclusionFilters=filters,
        )
        for content in (b"1", b"2"):
            await pushed(cloud, content, "latest-x")
        async with cloud.session() as http:
            assert await push(http, REPO, "v1", sample(b"1")) == 201
            assert await push(http, REPO, "v1", sample(b"1")) == 201
            assert await push(http, REPO, "v1", sample(b"2")) == 400


async def test_layers_in_parts_and_by_signed_address(tmp_path: Path) -> None:
    async with ecr_cloud(tmp_path) as cloud:
        cloud.create(REPO)
        ecr = AwsClient("ecr", cloud.url)
        data = os.urandom(6_000_000)
        begun = await ecr("initiate_layer_upload", repositoryName=REPO)
        part = {"repositoryName": REPO, "uploadId": begun["uploadId"]}
        half = 5 * 1024 * 1024 + 7
        await ecr("upload_layer_part", partFirstByte=0, partLastByte=half - 1, layerPartBlob=data[:half], **part)
        wrong = {"partFirstByte": 5, "partLastByte": 9, "layerPartBlob": b"12345"}
        assert (await ecr.refused("upload_layer_part", **wrong, **part))[0] == "InvalidLayerPartException"
        last = {"partFirstByte": half, "partLastByte": len(data) - 1, "layerPartBlob": data[half:]}
        await ecr("upload_layer_part", **last, **part)
        await ecr("complete_layer_upload", layerDigests=[digest(data)], **part)
        checked = await ecr(
            "batch_check_layer_availability", repositoryName=REPO, layerDigests=[digest(data), digest(b"")]
        )
        assert [each["layerAvailability"] for each in checked["layers"]] == ["AVAILABLE", "UNAVAILABLE"]
        where = await ecr("get_download_url_for_layer", repositoryName=REPO, layerDigest=digest(data))
        async with aiohttp.ClientSession() as http, http.get(where["downloadUrl"]) as answer:
            assert await answer.read() == data
        async with aiohttp.ClientSession() as http, http.get(where["downloadUrl"] + "0") as answer:
            assert answer.status == 403


async def test_policies_and_tags(tmp_path: Path) -> None:
    async with ecr_cloud(tmp_path) as cloud:
        cloud.create(REPO)
        ecr = AwsClient("ecr", cloud.url)
        assert (await ecr.refused("get_lifecycle_policy", repositoryName=REPO))[0] == (
            "LifecyclePolicyNotFoundException"
        )
        rule = {
            "rulePriority": 1,
            "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 5},
            "action": {"type": "expire"},
        }
        text = json.dumps({"rules": [rule]})
        await ecr("put_lifecycle_policy", repositoryName=REPO, lifecyclePolicyText=text)
        assert (await ecr("get_lifecycle_policy", repositoryName=REPO))["lifecyclePolicyText"] == text
        code, text = await ecr.refused("put_lifecycle_policy", repositoryName=REPO, lifecyclePolicyText="x" * 100)
        assert code == "InvalidParameterException"
        assert "Lifecycle policy validation failure: " in text
        assert (await ecr.refused("get_repository_policy", repositoryName=REPO))[0] == (
            "RepositoryPolicyNotFoundException"
        )
        arn = f"arn:aws:ecr:us-east-1:{ID}:repository/{REPO}"
        await ecr("tag_resource", resourceArn=arn, tags=[{"Key": "team", "Value": "blue"}])
        assert (await ecr("list_tags_for_resource", resourceArn=arn))["tags"] == [{"Key": "team", "Value": "blue"}]
        await ecr("untag_resource", resourceArn=arn, tagKeys=["team"])
        assert (await ecr("list_tags_for_resource", resourceArn=arn))["tags"] == []


async def test_the_command_line_gets_a_password_that_lasts_over_a_restart(tmp_path: Path) -> None:
    async with ecr_cloud(tmp_path) as cloud:
        words = [sys.executable, "-m", "awscli", "--endpoint-url", cloud.url, "ecr", "get-login-password"]
        environment = os.environ | {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        done = await asyncio.to_thread(subprocess.run, words, env=environment, capture_output=True, check=True)
        password = done.stdout.decode().strip()
    async with ecr_cloud(tmp_path) as cloud:
        login = base64.b64encode(f"AWS:{password}".encode()).decode()
        async with (
            aiohttp.ClientSession(cloud.url, headers={"authorization": f"Basic {login}"}) as http,
            http.get("/v2/") as answer,
        ):
            assert answer.status == 200


async def test_an_index_needs_its_children_and_protects_them(tmp_path: Path) -> None:
    async with ecr_cloud(tmp_path) as cloud:
        cloud.create(REPO)
        ecr = AwsClient("ecr", cloud.url)
        image = sample(b"child")
        index = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.index.v1+json",
                "manifests": [
                    {
                        "mediaType": DOCKER_MANIFEST,
                        "digest": image.digest,
                        "size": len(image.manifest),
                        "platform": {"os": "linux", "architecture": "amd64"},
                    }
                ],
            }
        )
        put = {"repositoryName": REPO, "imageManifest": index, "imageTag": "multi"}
        assert (await ecr.refused("put_image", **put))[0] == "ReferencedImagesNotFoundException"
        async with cloud.session() as http:
            await upload(http, REPO, image.layer)
            assert await push(http, REPO, image.digest, image) == 201
        await ecr("put_image", **put)
        ids = [{"imageDigest": image.digest}]
        kept = await ecr("batch_delete_image", repositoryName=REPO, imageIds=ids)
        assert kept["failures"][0]["failureCode"] == "ImageReferencedByManifestList"
        resolved = cloud.images.resolve(f"{ID}.dkr.ecr.us-east-1.amazonaws.com/{REPO}:multi")
        assert resolved is not None
        assert (resolved.manifest_digest, resolved.image_id) == (digest(index.encode()), digest(image.config))
