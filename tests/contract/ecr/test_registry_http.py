"""The OCI distribution endpoints, one by one."""

from __future__ import annotations

import asyncio
import io
import json
import os
from dataclasses import replace
from pathlib import Path

import aiohttp

from ecr_cloud import CALLER, DOCKER_MANIFEST, digest, ecr_cloud, push, sample, upload
from portside.cloud.protocol.errors import AwsError
from portside.testing.clock import VirtualClock

REPO = "team/app"


async def code_of(answer: aiohttp.ClientResponse) -> str:
    return str(json.loads(await answer.text())["errors"][0]["code"])


async def test_nobody_comes_in_without_a_password(tmp_path: Path) -> None:
    async with ecr_cloud(tmp_path) as cloud:
        cloud.create(REPO)
        async with aiohttp.ClientSession(cloud.url) as http:
            for method, path in (("GET", "/v2/"), ("POST", f"/v2/{REPO}/blobs/uploads/")):
                async with http.request(method, path) as answer:
                    assert answer.status == 401
                    assert await code_of(answer) == "UNAUTHORIZED"
                    expected = f'Basic realm="{cloud.url}/",service="ecr.amazonaws.com"'
                    assert answer.headers["WWW-Authenticate"] == expected
        assert list((tmp_path / "blobs" / "uploads").iterdir()) == []


async def test_a_password_expires(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with ecr_cloud(tmp_path, clock) as cloud, cloud.session() as http:
        async with http.get("/v2/") as answer:
            assert answer.status == 200
        await clock.advance(12 * 3600 + 1)
        async with http.get("/v2/") as answer:
            assert answer.status == 403
            assert "Your authorization token has expired. Reauthenticate and try again." in await answer.text()


async def test_a_login_of_a_role_may_do_what_the_role_may(tmp_path: Path) -> None:
    asked: list[tuple[str, str, str, str]] = []
    refused: set[str] = set()

    async def permit(key: str, action: str, resource: str, region: str) -> None:
        asked.append((key, action, resource, region))
        if action in refused:
            raise AwsError("AccessDeniedException", f"not authorized to perform: {action}")

    role = replace(CALLER, access_key="ASIAROLE", role="arn:aws:iam::000000000000:role/r")
    async with ecr_cloud(tmp_path, permit=permit) as cloud:
        cloud.create(REPO)
        async with cloud.session() as http:
            await push(http, REPO, "v1", sample(b"one"))
        assert asked == []
        async with cloud.session(role) as http:
            await push(http, REPO, "v2", sample(b"two"))
            arn = f"arn:aws:ecr:us-east-1:000000000000:repository/{REPO}"
            assert {(key, resource, region) for key, _, resource, region in asked} == {
                ("ASIAROLE", arn, "us-east-1")
            }
            actions = {action for _, action, _, _ in asked}
            assert {"ecr:InitiateLayerUpload", "ecr:PutImage"} <= actions, actions
            refused.add("ecr:BatchGetImage")
            async with http.get(f"/v2/{REPO}/manifests/v2") as answer:
                assert (answer.status, await code_of(answer)) == (403, "DENIED")
                assert "not authorized to perform: ecr:BatchGetImage" in await answer.text()
            refused.add("ecr:InitiateLayerUpload")
            async with http.post(f"/v2/{REPO}/blobs/uploads/") as answer:
                assert (answer.status, await code_of(answer)) == (403, "DENIED")


async def test_a_wrong_digest_discards_the_upload(tmp_path: Path) -> None:
    async with ecr_cloud(tmp_path) as cloud, cloud.session() as http:
        cloud.create(REPO)
        async with http.post(f"/v2/{REPO}/blobs/uploads/") as answer:
            location = answer.headers["Location"]
        async with http.patch(location, data=b"something") as answer:
            assert (answer.status, answer.headers["Range"]) == (202, "0-8")
        async with http.put(f"{location}?digest={digest(b'else')}") as answer:
            assert (answer.status, await code_of(answer)) == (400, "DIGEST_INVALID")
        async with http.get(location) as answer:
            assert (answer.status, await code_of(answer)) == (404, "BLOB_UPLOAD_UNKNOWN")
        async with http.head(f"/v2/{REPO}/blobs/{digest(b'something')}") as answer:
            assert answer.status == 404
        assert [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()] == []


async def test_a_truncated_upload_can_go_on_even_after_a_restart(tmp_path: Path) -> None:
    data = os.urandom(5_000_000)
    async with ecr_cloud(tmp_path) as cloud, cloud.session() as http:
        cloud.create(REPO)
        async with http.post(f"/v2/{REPO}/blobs/uploads/") as answer:
            location = answer.headers["Location"]
        host, _, port = cloud.host.partition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        head = f"PATCH {location} HTTP/1.1\r\nhost: {cloud.host}\r\ncontent-length: {len(data)}\r\n"
        head += f"authorization: {http.headers['authorization']}\r\n\r\n"
        writer.write(head.encode() + data[:3_000_000])
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        received = 0
        async with asyncio.timeout(10):
            while not received:
                async with http.get(location) as answer:
                    received = int(answer.headers["Range"].partition("-")[2])
        async with http.head(f"/v2/{REPO}/blobs/{digest(data)}") as answer:
            assert answer.status == 404
    async with ecr_cloud(tmp_path) as cloud, cloud.session() as http:
        async with http.get(location) as answer:
            received = int(answer.headers["Range"].partition("-")[2]) + 1
        wrong = {"Content-Range": "0-9", "Content-Length": "10"}
        async with http.patch(location, data=b"x" * 10, headers=wrong) as answer:
            assert answer.status == 416
            assert answer.headers["Range"] == f"0-{received - 1}"
        rest = {"Content-Range": f"{received}-{len(data) - 1}"}
        async with http.patch(location, data=io.BytesIO(data[received:]), headers=rest) as answer:
            assert answer.status == 202
        async with http.put(f"{location}?digest={digest(data)}") as answer:
            assert answer.status == 201
            assert answer.headers["Docker-Content-Digest"] == digest(data)


async def test_blobs_by_range_mount_and_streams(tmp_path: Path) -> None:
    data = os.urandom(300_000)
    async with ecr_cloud(tmp_path) as cloud, cloud.session() as http:
        cloud.create(REPO)
        cloud.create("other")
        await upload(http, REPO, data)
        blob = f"/v2/{REPO}/blobs/{digest(data)}"
        for header, status, expected in (
            ("bytes=0-9", 206, data[:10]),
            ("bytes=100-", 206, data[100:]),
            ("bytes=-5", 206, data[-5:]),
            ("bytes=299999-400000", 206, data[-1:]),
            ("lines=1-2", 200, data),
        ):
            async with http.get(blob, headers={"Range": header}) as answer:
                assert (answer.status, await answer.read()) == (status, expected), header
        async with http.get(blob, headers={"Range": "bytes=400000-"}) as answer:
            assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */300000")
        async with http.post(f"/v2/other/blobs/uploads/?mount={digest(data)}&from={REPO}") as answer:
            assert (answer.status, answer.headers["Docker-Content-Digest"]) == (201, digest(data))
        async with http.get(f"/v2/other/blobs/{digest(data)}") as answer:
            assert await answer.read() == data
        async with http.post(f"/v2/other/blobs/uploads/?mount={digest(b'absent')}&from={REPO}") as answer:
            assert answer.status == 202
        async with http.delete(answer.headers["Location"]) as deleted:
            assert deleted.status == 204
        async with http.post(f"/v2/other/blobs/uploads/?mount={digest(data)}&from=missing") as answer:
            assert answer.status == 202


async def test_manifests(tmp_path: Path) -> None:
    image = sample()
    async with ecr_cloud(tmp_path) as cloud, cloud.session() as http:
        cloud.create(REPO)
        url = f"/v2/{REPO}/manifests"
        headers = {"Content-Type": DOCKER_MANIFEST}
        async with http.put(f"{url}/v1", data=image.manifest, headers=headers) as answer:
            assert (answer.status, await code_of(answer)) == (404, "MANIFEST_BLOB_UNKNOWN")
        assert await push(http, REPO, "v1", image) == 201
        for reference in ("v1", image.digest):
            async with http.head(f"{url}/{reference}") as answer:
                assert answer.headers["Content-Length"] == str(len(image.manifest))
                assert answer.headers["Content-Type"] == DOCKER_MANIFEST
        for reference, raw, status, code in (
            ("v2", b"no json", 400, "MANIFEST_INVALID"),
            ("-bad", image.manifest, 400, "TAG_INVALID"),
            (digest(b"else"), image.manifest, 400, "DIGEST_INVALID"),
            ("big", b" " * (4 * 1024 * 1024 + 1), 413, "SIZE_INVALID"),
        ):
            async with http.put(f"{url}/{reference}", data=io.BytesIO(raw), headers=headers) as answer:
                assert (answer.status, await code_of(answer)) == (status, code)
        async with http.get(f"{url}/none") as answer:
            assert (answer.status, await code_of(answer)) == (404, "MANIFEST_UNKNOWN")
        async with http.delete(f"{url}/{image.digest}") as answer:
            assert (answer.status, await code_of(answer)) == (405, "UNSUPPORTED")
        async with http.get("/v2/absent/manifests/v1") as answer:
            assert answer.status == 404
            assert json.loads(await answer.text())["errors"][0] == {
                "code": "NAME_UNKNOWN",
                "message": "The repository with name 'absent' does not exist in the registry with id '000000000000'",
            }


async def test_tags_and_referrers(tmp_path: Path) -> None:
    image = sample()
    async with ecr_cloud(tmp_path) as cloud, cloud.session() as http:
        cloud.create(REPO)
        for tag in ("b", "c", "a"):
            await push(http, REPO, tag, image)
        async with http.get(f"/v2/{REPO}/tags/list?n=2") as answer:
            assert json.loads(await answer.text()) == {"name": REPO, "tags": ["a", "b"]}
            assert answer.headers["Link"] == f'</v2/{REPO}/tags/list?n=2&last=b>; rel="next"'
        async with http.get(f"/v2/{REPO}/tags/list?n=2&last=b") as answer:
            assert json.loads(await answer.text())["tags"] == ["c"]
            assert "Link" not in answer.headers
        attestation = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "artifactType": "application/spdx+json",
                "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest(b"{}"), "size": 2},
                "layers": [],
                "subject": {"mediaType": DOCKER_MANIFEST, "digest": image.digest, "size": len(image.manifest)},
                "annotations": {"made": "by a test"},
            }
        ).encode()
        await upload(http, REPO, b"{}")
        async with http.put(f"/v2/{REPO}/manifests/{digest(attestation)}", data=attestation) as answer:
            assert (answer.status, answer.headers["OCI-Subject"]) == (201, image.digest)
        url = f"/v2/{REPO}/referrers/{image.digest}"
        async with http.get(url + "?artifactType=application/spdx%2Bjson") as answer:
            assert answer.headers["OCI-Filters-Applied"] == "artifactType"
            (entry,) = json.loads(await answer.text())["manifests"]
            assert entry["digest"] == digest(attestation)
            assert entry["annotations"] == {"made": "by a test"}
        async with http.get(url + "?artifactType=other") as answer:
            assert json.loads(await answer.text())["manifests"] == []


async def test_unused_blobs_go_after_their_grace_but_not_under_a_push(tmp_path: Path) -> None:
    clock = VirtualClock()
    blobs = tmp_path / "blobs" / "sha256"
    async with ecr_cloud(tmp_path, clock) as cloud:
        cloud.create(REPO)
        async with cloud.session() as http:
            await push(http, REPO, "v1", sample(b"old"))
            await clock.advance(3600)
            await upload(http, REPO, b"on its way")
            cloud.api.batch_delete_image(CALLER, {"repositoryName": REPO, "imageIds": [{"imageTag": "v1"}]})
            # What the image had is gone at once; what somebody has just uploaded is not.
            assert [path.name for path in blobs.glob("*/*")] == [digest(b"on its way")[7:]]
            await clock.advance(500)
            async with http.head(f"/v2/{REPO}/blobs/{digest(b'on its way')}") as answer:
                assert answer.status == 200
            await clock.advance(500)
            assert len(list(blobs.glob("*/*"))) == 1
            await clock.advance(200)
            assert list(blobs.glob("*/*")) == []


async def test_uploads_that_nobody_finished_go_at_a_later_start(tmp_path: Path) -> None:
    clock = VirtualClock()
    uploads = tmp_path / "blobs" / "uploads"
    async with ecr_cloud(tmp_path, clock) as cloud, cloud.session() as http:
        cloud.create(REPO)
        async with http.post(f"/v2/{REPO}/blobs/uploads/") as answer:
            assert answer.status == 202
    async with ecr_cloud(tmp_path, clock):
        assert len(list(uploads.iterdir())) == 1
    await clock.advance(25 * 3600)
    (uploads / "stray").touch()
    async with ecr_cloud(tmp_path, clock):
        assert list(uploads.iterdir()) == []


async def test_the_host_tells_the_region(tmp_path: Path) -> None:
    async with ecr_cloud(tmp_path) as cloud, cloud.session() as http:
        cloud.create(REPO)
        host = {"Host": "000000000000.dkr.ecr.eu-west-1.amazonaws.com"}
        async with http.get(f"/v2/{REPO}/tags/list", headers=host) as answer:
            assert (answer.status, await code_of(answer)) == (404, "NAME_UNKNOWN")
        host = {"Host": "000000000000.dkr.ecr.us-east-1.amazonaws.com"}
        async with http.get(f"/v2/{REPO}/tags/list", headers=host) as answer:
            assert answer.status == 200
