"""From (service, operation, parameters) to an answer: our own service, or the ancillary endpoint.

Owns the table of services. Used by the pipeline for what comes in over HTTP, and handed to the services as
`Calls` for what they ask of one another.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable

from botocore.model import OperationModel

from portside.cloud.protocol.errors import AwsError
from portside.cloud.protocol.models import model
from portside.cloud.protocol.shapes import violations
from portside.cloud.services.calls import Caller, Calls, Params, Service


class Dispatcher:
    """Implements `Calls`."""

    def __init__(self, ancillary: Calls, services: Iterable[Service] = ()) -> None:
        self._services = {service.name: service for service in services}
        self._ancillary = ancillary
        self._operations: dict[tuple[str, str], OperationModel] = {}

    def add(self, service: Service) -> None:
        """For services that need the dispatcher themselves, and so are made after it."""
        self._services[service.name] = service

    def owns(self, service: str, operation: str) -> bool:
        ours = self._services.get(service)
        return ours is not None and (not ours.partial or operation in ours.operations)

    def operation(self, service: str, name: str) -> OperationModel:
        """The model of an operation of one of our services; AwsError if AWS has none of that name."""
        found = self._operations.get((service, name))
        if found is None:
            described = model(service)
            if described is None or name not in described.operation_names:
                if described is not None and "json" in described.metadata["protocol"]:
                    raise AwsError("UnknownOperationException", f"There is no operation {name}.")
                raise AwsError("InvalidAction", f"The action {name} is not valid for this web service.")
            found = self._operations[service, name] = described.operation_model(name)
        return found

    async def answer(self, service: str, operation: OperationModel, params: Params, caller: Caller) -> Params:
        """Check the parameters against the shape and call the service."""
        ours = self._services[service]
        handler = ours.operations.get(operation.name)
        if handler is None:
            raise AwsError(
                "NotImplemented",
                f"portside's local cloud does not offer {service}:{operation.name}. "
                "What it offers is listed in docs/reference/supported.md.",
                501,
            )
        found = violations(operation.input_shape, params)
        if found:
            raise ours.invalid(found)
        result = handler(caller, params)
        return await result if inspect.isawaitable(result) else result

    async def __call__(self, service: str, operation: str, params: Params, caller: Caller) -> Params:
        if self.owns(service, operation):
            return await self.answer(service, self.operation(service, operation), params, caller)
        return await self._ancillary(service, operation, params, caller)
