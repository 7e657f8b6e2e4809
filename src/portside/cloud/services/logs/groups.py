"""Log groups: their operations, tags, retention, keys and protection from deletion.

A KMS key and a class are kept and shown: what is stored here is neither encrypted nor priced. What belongs to a
group, its policies of all kinds, goes with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database, Transaction
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Params, operation
from portside.cloud.services.logs import data_protection, field_indexes, records, requests, resource_policies
from portside.cloud.services.logs.records import Group
from portside.cloud.services.logs.requests import bad, name_in, page

RETENTIONS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)


class Groups:
    """The operations. `wake` tells who enforces retention that there is something new to enforce."""

    def __init__(self, *, database: Database, clock: Clock, wake: Callable[[], None]) -> None:
        self._database = database
        self._clock = clock
        self._wake = wake

    @operation("CreateLogGroup")
    async def create_log_group(self, caller: Caller, params: Params) -> Params:
        name = params["logGroupName"]

        def create(tx: Transaction) -> None:
            if records.group(tx, caller.region, name) is not None:
                raise AwsError("ResourceAlreadyExistsException", "The specified log group already exists")
            group = Group(
                region=caller.region,
                name=name,
                arn=f"arn:aws:logs:{caller.region}:{caller.account}:log-group:{name}",
                created_at=int(self._clock.now() * 1000),
                tags=dict(params.get("tags") or {}),
                key=params.get("kmsKeyId") or "",
                kind=params.get("logGroupClass") or "STANDARD",
                protected=bool(params.get("deletionProtectionEnabled")),
            )
            records.save_group(tx, group)

        await self._database.commit(create)
        return {}

    @operation("DeleteLogGroup")
    def delete_log_group(self, caller: Caller, params: Params) -> Params:
        group = self._group(caller, params["logGroupName"])
        if group.protected:
            raise AwsError(
                "ValidationException",
                f"The log group {group.name} cannot be deleted because deletion protection is enabled for it. "
                "Disable it with PutLogGroupDeletionProtection first.",
            )
        with self._database.write() as tx:
            records.delete_group(tx, caller.region, group.name)
            resource_policies.forget(tx, group)
            field_indexes.forget(tx, group)
            data_protection.forget(tx, group)
        return {}

    @operation("PutLogGroupDeletionProtection")
    def put_deletion_protection(self, caller: Caller, params: Params) -> Params:
        group = self._group(caller, name_in(params["logGroupIdentifier"]))
        self._change(replace(group, protected=bool(params["deletionProtectionEnabled"])))
        return {}

    @operation("PutBearerTokenAuthentication")
    def put_bearer_token_authentication(self, caller: Caller, params: Params) -> Params:
        self._group(caller, name_in(params["logGroupIdentifier"]))
        if params["bearerTokenAuthenticationEnabled"]:
            raise AwsError(
                "InvalidOperationException",
                "portside's local cloud takes log events by PutLogEvents alone, not with bearer tokens.",
            )
        return {}

    @operation("DescribeLogGroups")
    def describe_log_groups(self, caller: Caller, params: Params) -> Params:
        prefix, part = params.get("logGroupNamePrefix") or "", params.get("logGroupNamePattern") or ""
        if prefix and part:
            raise bad("logGroupNamePrefix and logGroupNamePattern cannot be used together.")
        chosen = {name_in(each) for each in params.get("logGroupIdentifiers") or []}
        kind = params.get("logGroupClass")
        found = {
            group.name: group
            for group in records.groups(self._database, caller.region, prefix)
            if part.lower() in group.name.lower()
            and (not chosen or group.name in chosen)
            and kind in (None, group.kind)
        }
        names, token = page(list(found), params)
        return {"logGroups": [self._shown(found[name]) for name in names], "nextToken": token}

    def _shown(self, group: Group) -> Params:
        stored = sum(each.bytes for each in records.streams(self._database, group.region, group.name))
        return {
            "logGroupName": group.name,
            "creationTime": group.created_at,
            "retentionInDays": group.retention,
            "metricFilterCount": 0,
            "arn": f"{group.arn}:*",
            "logGroupArn": group.arn,
            "storedBytes": stored,
            "logGroupClass": group.kind,
            "kmsKeyId": group.key or None,
            "dataProtectionStatus": data_protection.status(self._database, group),
            "deletionProtectionEnabled": group.protected,
            "bearerTokenAuthenticationEnabled": False,
        }

    @operation("PutRetentionPolicy")
    def put_retention_policy(self, caller: Caller, params: Params) -> Params:
        days = params["retentionInDays"]
        if days not in RETENTIONS:
            raise bad(f"Invalid retention value. Must be one of: {', '.join(map(str, RETENTIONS))}.")
        self._change(replace(self._group(caller, params["logGroupName"]), retention=days))
        self._wake()
        return {}

    @operation("DeleteRetentionPolicy")
    def delete_retention_policy(self, caller: Caller, params: Params) -> Params:
        self._change(replace(self._group(caller, params["logGroupName"]), retention=None))
        return {}

    # Keys

    @operation("AssociateKmsKey")
    def associate_kms_key(self, caller: Caller, params: Params) -> Params:
        self._change(replace(self._keyed(caller, params), key=params["kmsKeyId"]))
        return {}

    @operation("DisassociateKmsKey")
    def disassociate_kms_key(self, caller: Caller, params: Params) -> Params:
        self._change(replace(self._keyed(caller, params), key=""))
        return {}

    def _keyed(self, caller: Caller, params: Params) -> Group:
        name, identifier = params.get("logGroupName"), params.get("resourceIdentifier")
        if bool(name) == bool(identifier):
            raise bad("Either logGroupName or resourceIdentifier must be given, and not both.")
        if identifier and ":log-group:" not in identifier:
            raise bad("portside's local cloud keeps no query results, and so no keys of theirs.")
        return self._group(caller, name or name_in(str(identifier)))

    # Tags

    @operation("TagResource")
    def tag_resource(self, caller: Caller, params: Params) -> Params:
        group = self._group(caller, name_in(params["resourceArn"]))
        self._change(replace(group, tags=group.tags | params["tags"]))
        return {}

    @operation("UntagResource")
    def untag_resource(self, caller: Caller, params: Params) -> Params:
        self._untag(self._group(caller, name_in(params["resourceArn"])), params["tagKeys"])
        return {}

    @operation("ListTagsForResource")
    def list_tags_for_resource(self, caller: Caller, params: Params) -> Params:
        return {"tags": self._group(caller, name_in(params["resourceArn"])).tags}

    @operation("TagLogGroup")
    def tag_log_group(self, caller: Caller, params: Params) -> Params:
        group = self._group(caller, params["logGroupName"])
        self._change(replace(group, tags=group.tags | params["tags"]))
        return {}

    @operation("UntagLogGroup")
    def untag_log_group(self, caller: Caller, params: Params) -> Params:
        self._untag(self._group(caller, params["logGroupName"]), params["tags"])
        return {}

    @operation("ListTagsLogGroup")
    def list_tags_log_group(self, caller: Caller, params: Params) -> Params:
        return {"tags": self._group(caller, params["logGroupName"]).tags}

    def _untag(self, group: Group, keys: list[str]) -> None:
        self._change(replace(group, tags={k: v for k, v in group.tags.items() if k not in keys}))

    # Looking things up

    def _change(self, group: Group) -> None:
        with self._database.write() as tx:
            records.save_group(tx, group)

    def _group(self, caller: Caller, name: str) -> Group:
        return requests.group(self._database, caller, name)
