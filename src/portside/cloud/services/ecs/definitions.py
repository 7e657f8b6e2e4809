"""Task definitions: the operations on them."""

from __future__ import annotations

from dataclasses import replace

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database, Transaction
from portside.cloud.services.calls import Caller, Params, operation
from portside.cloud.services.ecs import errors, names, store, validate, views
from portside.cloud.services.ecs.pages import page
from portside.cloud.services.ecs.records import Definition, DefinitionStatus, TaskStatus


class DefinitionApi:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    @operation("RegisterTaskDefinition")
    async def register_task_definition(self, caller: Caller, params: Params) -> Params:
        spec = validate.normalise(params)
        for member in ("taskRoleArn", "executionRoleArn"):
            if spec.get(member):
                spec[member] = names.role_arn(caller.account, spec[member])
        family = params["family"]

        def register(tx: Transaction) -> tuple[Definition, list[dict[str, str]]]:
            revision = store.next_revision(tx, caller.region, family)
            each = Definition(
                arn=names.arn(caller, "task-definition", f"{family}:{revision}"),
                region=caller.region,
                family=family,
                revision=revision,
                status=DefinitionStatus.ACTIVE,
                registered_at=self._clock.now(),
                registered_by=caller.arn,
                spec=spec,
            )
            store.definitions.save(tx, each)
            return each, store.set_tags(tx, each.arn, params.get("tags") or [])

        made, tags = await self._database.commit(register)
        return {"taskDefinition": views.definition(made), "tags": tags}

    @operation("DescribeTaskDefinition")
    def describe_task_definition(self, caller: Caller, params: Params) -> Params:
        each = find(self._database, caller, params["taskDefinition"])
        if each is None:
            raise errors.client("Unable to describe task definition.")
        tags = store.tags_of(self._database, each.arn) if "TAGS" in (params.get("include") or ()) else None
        return {"taskDefinition": views.definition(each), "tags": tags}

    @operation("DeregisterTaskDefinition")
    def deregister_task_definition(self, caller: Caller, params: Params) -> Params:
        _, revision = names.family_and_revision(params["taskDefinition"])
        if revision is None:
            raise errors.client("Missing version. The task definition must be given as family:revision or ARN.")
        with self._database.write() as tx:
            each = find(tx, caller, params["taskDefinition"])
            if each is None or each.status is DefinitionStatus.DELETE_IN_PROGRESS:
                raise errors.client("The specified task definition does not exist.")
            if each.status is DefinitionStatus.ACTIVE:
                each = replace(each, status=DefinitionStatus.INACTIVE, deregistered_at=self._clock.now())
                store.definitions.save(tx, each)
        return {"taskDefinition": views.definition(each)}

    @operation("DeleteTaskDefinitions")
    def delete_task_definitions(self, caller: Caller, params: Params) -> Params:
        found, failures = [], []
        with self._database.write() as tx:
            for reference in params["taskDefinitions"]:
                each = find(tx, caller, reference)
                if each is None or names.family_and_revision(reference)[1] is None:
                    failures.append({"arn": reference, "reason": "MISSING"})
                elif each.status is DefinitionStatus.ACTIVE:
                    failures.append(
                        {
                            "arn": each.arn,
                            "reason": "The specified task definition is still in ACTIVE status. Please deregister "
                            "the target and try again.",
                        }
                    )
                else:
                    each = replace(each, status=DefinitionStatus.DELETE_IN_PROGRESS)
                    store.definitions.save(tx, each)
                    found.append(views.definition(each))
                    if not _in_use(tx, each.arn):
                        tx.execute("DELETE FROM ecs_definition WHERE arn = ?", (each.arn,))
                        store.drop_tags(tx, each.arn)
        return {"taskDefinitions": found, "failures": failures}

    @operation("ListTaskDefinitions")
    def list_task_definitions(self, caller: Caller, params: Params) -> Params:
        prefix = params.get("familyPrefix")
        status = params.get("status") or DefinitionStatus.ACTIVE
        order = "DESC" if params.get("sort") == "DESC" else "ASC"
        found = store.definitions.where(
            self._database,
            f"region = ? AND status = ? ORDER BY family {order}, revision {order}",
            caller.region,
            status,
        )
        # The parameter is called a prefix, but it is compared with the whole family name.
        arns = [each.arn for each in found if not prefix or each.family == prefix]
        shown, token = page(arns, params)
        return {"taskDefinitionArns": shown, "nextToken": token}

    @operation("ListTaskDefinitionFamilies")
    def list_task_definition_families(self, caller: Caller, params: Params) -> Params:
        prefix, status = params.get("familyPrefix") or "", params.get("status") or "ACTIVE"
        rows = self._database.read(
            "SELECT family, sum(status = 'ACTIVE') AS active FROM ecs_definition WHERE region = ? "
            "GROUP BY family ORDER BY family",
            (caller.region,),
        )
        families = [
            str(row["family"])
            for row in rows
            if row["family"].startswith(prefix)
            and (status == "ALL" or (row["active"] > 0) == (status == "ACTIVE"))
        ]
        shown, token = page(families, params)
        return {"families": shown, "nextToken": token}


def find(reader: store.Reader, caller: Caller, reference: str) -> Definition | None:
    """By family (the newest ACTIVE revision), `family:revision`, or ARN."""
    family, revision = names.family_and_revision(reference)
    if revision is not None:
        return store.definitions.get(reader, names.arn(caller, "task-definition", f"{family}:{revision}"))
    found = store.definitions.where(
        reader,
        "region = ? AND family = ? AND status = ? ORDER BY revision DESC LIMIT 1",
        caller.region,
        family,
        DefinitionStatus.ACTIVE,
    )
    return found[0] if found else None


def usable(reader: store.Reader, caller: Caller, reference: str) -> Definition:
    """One that new tasks and services may be made from."""
    each = find(reader, caller, reference)
    if each is None:
        raise errors.client("TaskDefinition not found.")
    if each.status is not DefinitionStatus.ACTIVE:
        raise errors.client("TaskDefinition is inactive")
    return each


def _in_use(reader: store.Reader, arn: str) -> bool:
    return bool(
        store.tasks.where(reader, "definition = ? AND status <> ? LIMIT 1", arn, TaskStatus.STOPPED)
        or store.deployments.where(reader, "definition = ? AND status <> 'INACTIVE' LIMIT 1", arn)
    )
