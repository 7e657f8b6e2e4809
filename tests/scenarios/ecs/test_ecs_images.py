"""Images of the account's registry: loaded once, pinned per deployment."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from portside.testing.server import ACCOUNT
from worlds.ecs import virtual_world

REPOSITORY = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/web"


@dataclass(frozen=True)
class Stored:
    digest: str
    config_digest: str


@dataclass
class Registry:
    """Tags and digests of one repository."""

    tags: dict[str, str] = field(default_factory=dict)
    loads: list[str] = field(default_factory=list)

    def resolve(self, reference: str, region: str) -> Stored | None:
        name = reference.removeprefix(REPOSITORY)
        version = name.rpartition("@sha256:")[2] if "@" in name else self.tags.get(name.lstrip(":") or "latest")
        return Stored(f"sha256:{version}", f"sha256:config-{version}") if version else None

    async def archive(self, image: Stored) -> AsyncIterator[bytes]:
        self.loads.append(image.config_digest)
        yield image.config_digest.encode()


async def test_br_60_a_moved_tag_reaches_a_service_with_a_new_deployment_only(tmp_path: Path) -> None:
    registry = Registry({"latest": "one"})
    async with virtual_world(tmp_path, registry=registry) as world:
        await world.register(image=f"{REPOSITORY}:latest")
        await world.create_service(count=2)
        await world.until_steady()
        registry.tags["latest"] = "two"
        world.engine.kill(world.engine.running[0].id)
        await world.until(lambda: len(world.running()) == 2 and world.steady())
        await world.call("UpdateService", {"service": "web", "desiredCount": 3})
        await world.until(lambda: len(world.running()) == 3 and world.steady())
        assert {t["containers"][0]["imageDigest"] for t in world.running()} == {"sha256:one"}
        await world.call("UpdateService", {"service": "web", "forceNewDeployment": True})
        await world.until_steady()
        assert {t["containers"][0]["imageDigest"] for t in world.running()} == {"sha256:two"}
        assert {t["containers"][0]["image"] for t in world.running()} == {f"{REPOSITORY}:latest"}
        assert registry.loads == ["sha256:config-one", "sha256:config-two"], "each is loaded once"


async def test_an_image_that_is_not_in_the_registry(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, registry=Registry()) as world:
        await world.register(image=f"{REPOSITORY}:none")
        await world.call("RunTask", {"taskDefinition": "web"})
        await world.until(lambda: bool(world.tasks("STOPPED")))
        assert world.tasks("STOPPED")[0]["stoppedReason"] == (
            f"CannotPullContainerError: Error response from daemon: manifest for {REPOSITORY}:none not found: "
            "manifest unknown: Requested image not found"
        )
        assert world.engine.pulled == [], "the account's registry is never asked over the network"
