"""The registry's own name in the path, for clients that nothing leads to it by that name."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

from ecr_cloud import CALLER, DOCKER_MANIFEST, digest, ecr_cloud, push, sample
from portside.testing.server import ACCOUNT

EAST = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com"
WEST = f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com"
REPO = "team/app"


async def test_the_name_in_the_path_tells_the_region(tmp_path: Path) -> None:
    west = replace(CALLER, region="eu-west-1")
    async with ecr_cloud(tmp_path) as cloud, cloud.session() as http:
        cloud.create(REPO)
        cloud.api.create_repository(west, {"repositoryName": REPO})
        assert await push(http, f"{WEST}/{REPO}", "v1", sample()) == 201
        (found,) = cloud.api.describe_images(west, {"repositoryName": REPO})["imageDetails"]
        assert found["imageTags"] == ["v1"]
        assert cloud.api.describe_images(CALLER, {"repositoryName": REPO})["imageDetails"] == []
        for host, status in ((WEST, 200), (EAST, 404)):
            async with http.get(f"/v2/{host}/{REPO}/manifests/v1") as answer:
                assert answer.status == status
        async with http.get(f"/v2/{EAST}/team/none/tags/list") as answer:
            assert "The repository with name 'team/none' does not exist in the registry" in await answer.text()


async def test_uploads_lead_on_by_the_same_way(tmp_path: Path) -> None:
    west = replace(CALLER, region="eu-west-1")
    blob = b"some bytes"
    async with ecr_cloud(tmp_path) as cloud, cloud.session() as http:
        cloud.api.create_repository(west, {"repositoryName": REPO})
        cloud.api.create_repository(west, {"repositoryName": "team/other"})
        async with http.post(f"/v2/{WEST}/{REPO}/blobs/uploads/") as answer:
            assert answer.status == 202
            place = answer.headers["Location"]
        assert place.startswith(f"/v2/{WEST}/{REPO}/blobs/uploads/")
        async with http.put(f"{place}?digest={digest(blob)}", data=io.BytesIO(blob)) as answer:
            assert answer.status == 201
            assert answer.headers["Location"] == f"/v2/{WEST}/{REPO}/blobs/{digest(blob)}"
        mount = {"mount": digest(blob), "from": f"{WEST}/{REPO}"}
        async with http.post(f"/v2/{WEST}/team/other/blobs/uploads/", params=mount) as answer:
            assert answer.status == 201
        headers = {"accept": DOCKER_MANIFEST}
        async with http.get(f"/v2/{WEST}/team/other/blobs/{digest(blob)}", headers=headers) as answer:
            assert await answer.read() == blob
