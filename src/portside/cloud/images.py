"""What ECS asks of the registry. Services do not know each other, so the two meet here, beside app.py."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from portside.cloud.services.ecr.images import ImageNotFound, Images, RegistryImage


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
