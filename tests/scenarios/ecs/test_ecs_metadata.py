"""What a container reads from the metadata endpoint: itself, its task, and what both use."""

import json
from pathlib import Path
from typing import Any

from portside.cloud.services.ecs.agent_pages import AgentPages
from portside.cloud.services.ecs.environment import METADATA_PATH
from worlds.ecs import VirtualWorld, virtual_world


async def asked(world: VirtualWorld, identifier: str, path: str) -> tuple[int, Any]:
    """Status and document of one request."""
    pages = AgentPages(world.database, world.ecs.identities, world.engine)
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    await pages.metadata({"path": f"{METADATA_PATH}{identifier}{path}"}, receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"])


async def identifier_of(world: VirtualWorld) -> str:
    containers = [{"name": name, "image": "app", "memory": 128} for name in ("app", "aside")]
    await world.call("RegisterTaskDefinition", {"family": "job", "containerDefinitions": containers})
    await world.call("RunTask", {"taskDefinition": "job"})
    await world.until(lambda: [task["lastStatus"] for task in world.tasks()] == ["RUNNING"])
    app = next(spec for spec in world.engine.created if spec.name.startswith("ecs-job-1-app-"))
    return app.environment["ECS_CONTAINER_METADATA_URI_V4"].rpartition("/")[2]


async def test_a_container_reads_what_it_and_its_task_use(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        identifier = await identifier_of(world)
        _, about = await asked(world, identifier, "")
        status, own = await asked(world, identifier, "/stats")
        assert (status, own["id"]) == (200, about["DockerId"])
        assert own["memory_stats"]["limit"] == 128 * 2**20
        status, both = await asked(world, identifier, "/task/stats")
        _, task = await asked(world, identifier, "/task")
        assert set(both) == {each["DockerId"] for each in task["Containers"]}
        assert len(both) == 2
        assert all(used["id"] == engine_id for engine_id, used in both.items())


async def test_a_container_that_ended_uses_nothing(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        identifier = await identifier_of(world)
        _, about = await asked(world, identifier, "")
        world.engine.kill(about["DockerId"])
        assert await asked(world, identifier, "/stats") == (200, None)


async def test_a_guess_and_an_unknown_path_are_refused(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        identifier = await identifier_of(world)
        assert (await asked(world, "guess", "/stats"))[0] == 404
        status, said = await asked(world, identifier, "/other")
        assert status == 404 and "'/other'" in said
