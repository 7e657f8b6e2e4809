"""CodeConnections, under this name and under its former one, CodeStar connections.

On AWS a person completes a connection in the console. Here it is complete as soon as a checkout on this machine is
bound to a repository: until then it is PENDING. Hosts, repository links and sync configurations are not offered.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import replace

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import Log
from portside.cloud.protocol.errors import AwsError
from portside.cloud.protocol.shapes import Violation, describe
from portside.cloud.services.calls import Caller, Params, Service, operation, operations_of
from portside.cloud.services.codeconnections import records
from portside.cloud.services.codeconnections.records import AVAILABLE, PENDING, Connection

NAMES = ("codeconnections", "codestar-connections")
MOST_TAGS = 50
PAGE = 100
_NEEDS_HOST = frozenset({"GitHubEnterpriseServer", "GitLabSelfManaged"})


class ConnectionsApi:
    """`name` is the service it answers as; `any_bound` tells whether a repository is bound at all."""

    def __init__(
        self,
        *,
        name: str,
        database: Database,
        ids: Ids,
        clock: Clock,
        log: Log,
        any_bound: Callable[[], bool],
    ) -> None:
        database.migrate("codeconnections", records.MIGRATIONS)
        self._name = name
        self._db = database
        self._ids = ids
        self._any_bound = any_bound

    def service(self) -> Service:
        return Service(self._name, operations_of(self), _invalid)

    @operation("CreateConnection")
    def create_connection(self, caller: Caller, params: Params) -> Params:
        provider = params.get("ProviderType")
        if params.get("HostArn") or provider in _NEEDS_HOST:
            raise AwsError(
                "InvalidInputException",
                "portside's local cloud does not offer hosts, which connections to an installed provider need. "
                "A checkout on this machine stands for any repository: use ProviderType GitHub.",
            )
        if params.get("ProviderEndpoint"):
            raise AwsError("InvalidInputException", "portside's local cloud does not offer ProviderEndpoint.")
        if not provider:
            raise AwsError("InvalidInputException", "One of ProviderType and HostArn must be given.")
        tags = _tags(params.get("Tags") or [])
        made_id = self._ids.uuid()
        arn = f"arn:aws:{self._name}:{caller.region}:{caller.account}:connection/{made_id}"
        made = Connection(made_id, caller.region, arn, params["ConnectionName"], provider, tags)
        with self._db.write() as tx:
            records.save(tx, made)
        return {"ConnectionArn": arn, "Tags": _shown_tags(tags)}

    @operation("GetConnection")
    def get_connection(self, caller: Caller, params: Params) -> Params:
        return {"Connection": self._shown(caller, self._find(caller, params["ConnectionArn"]))}

    @operation("ListConnections")
    def list_connections(self, caller: Caller, params: Params) -> Params:
        wanted = params.get("ProviderTypeFilter")
        found = [
            each
            for each in records.connections(self._db, caller.region)
            if (not wanted or each.provider == wanted) and not params.get("HostArnFilter")
        ]
        start = 0
        if params.get("NextToken"):
            try:
                start = int(base64.urlsafe_b64decode(params["NextToken"].encode()))
            except (ValueError, binascii.Error):
                raise AwsError("InvalidInputException", "The next token is not valid.") from None
        end = start + (params.get("MaxResults") or PAGE)
        token = base64.urlsafe_b64encode(str(end).encode()).decode() if end < len(found) else None
        return {"Connections": [self._shown(caller, each) for each in found[start:end]], "NextToken": token}

    @operation("DeleteConnection")
    def delete_connection(self, caller: Caller, params: Params) -> Params:
        found = self._find(caller, params["ConnectionArn"])
        with self._db.write() as tx:
            records.delete(tx, found.id)
        return {}

    @operation("TagResource")
    def tag_resource(self, caller: Caller, params: Params) -> Params:
        found = self._find(caller, params["ResourceArn"])
        merged = dict(found.tags) | dict(_tags(params["Tags"]))
        self._keep(replace(found, tags=_tags([{"Key": k, "Value": v} for k, v in merged.items()])))
        return {}

    @operation("UntagResource")
    def untag_resource(self, caller: Caller, params: Params) -> Params:
        found = self._find(caller, params["ResourceArn"])
        self._keep(replace(found, tags=tuple(each for each in found.tags if each[0] not in params["TagKeys"])))
        return {}

    @operation("ListTagsForResource")
    def list_tags_for_resource(self, caller: Caller, params: Params) -> Params:
        return {"Tags": _shown_tags(self._find(caller, params["ResourceArn"]).tags)}

    def _keep(self, each: Connection) -> None:
        with self._db.write() as tx:
            records.save(tx, each)

    def _find(self, caller: Caller, arn: str) -> Connection:
        prefixes = [f"arn:aws:{name}:{caller.region}:{caller.account}:connection/" for name in NAMES]
        for prefix in prefixes:
            if arn.startswith(prefix):
                found = records.connection(self._db, caller.region, arn.removeprefix(prefix))
                if found is not None:
                    return found
        raise AwsError("ResourceNotFoundException", f"Connection not found: {arn}", 400)

    def _shown(self, caller: Caller, each: Connection) -> Params:
        return {
            "ConnectionName": each.name,
            "ConnectionArn": each.arn,
            "ProviderType": each.provider,
            "OwnerAccountId": caller.account,
            "ConnectionStatus": AVAILABLE if self._any_bound() else PENDING,
        }


def _tags(given: list[Params]) -> tuple[tuple[str, str], ...]:
    found = tuple((str(each["Key"]), str(each.get("Value") or "")) for each in given)
    if len({key for key, _ in found}) != len(found):
        raise AwsError("InvalidInputException", "Tag keys must be unique.")
    if len(found) > MOST_TAGS:
        raise AwsError("LimitExceededException", f"A connection may have {MOST_TAGS} tags at most.")
    return found


def _shown_tags(tags: tuple[tuple[str, str], ...]) -> list[Params]:
    return [{"Key": key, "Value": value} for key, value in tags]


def _invalid(found: list[Violation]) -> AwsError:
    return AwsError("InvalidInputException", describe(found))
