"""botocore's service models, loaded when first needed.

Owns the loader and its cache. A model is a few MiB of JSON, so nothing is loaded before a request names its
service.
"""

from __future__ import annotations

from functools import cache

from botocore.exceptions import UnknownServiceError
from botocore.loaders import Loader
from botocore.model import ServiceModel

_loader = Loader(include_default_search_paths=True)


@cache
def model(service: str) -> ServiceModel | None:
    """The model of a service under botocore's name for it, e.g. `elbv2`; None when there is none."""
    try:
        return ServiceModel(_loader.load_service_model(service, "service-2"), service)
    except UnknownServiceError:
        return None


def known_services() -> list[str]:
    """Every service that botocore has a model of."""
    names: list[str] = _loader.list_available_services("service-2")
    return names
