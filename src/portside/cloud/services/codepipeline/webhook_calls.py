"""Webhooks: stored and readable, so that templates with one can be made.

Nothing outside reaches this machine, so none is ever called: pipelines start by what is seen in the checkout
that is bound to the repository. Registering one with GitHub is not offered.
"""

from __future__ import annotations

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Params, operation
from portside.cloud.services.codepipeline import rows
from portside.cloud.services.codepipeline.base import Operations, page, shown_tags, tags_of
from portside.cloud.services.codepipeline.records import Webhook
from portside.cloud.services.codepipeline.structure import MASK, without_none


class WebhookCalls(Operations):
    @operation("PutWebhook")
    def put_webhook(self, caller: Caller, params: Params) -> Params:
        given = without_none(params["webhook"])
        authentication = dict(given.get("authenticationConfiguration") or {})
        kind = given["authentication"]
        needed = {"GITHUB_HMAC": "SecretToken", "IP": "AllowedIPRange"}.get(kind)
        if needed is not None and not authentication.get(needed):
            raise AwsError("InvalidWebhookAuthenticationParametersException", f"{kind} needs {needed}.")
        pipeline = self._pipeline(caller, given["targetPipeline"])
        structure = self._structure(pipeline)
        if not any(each.name == given["targetAction"] for each in structure.sources):
            raise AwsError(
                "ValidationException",
                f"Pipeline {pipeline.name} has no source action {given['targetAction']}.",
            )
        secret = authentication.get("SecretToken", "")
        if secret:
            authentication["SecretToken"] = MASK
        tags = tags_of(params.get("tags"))
        made = Webhook(
            caller.region, given["name"], given | {"authenticationConfiguration": authentication}, secret, tags
        )
        with self._db.write() as tx:
            rows.save_webhook(tx, made)
        return {"webhook": _shown(caller, made)}

    @operation("ListWebhooks")
    def list_webhooks(self, caller: Caller, params: Params) -> Params:
        found, token = page(rows.webhooks(self._db, caller.region), params, 100, upper=True)
        return {"webhooks": [_shown(caller, each) for each in found], "NextToken": token}

    @operation("DeleteWebhook")
    def delete_webhook(self, caller: Caller, params: Params) -> Params:
        with self._db.write() as tx:
            rows.delete_webhook(tx, caller.region, params["name"])
        return {}


def _shown(caller: Caller, each: Webhook) -> Params:
    region, account = each.region, caller.account
    return {
        "definition": each.definition,
        "url": f"https://{region}.webhooks.aws/trigger?v=1&name={each.name}",
        "arn": f"arn:aws:codepipeline:{region}:{account}:webhook:{each.name}",
        "tags": shown_tags(each.tags),
    }
