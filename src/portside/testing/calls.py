"""A stand-in for `Calls`: answers from a table, remembers what was asked."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Params, Service

Answer = Callable[[Params], Params | Awaitable[Params]]


class ScriptedCalls:
    """`ScriptedCalls({("ec2", "DescribeVpcs"): lambda params: {...}})`; real services may be mixed in."""

    def __init__(self, answers: dict[tuple[str, str], Answer] | None = None) -> None:
        self.answers: dict[tuple[str, str], Answer] = dict(answers or {})
        self.services: dict[str, Service] = {}
        self.made: list[tuple[str, str, Params]] = []

    def add(self, service: Service) -> None:
        self.services[service.name] = service

    async def __call__(self, service: str, operation: str, params: Params, caller: Caller) -> Params:
        self.made.append((service, operation, params))
        scripted = self.answers.get((service, operation))
        result: Any
        if scripted is not None:
            result = scripted(params)
        elif service in self.services and operation in self.services[service].operations:
            result = self.services[service].operations[operation](caller, params)
        else:
            raise AwsError("NotImplemented", f"the test has no answer for {service}:{operation}", 501)
        answer: Params = await result if inspect.isawaitable(result) else result
        return answer

    def asked(self, service: str, operation: str) -> list[Params]:
        """The parameters of every call made of one operation, oldest first."""
        return [params for s, o, params in self.made if (s, o) == (service, operation)]
