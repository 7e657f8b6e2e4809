"""Exports: unique, and held fast while imported."""

from __future__ import annotations

import json
from typing import Any

from cfn_world import World, parameter


def producer(value: str = "a", export: str = "p-vpc") -> dict[str, Any]:
    return {
        "Resources": {"A": parameter(value)},
        "Outputs": {"Vpc": {"Value": {"Fn::GetAtt": ["A", "Value"]}, "Export": {"Name": export}}},
    }


def consumer(name: Any = "p-vpc") -> dict[str, Any]:
    return {"Resources": {"B": parameter({"Fn::ImportValue": name})}}


async def both(world: World) -> None:
    assert await world.create("p", producer()) == "CREATE_COMPLETE"
    assert await world.create("c", consumer()) == "CREATE_COMPLETE"


async def test_a_value_reaches_the_importer(world: World) -> None:
    await both(world)
    assert [each["Value"] for each in world.fake.parameters.values()] == ["a", "a"]
    assert await world.call("ListImports", ExportName="p-vpc") == {"Imports": ["c"], "NextToken": None}
    refused = await world.refused("ListImports", ExportName="other")
    assert refused.message == "Export 'other' is not imported by any stack."


async def test_br_30_the_export_is_found_by_the_first_word_of_the_stacks_name(world: World) -> None:
    await world.create("staging-cluster", producer(export="staging-cluster-id"))
    first = {"Fn::Select": [0, {"Fn::Split": ["-", {"Ref": "AWS::StackName"}]}]}
    assert await world.create("staging-alb", consumer({"Fn::Join": ["-", [first, "cluster-id"]]})) == (
        "CREATE_COMPLETE"
    )
    assert await world.create("other-alb", consumer({"Fn::Join": ["-", [first, "cluster-id"]]})) == (
        "ROLLBACK_COMPLETE"
    )
    reason = "No export named other-cluster-id found. Rollback requested by user."
    assert ("other-alb", "ROLLBACK_IN_PROGRESS", reason) in await world.events("other-alb")


async def test_br_27_an_imported_export_is_not_withdrawn(world: World) -> None:
    await both(world)
    without = {"Resources": {"A": parameter("a")}}
    assert await world.update("p", without) == "UPDATE_ROLLBACK_COMPLETE"
    reason = "Export p-vpc cannot be deleted as it is in use by c"
    assert ("p", "UPDATE_ROLLBACK_IN_PROGRESS", reason) in await world.events("p")
    assert (await world.stack("p"))["Outputs"][0]["ExportName"] == "p-vpc"


async def test_br_28_nor_changed(world: World) -> None:
    await both(world)
    assert await world.update("p", producer("b")) == "UPDATE_ROLLBACK_COMPLETE"
    reason = "Export p-vpc cannot be updated as it is in use by c"
    assert ("p", "UPDATE_ROLLBACK_IN_PROGRESS", reason) in await world.events("p")
    assert [each["Value"] for each in world.fake.parameters.values()] == ["a", "a"]


async def test_br_29_its_stack_is_not_deleted(world: World) -> None:
    await both(world)
    assert await world.call("DeleteStack", StackName="p") == {}
    stack = await world.stack("p")
    reason = "Delete canceled. Cannot delete export p-vpc as it is in use by c."
    assert (stack["StackStatus"], stack["StackStatusReason"]) == ("CREATE_COMPLETE", reason)
    assert (await world.events("p"))[-1] == ("p", "CREATE_COMPLETE", reason)
    assert await world.delete("c") == "DELETE_COMPLETE"
    assert await world.delete("p") == "DELETE_COMPLETE"


async def test_a_name_is_exported_once(world: World) -> None:
    await world.create("p", producer())
    assert await world.create("q", producer()) == "ROLLBACK_COMPLETE"
    reason = "Export with name p-vpc is already exported by stack p. Rollback requested by user."
    assert ("q", "ROLLBACK_IN_PROGRESS", reason) in await world.events("q")
    assert len(world.fake.parameters) == 1


async def test_an_importer_that_failed_holds_nothing(world: World) -> None:
    await world.create("p", producer())
    template = consumer()
    template["Resources"]["Bad"] = {"Type": "AWS::SSM::Parameter", "Properties": {"Value": "x"}}
    assert await world.create("c", template) == "ROLLBACK_COMPLETE"
    assert await world.update("p", producer("b")) == "UPDATE_COMPLETE"


async def test_an_update_that_no_longer_imports_lets_go(world: World) -> None:
    await both(world)
    await world.update("c", {"Resources": {"B": parameter("own")}})
    assert await world.delete("p") == "DELETE_COMPLETE"


async def test_an_update_to_a_missing_export_is_refused(world: World) -> None:
    await both(world)
    refused = await world.refused("UpdateStack", StackName="c", TemplateBody=json.dumps(consumer("nowhere")))
    assert refused.message == "No export named nowhere found"
