"""From (service, operation, parameters) to an answer: our own service, or the ancillary endpoint.

Owns the table of services, and makes each when it is first asked for. Used by the pipeline for what comes in over
HTTP, and handed to the services as `Calls` for what they ask of one another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from portside.cloud.protocol.errors import AwsError
from portside.cloud.protocol.shapes import violations
from portside.cloud.services.calls import Caller, Calls, Params, Service

if TYPE_CHECKING:
    from botocore.model import OperationModel

Maker = Callable[[], Awaitable[Service]]
# Raises AwsError if a caller may not make a call: service, operation, parameters, caller.
Check = Callable[[str, str, Params, Caller], Awaitable[None]]


class Dispatcher:
    """Implements `Calls`. `makers` are asked once each, for services that are not there from the beginning.

    `check` decides about the calls of role sessions; the account's own are not asked about.
    """

    def __init__(
        self,
        ancillary: Calls,
        services: Iterable[Service] = (),
        makers: Mapping[str, Maker] | None = None,
        check: Check | None = None,
    ) -> None:
        self._ancillary = ancillary
        self._check = check
        self._services = {service.name: service for service in services}
        self._makers = dict(makers or {})
        self._making = {name: asyncio.Lock() for name in self._makers}
        self._operations: dict[tuple[str, str], OperationModel] = {}

    async def service(self, name: str) -> Service:
        """One of our own services, made if need be."""
        found = self._services.get(name)
        if found is not None:
            return found
        async with self._making[name]:
            if name not in self._services:
                self._services[name] = await self._makers[name]()
        return self._services[name]

    async def owns(self, service: str, operation: str) -> bool:
        """Whether one of our own services answers the operation. Makes the service, to know."""
        ours = self._services.get(service)
        if ours is None and service in self._makers:
            ours = await self.service(service)
        return ours is not None and (not ours.partial or operation in ours.operations)

    def operation(self, service: str, name: str) -> OperationModel:
        """The model of an operation of one of our services; AwsError if AWS has none of that name."""
        found = self._operations.get((service, name))
        if found is None:
            from portside.cloud.protocol.models import model

            described = model(service)
            if described is None or name not in described.operation_names:
                if described is not None and "json" in described.metadata["protocol"]:
                    raise AwsError("UnknownOperationException", f"There is no operation {name}.")
                raise AwsError("InvalidAction", f"The action {name} is not valid for this web service.")
            found = self._operations[service, name] = described.operation_model(name)
        return found

    async def answer(self, service: str, operation: OperationModel, params: Params, caller: Caller) -> Params:
        """Check the parameters against the shape and call the service."""
        ours = self._services.get(service) or await self.service(service)
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
        await self.authorize(service, operation.name, params, caller)
        result = handler(caller, params)
        return result if isinstance(result, dict) else await result

    async def authorize(self, service: str, operation: str, params: Params, caller: Caller) -> None:
        if caller.role and self._check is not None:
            await self._check(service, operation, params, caller)

    async def __call__(self, service: str, operation: str, params: Params, caller: Caller) -> Params:
        if await self.owns(service, operation):
            return await self.answer(service, self.operation(service, operation), params, caller)
        await self.authorize(service, operation, params, caller)
        return await self._ancillary(service, operation, params, caller)
