"""ECR as a whole: the API, the registry, the way of its images into an engine, and the sweep, put together.

Owns nothing but the wiring, for the composition root and for tests.
"""

from __future__ import annotations

from pathlib import Path

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import Log
from portside.cloud.services.calls import Service
from portside.cloud.services.ecr.api import EcrApi
from portside.cloud.services.ecr.blobs import Blobs
from portside.cloud.services.ecr.images import Images
from portside.cloud.services.ecr.registry import Permit, Registry
from portside.cloud.services.ecr.sweep_loop import SweepLoop


class Ecr:
    """Use: `async with Ecr(...) as ecr`, with `ecr.service()` and `ecr.registry` in the gateway. `directory` holds
    the blobs; `region` is meant by registry requests whose host names none; `architecture` is the engine's.
    """

    def __init__(
        self,
        *,
        database: Database,
        directory: Path,
        ids: Ids,
        clock: Clock,
        log: Log,
        account: str,
        region: str,
        architecture: str = "amd64",
        permit: Permit | None = None,
    ) -> None:
        self.api = EcrApi(database=database, blobs=Blobs(directory), ids=ids, clock=clock, log=log)
        catalogue = self.api.catalogue
        self.registry = Registry(catalogue, account=account, region=region, clock=clock, log=log, permit=permit)
        self.images = Images(catalogue, account=account, region=region, architecture=architecture)
        self._sweep = SweepLoop(catalogue, clock=clock, log=log)

    def service(self) -> Service:
        return self.api.service()

    async def __aenter__(self) -> Ecr:
        await self._sweep.__aenter__()
        return self

    async def __aexit__(self, *reason: object) -> None:
        await self._sweep.__aexit__(None, None, None)
