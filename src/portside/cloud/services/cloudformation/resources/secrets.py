"""AWS::SecretsManager::Secret and ResourcePolicy, AWS::KMS::Key and Alias."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from portside.cloud.kernel.ids import Ids
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.declared import Call, Declared, Listing
from portside.cloud.services.cloudformation.resources.handler import Failure, Handler, Work
from portside.cloud.services.cloudformation.resources.shapes import request, text

SECRETS = "secretsmanager"
SUFFIX = 12
_OWN_KEY = ("alias/aws/secretsmanager", "aws/secretsmanager")


class Secret(Handler):
    """A secret that the service makes up is made up once; another recipe makes it up anew."""

    type = "AWS::SecretsManager::Secret"
    name_property = "Name"
    tagged = True
    unoffered: ClassVar = {
        "Type": "managed external secrets need somebody outside who manages them.",
    }

    def refuse(self, properties: Params) -> None:
        super().refuse(properties)
        keys = [each["KmsKeyId"] for each in properties.get("ReplicaRegions") or [] if each.get("KmsKeyId")]
        if any(each not in _OWN_KEY for each in keys):
            raise self.not_offered(["ReplicaRegions/KmsKeyId"], "replicas have the service's own key.")
        if "SecretString" in properties and "GenerateSecretString" in properties:
            raise Failure(
                "You can't specify both SecretString and GenerateSecretString.",
                "InvalidRequest",
            )

    def choose_name(self, ids: Ids, stack_name: str, logical_id: str, properties: Params) -> str:
        # AWS names secrets without the stack.
        return str(properties.get("Name") or f"{logical_id}-{ids.alnum(SUFFIX)}")

    async def _describe(self, work: Work, name: str) -> Params:
        found: Params = await work.call(SECRETS, "DescribeSecret", {"SecretId": name})
        return found

    async def find(self, work: Work) -> str | None:
        try:
            return str((await self._describe(work, work.name))["ARN"])
        except AwsError as error:
            if self.missing(error):
                return None
            raise

    async def _value(self, work: Work) -> Params:
        recipe = work.properties.get("GenerateSecretString")
        if recipe is None:
            given = work.properties.get("SecretString")
            return {} if given is None else {"SecretString": text(given)}
        params = request(SECRETS, "GetRandomPassword", recipe)
        made = str((await work.call(SECRETS, "GetRandomPassword", params))["RandomPassword"])
        template, key = recipe.get("SecretStringTemplate"), recipe.get("GenerateStringKey")
        if (template is None) != (key is None):
            raise Failure("SecretStringTemplate and GenerateStringKey go together.", "InvalidRequest")
        if template is None:
            return {"SecretString": made}
        try:
            document = json.loads(template)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise Failure("The SecretStringTemplate is no JSON object.", "InvalidRequest")
        return {"SecretString": text(document | {key: made})}

    async def create(self, work: Work) -> tuple[str, Params]:
        params: Params = {"Name": work.name, "ClientRequestToken": work.token} | await self._value(work)
        for name in ("Description", "KmsKeyId"):
            if name in work.properties:
                params[name] = work.properties[name]
        tags = work.tag_list(system=False)
        if tags:
            params["Tags"] = tags
        replicas = _regions(work.properties)
        if replicas:
            params["AddReplicaRegions"] = [{"Region": each} for each in replicas]
        made = await work.call(SECRETS, "CreateSecret", params)
        return str(made["ARN"]), {}

    async def settled(self, work: Work) -> bool:
        if not _regions(work.properties):
            return True
        found = (await self._describe(work, work.physical_id)).get("ReplicationStatus") or []
        failed = [each for each in found if each.get("Status") == "Failed"]
        if failed:
            raise Failure(failed[0].get("StatusMessage") or "The secret was not replicated.", "NotStabilized")
        return all(each.get("Status") == "InSync" for each in found)

    async def _replicate(self, work: Work) -> None:
        secret = {"SecretId": work.physical_id}
        wanted = _regions(work.properties)
        found = (await self._describe(work, work.physical_id)).get("ReplicationStatus") or []
        present = [each["Region"] for each in found]
        stale = [each for each in _regions(work.old) if each in present and each not in wanted]
        if stale:
            await work.call(SECRETS, "RemoveRegionsFromReplication", secret | {"RemoveReplicaRegions": stale})
        fresh = [{"Region": each} for each in wanted if each not in present]
        if fresh:
            await work.call(SECRETS, "ReplicateSecretToRegions", secret | {"AddReplicaRegions": fresh})

    async def update(self, work: Work) -> Params:
        given, old, secret = work.properties, work.old, {"SecretId": work.physical_id}
        params: Params = {
            key: given.get(key, "") for key in ("Description", "KmsKeyId") if given.get(key) != old.get(key)
        }
        if any(given.get(key) != old.get(key) for key in ("SecretString", "GenerateSecretString")):
            params |= await self._value(work)
        if params:
            await self._change(work, secret | params | {"ClientRequestToken": work.token})
        if _regions(given) != _regions(old):
            await self._replicate(work)
        wanted = work.all_tags(system=False)
        if wanted:
            await work.call(SECRETS, "TagResource", secret | {"Tags": work.tag_list(system=False)})
        stale = [each["Key"] for each in old.get("Tags") or [] if each["Key"] not in wanted]
        if stale:
            await work.call(SECRETS, "UntagResource", secret | {"TagKeys": stale})
        return {}

    async def _change(self, work: Work, params: Params) -> None:
        try:
            await work.call(SECRETS, "UpdateSecret", params)
        except AwsError as error:
            # The token has a value already: the call was made before, with another value made up.
            if error.code != "ResourceExistsException" or "GenerateSecretString" not in work.properties:
                raise

    async def read(self, work: Work) -> Params:
        return {"Id": work.physical_id}

    async def delete(self, work: Work) -> None:
        # A secret that has replicas is not deleted.
        replicas = (await self._describe(work, work.physical_id)).get("ReplicationStatus") or []
        if replicas:
            regions = {"RemoveReplicaRegions": [each["Region"] for each in replicas]}
            await work.call(SECRETS, "RemoveRegionsFromReplication", {"SecretId": work.physical_id} | regions)
        # CloudFormation leaves no window in which the secret could be restored.
        params = {"SecretId": work.physical_id, "ForceDeleteWithoutRecovery": True}
        await work.call(SECRETS, "DeleteSecret", params)


def _regions(properties: Params) -> list[str]:
    return [str(each["Region"]) for each in properties.get("ReplicaRegions") or []]


class SecretPolicy(Handler):
    type = "AWS::SecretsManager::ResourcePolicy"

    async def find(self, work: Work) -> str | None:
        secret = {"SecretId": work.properties["SecretId"]}
        found = await work.call(SECRETS, "GetResourcePolicy", secret)
        return str(found["ARN"]) if found.get("ResourcePolicy") else None

    async def _put(self, work: Work) -> str:
        params: Params = {
            "SecretId": work.properties["SecretId"],
            "ResourcePolicy": text(work.properties["ResourcePolicy"]),
        }
        if "BlockPublicPolicy" in work.properties:
            params["BlockPublicPolicy"] = bool(work.properties["BlockPublicPolicy"])
        return str((await work.call(SECRETS, "PutResourcePolicy", params))["ARN"])

    async def create(self, work: Work) -> tuple[str, Params]:
        return await self._put(work), {}

    async def update(self, work: Work) -> Params:
        await self._put(work)
        return {}

    async def read(self, work: Work) -> Params:
        return {"Id": work.physical_id}

    async def delete(self, work: Work) -> None:
        await work.call(SECRETS, "DeleteResourcePolicy", {"SecretId": work.properties["SecretId"]})


class Key(Handler):
    """Keys have no names; a new one is told by the stack's automatic tags."""

    type = "AWS::KMS::Key"
    tagged = True
    _TAGS: ClassVar = ("aws:cloudformation:stack-id", "aws:cloudformation:logical-id")

    def _tags(self, work: Work) -> list[dict[str, str]]:
        return work.tag_list(key="TagKey", value="TagValue")

    async def _ours(self, work: Work) -> list[str]:
        mine = {work.stack_id, work.logical_id}
        found = []
        for each in (await work.call("kms", "ListKeys", {})).get("Keys", []):
            tags = (await work.call("kms", "ListResourceTags", {"KeyId": each["KeyId"]})).get("Tags", [])
            if {tag["TagValue"] for tag in tags if tag["TagKey"] in self._TAGS} == mine:
                found.append(str(each["KeyId"]))
        return found

    async def baseline(self, work: Work) -> Params:
        return {} if work.physical_id else {"known": await self._ours(work)}

    async def find(self, work: Work) -> str | None:
        if "known" not in work.state:
            return None
        fresh = [each for each in await self._ours(work) if each not in work.state["known"]]
        return fresh[0] if fresh else None

    async def create(self, work: Work) -> tuple[str, Params]:
        given = {key: value for key, value in work.properties.items() if key != "Tags"}
        params = request("kms", "CreateKey", given, {"KeyPolicy": "Policy"})
        made = await work.call("kms", "CreateKey", params | {"Tags": self._tags(work)})
        return str(made["KeyMetadata"]["KeyId"]), {}

    async def configure(self, work: Work) -> None:
        key, given, old = {"KeyId": work.physical_id}, work.properties, work.old
        rotated = ("EnableKeyRotation", "RotationPeriodInDays")
        if any(given.get(name) != old.get(name) for name in rotated):
            if given.get("EnableKeyRotation"):
                days = given.get("RotationPeriodInDays")
                params = {"RotationPeriodInDays": int(days)} if days is not None else {}
                await work.call("kms", "EnableKeyRotation", key | params)
            elif given.get("RotationPeriodInDays") is not None:
                raise Failure("RotationPeriodInDays needs EnableKeyRotation.", "InvalidRequest")
            elif old.get("EnableKeyRotation"):
                await work.call("kms", "DisableKeyRotation", key)
        enabled = given.get("Enabled", True)
        if enabled != old.get("Enabled", True):
            await work.call("kms", "EnableKey" if enabled else "DisableKey", key)

    async def update(self, work: Work) -> Params:
        key, given, old = {"KeyId": work.physical_id}, work.properties, work.old
        fixed = [
            name for name in ("KeySpec", "KeyUsage", "MultiRegion", "Origin") if given.get(name) != old.get(name)
        ]
        if fixed:
            raise Failure(f"You cannot change {', '.join(fixed)} of a key.", "NotUpdatable")
        if given.get("KeyPolicy") and given.get("KeyPolicy") != old.get("KeyPolicy"):
            params: Params = {"PolicyName": "default", "Policy": text(given["KeyPolicy"])}
            if given.get("BypassPolicyLockoutSafetyCheck"):
                params["BypassPolicyLockoutSafetyCheck"] = True
            await work.call("kms", "PutKeyPolicy", key | params)
        if given.get("Description", "") != old.get("Description", ""):
            await work.call("kms", "UpdateKeyDescription", key | {"Description": given.get("Description", "")})
        await self.configure(work)
        wanted = work.all_tags()
        await work.call("kms", "TagResource", key | {"Tags": self._tags(work)})
        stale = [each["Key"] for each in old.get("Tags") or [] if each["Key"] not in wanted]
        if stale:
            await work.call("kms", "UntagResource", key | {"TagKeys": stale})
        return {}

    async def read(self, work: Work) -> Params:
        found = (await work.call("kms", "DescribeKey", {"KeyId": work.physical_id}))["KeyMetadata"]
        return {"KeyId": work.physical_id, "Arn": found["Arn"]}

    async def delete(self, work: Work) -> None:
        params: dict[str, Any] = {"KeyId": work.physical_id}
        if work.properties.get("PendingWindowInDays") is not None:
            params["PendingWindowInDays"] = int(work.properties["PendingWindowInDays"])
        found = (await work.call("kms", "DescribeKey", {"KeyId": work.physical_id}))["KeyMetadata"]
        if found.get("KeyState") != "PendingDeletion":
            await work.call("kms", "ScheduleKeyDeletion", params)


class Alias(Declared):
    type = "AWS::KMS::Alias"
    service = "kms"
    name_property = "AliasName"
    creates = Call("CreateAlias", {"AliasName": "$name"})
    listing = Listing(Call("ListAliases", {}, "Aliases"), "AliasName", {"AliasName": "$name"}, unique=True)
    updates = (Call("UpdateAlias", {"AliasName": "$id"}),)
    deletes = Call("DeleteAlias", {"AliasName": "$id"})
