"""Types that are made by declaration: found again after a crash, not adopted, changed only as far as they can be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cfn_world import FakeServices, World
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Params


class Services(FakeServices):
    """With tables (named), file systems (told by their token) and mount targets (told by what they are)."""

    def __init__(self, clock: Any) -> None:
        super().__init__(clock)
        self.tables: dict[str, Params] = {}
        self.systems: dict[str, Params] = {}
        self.tags: dict[str, Params] = {}

    def _table(self, name: str) -> Params:
        if name not in self.tables:
            raise AwsError("ResourceNotFoundException", f"Requested resource not found: Table: {name} not found")
        return self.tables[name]

    def dynamodb_DescribeTable(self, params: Params, caller: Caller) -> Params:
        return {"Table": self._table(params["TableName"])}

    def dynamodb_CreateTable(self, params: Params, caller: Caller) -> Params:
        name = params["TableName"]
        if name in self.tables:
            raise AwsError("ResourceInUseException", f"Table already exists: {name}")
        arn = f"arn:aws:dynamodb:{caller.region}:{caller.account}:table/{name}"
        self.tables[name] = params | {"TableArn": arn, "TableStatus": "ACTIVE"}
        return {"TableDescription": self.tables[name]}

    def dynamodb_UpdateTable(self, params: Params, caller: Caller) -> None:
        self._table(params["TableName"]).update(params)

    def dynamodb_TagResource(self, params: Params, caller: Caller) -> None:
        self.tags[params["ResourceArn"]] = params

    def dynamodb_UntagResource(self, params: Params, caller: Caller) -> None: ...

    def dynamodb_DeleteTable(self, params: Params, caller: Caller) -> None:
        self._table(params["TableName"])
        del self.tables[params["TableName"]]

    def efs_CreateFileSystem(self, params: Params, caller: Caller) -> Params:
        made = params | {"FileSystemId": f"fs-{len(self.systems)}", "LifeCycleState": "available"}
        self.systems[made["FileSystemId"]] = made
        return made

    def efs_DescribeFileSystems(self, params: Params, caller: Caller) -> Params:
        found = [
            each
            for each in self.systems.values()
            if params.get("CreationToken", each["CreationToken"]) == each["CreationToken"]
            and params.get("FileSystemId", each["FileSystemId"]) == each["FileSystemId"]
        ]
        return {"FileSystems": found}

    def efs_UpdateFileSystem(self, params: Params, caller: Caller) -> None:
        self.systems[params["FileSystemId"]].update(params)

    def efs_DeleteFileSystem(self, params: Params, caller: Caller) -> None:
        if self.systems.pop(params["FileSystemId"], None) is None:
            raise AwsError("FileSystemNotFound", "gone")


def world_at(path: Path) -> World:
    world = World(path)
    world.fake = Services(world.clock)
    return world


def table(**more: Any) -> dict[str, Any]:
    properties = {
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
    }
    return {"Type": "AWS::DynamoDB::Table", "Properties": properties | more}


def files(**properties: Any) -> dict[str, Any]:
    return {"Type": "AWS::EFS::FileSystem", "Properties": properties}


@pytest.mark.parametrize("call", range(1, 7))
async def test_a_cloud_that_dies_after_any_call_makes_each_only_once(tmp_path: Path, call: int) -> None:
    world = world_at(tmp_path / "s.db")
    template = {"Resources": {"Table": table(), "Files": files(), "More": files()}}
    async with world.running():
        world.fake.die_after = len(world.fake.made) + call
        await world.create("web", template)
    async with world.running():
        assert await world.settle("web") == "CREATE_COMPLETE"
        fake = world.fake
        assert isinstance(fake, Services)
        assert len(fake.tables) == 1 and len(fake.systems) == 2
        assert {physical for _, physical in (await world.resources("web")).values()} == {
            *fake.tables,
            *fake.systems,
        }
        assert await world.delete("web") == "DELETE_COMPLETE"
        assert not fake.tables and not fake.systems


async def test_what_has_the_name_already_is_not_adopted(tmp_path: Path) -> None:
    world = world_at(tmp_path / "s.db")
    async with world.running():
        fake = world.fake
        assert isinstance(fake, Services)
        fake.tables["orders"] = {"TableStatus": "ACTIVE"}
        assert (
            await world.create("web", {"Resources": {"Table": table(TableName="orders")}}) == "ROLLBACK_COMPLETE"
        )
        failed = [reason for name, status, reason in await world.events("web") if status == "CREATE_FAILED"]
        assert "'orders' already exists." in failed[0]
        assert list(fake.tables) == ["orders"] and not fake.asked("dynamodb", "DeleteTable")


async def test_changes_go_to_the_operation_that_takes_them_and_no_other(tmp_path: Path) -> None:
    world = world_at(tmp_path / "s.db")
    async with world.running():
        fake = world.fake
        assert isinstance(fake, Services)
        await world.create("web", {"Resources": {"Table": table(Tags=[{"Key": "a", "Value": "1"}])}})
        (name,) = fake.tables
        wanted = table(DeletionProtectionEnabled=True, Tags=[{"Key": "b", "Value": "2"}])
        assert await world.update("web", {"Resources": {"Table": wanted}}) == "UPDATE_COMPLETE"
        (changed,) = fake.asked("dynamodb", "UpdateTable")
        assert changed == {"TableName": name, "DeletionProtectionEnabled": True}
        assert fake.asked("dynamodb", "UntagResource")[0]["TagKeys"] == ["a"]
        # A property that goes away goes back to its default, which is said.
        assert await world.update("web", {"Resources": {"Table": table()}}) == "UPDATE_COMPLETE"
        assert fake.asked("dynamodb", "UpdateTable")[-1]["DeletionProtectionEnabled"] is False


async def test_a_change_that_nothing_can_make_fails_by_name_and_is_put_back(tmp_path: Path) -> None:
    world = world_at(tmp_path / "s.db")
    async with world.running():
        await world.create("web", {"Resources": {"Table": table(TableClass="STANDARD")}})
        status = await world.update("web", {"Resources": {"Table": table()}})
        assert status == "UPDATE_ROLLBACK_COMPLETE"
        failed = [reason for _, state, reason in await world.events("web") if state == "UPDATE_FAILED"]
        assert "cannot change TableClass of AWS::DynamoDB::Table in place." in failed[0]
        assert "HandlerErrorCode: NotUpdatable" in failed[0]


async def test_a_property_that_nothing_takes_is_refused_before_anything_is_called(tmp_path: Path) -> None:
    world = world_at(tmp_path / "s.db")
    async with world.running():
        template = {"Resources": {"Table": table(ContributorInsightsSpecification={"Enabled": True})}}
        assert await world.create("web", template) == "ROLLBACK_COMPLETE"
        assert not world.fake.made
        nested = {
            "Resources": {"Files": files(FileSystemProtection={"ReplicationOverwriteProtection": "DISABLED"})}
        }
        assert await world.create("more", nested) == "ROLLBACK_COMPLETE"
        failed = [reason for _, state, reason in await world.events("more") if state == "CREATE_FAILED"]
        assert "does not offer FileSystemProtection of AWS::EFS::FileSystem" in failed[0]


async def test_withheld_types_are_refused_with_the_reason(tmp_path: Path) -> None:
    world = world_at(tmp_path / "s.db")
    async with world.running():
        for kind, why in (
            ("AWS::RDS::DBSecurityGroup", "AWS has retired the networks"),
            ("AWS::DataPipeline::Pipeline", "AWS has closed the service"),
        ):
            refused = await world.refused(
                "CreateStack", StackName="web", TemplateBody=f'{{"Resources": {{"A": {{"Type": "{kind}"}}}}}}'
            )
            assert refused.code == "ValidationError" and why in refused.message
        unknown = await world.refused(
            "CreateStack", StackName="web", TemplateBody='{"Resources": {"A": {"Type": "AWS::No::Such"}}}'
        )
        assert unknown.message == "Template format error: Unrecognized resource types: [AWS::No::Such]"
