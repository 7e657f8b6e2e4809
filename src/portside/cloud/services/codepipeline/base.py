"""What the groups of operations share: finding pipelines, stages and executions, and pages of long lists.

Owns `Operations`, the base of `api.py` and the `*_calls.py`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import TypeVar

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import Log
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Params
from portside.cloud.services.codepipeline import rows
from portside.cloud.services.codepipeline.intents import Intents
from portside.cloud.services.codepipeline.records import Execution, Pipeline
from portside.cloud.services.codepipeline.structure import Stage, Structure

Item = TypeVar("Item")


class Operations:
    """`declared` is told the key of a pipeline that is new or has another structure."""

    def __init__(
        self,
        *,
        database: Database,
        ids: Ids,
        clock: Clock,
        log: Log,
        intents: Intents,
        declared: Callable[[str], None],
    ) -> None:
        self._declared = declared
        self._db = database
        self._ids = ids
        self._clock = clock
        self._log = log.bind(service="codepipeline")
        self._intents = intents

    def _pipeline(self, caller: Caller, name: str) -> Pipeline:
        found = rows.pipeline(self._db, caller.region, name)
        if found is None:
            raise AwsError(
                "PipelineNotFoundException",
                f"Account '{caller.account}' does not have a pipeline with name '{name}'",
            )
        return found

    def _structure(self, pipeline: Pipeline, version: int = 0) -> Structure:
        return self._intents.structure(self._db, pipeline, version)

    def _stage(self, pipeline: Pipeline, name: str) -> Stage:
        found = self._structure(pipeline).stage(name)
        if found is None:
            raise AwsError(
                "StageNotFoundException", f"Pipeline '{pipeline.name}' does not have a stage with name '{name}'"
            )
        return found

    def _execution(self, pipeline: Pipeline, execution_id: str) -> Execution:
        found = rows.execution(self._db, execution_id)
        if found is None or (found.region, found.pipeline) != (pipeline.region, pipeline.name):
            raise AwsError(
                "PipelineExecutionNotFoundException",
                f"Pipeline execution with id '{execution_id}' was not found in pipeline '{pipeline.name}'.",
            )
        return found


def page(items: list[Item], params: Params, size: int, *, upper: bool = False) -> tuple[list[Item], str | None]:
    """One page of a list, and the token of the next one. `upper`: for operations whose members are spelt so."""
    start = 0
    given = params.get("NextToken" if upper else "nextToken")
    if given:
        try:
            start = int(base64.urlsafe_b64decode(given.encode()).decode())
        except (ValueError, binascii.Error):
            raise AwsError("InvalidNextTokenException", "The next token is not valid.") from None
    end = start + min(params.get("MaxResults" if upper else "maxResults") or size, size)
    following = base64.urlsafe_b64encode(str(end).encode()).decode() if end < len(items) else None
    return items[start:end], following


def tags_of(given: list[Params] | None) -> tuple[tuple[str, str], ...]:
    pairs = [(str(each["key"]), str(each.get("value") or "")) for each in given or ()]
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys):
        raise AwsError("InvalidTagsException", "Tag keys must be unique.")
    if any(key.lower().startswith("aws:") for key in keys):
        raise AwsError("InvalidTagsException", "Tag keys must not start with aws:.")
    if len(pairs) > MOST_TAGS:
        raise AwsError("TooManyTagsException", f"A resource may have {MOST_TAGS} tags at most.")
    return tuple(pairs)


def shown_tags(tags: tuple[tuple[str, str], ...]) -> list[Params]:
    return [{"key": key, "value": value} for key, value in tags]


MOST_TAGS = 50
