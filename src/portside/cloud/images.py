"""What ECS and CodeBuild ask of the registry. Services do not know each other, so they meet here, beside
composition.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from portside.cloud.services.codebuild.outside import NoImage, Say
from portside.cloud.services.ecr.images import ImageNotFound, Images, RegistryImage
from portside.cloud.services.ecs.images import CannotPull, ImageSource
from portside.image.errors import ImageError


@dataclass(frozen=True, slots=True)
class FoundImage:
    """An image of the registry, in the words of ECS."""

    image: RegistryImage

    @property
    def digest(self) -> str:
        return self.image.manifest_digest

    @property
    def config_digest(self) -> str:
        return self.image.image_id


class RegistryForEcs:
    """Implements `RegistryImages` of services/ecs/images.py."""

    def __init__(self, images: Images) -> None:
        self._images = images

    def resolve(self, reference: str, region: str) -> FoundImage | None:
        try:
            found = self._images.resolve(reference, region)
        except ImageNotFound:
            return None
        return None if found is None else FoundImage(found)

    def archive(self, image: FoundImage) -> AsyncIterator[bytes]:
        return self._images.archive(image.image)


CURATED = "aws/codebuild/"


class ImagesForBuilds:
    """Implements `BuildImages` of services/codebuild/outside.py. `make` makes the image that stands in for those
    named `aws/codebuild/...`, and `chosen` is what the user wants in its place."""

    def __init__(self, source: ImageSource, make: Callable[[Say], Awaitable[str]], chosen: str) -> None:
        self._source = source
        self._make = make
        self._chosen = chosen
        self._making = asyncio.Lock()

    async def ensure(self, reference: str, region: str, say: Say) -> str:
        if reference.startswith(CURATED):
            reference = self._chosen or await self._made(say)
        try:
            return (await self._source.ensure(reference, region)).engine_id
        except CannotPull as error:
            raise NoImage(error.reason) from None

    async def _made(self, say: Say) -> str:
        async with self._making:
            try:
                return await self._make(say)
            except ImageError as error:
                raise NoImage(f"{error} {error.next}".strip()) from None
