"""The ECR API: registries, repositories, and what is configured on them.

Validates, writes and answers. The operations on images are in `image_operations.py`, those on layers in
`layer_operations.py`; both are parts of `EcrApi`. Lifecycle policies are checked and kept, but not evaluated: no
image is expired by one. Scanning settings are kept, nothing is scanned.
"""

from __future__ import annotations

import base64
from dataclasses import replace

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import Log
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Params, Service, operation, operations_of
from portside.cloud.services.ecr import records
from portside.cloud.services.ecr.answers import (
    broken_constraint,
    described_repository,
    in_registry,
    invalid,
    page,
    repository_of,
    where,
)
from portside.cloud.services.ecr.blobs import Blobs
from portside.cloud.services.ecr.catalogue import Catalogue
from portside.cloud.services.ecr.image_operations import ImageOperations
from portside.cloud.services.ecr.layer_operations import LayerOperations
from portside.cloud.services.ecr.names import is_repository, registry_host
from portside.cloud.services.ecr.policies import lifecycle_fault, policy_fault
from portside.cloud.services.ecr.records import Repository
from portside.cloud.services.ecr.tokens import LIFETIME, USER, Tokens

_NAME_RULE = (
    "must satisfy regular expression '[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*(\\/[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*)*'"
)
MOST_TAGS = 50


class EcrApi(ImageOperations, LayerOperations):
    """Answers the operations of ECR. `catalogue` is shared with the registry."""

    def __init__(self, *, database: Database, blobs: Blobs, ids: Ids, clock: Clock, log: Log) -> None:
        self.catalogue = self._catalogue = Catalogue(database, blobs, ids, clock)
        self._tokens = Tokens(self._catalogue.key)
        self._database = database
        self._ids = ids
        self._clock = clock
        self._log = log.bind(service="ecr")

    def service(self) -> Service:
        return Service("ecr", operations_of(self), invalid=invalid)

    @operation("GetAuthorizationToken")
    def get_authorization_token(self, caller: Caller, params: Params) -> Params:
        expires = self._clock.now() + LIFETIME
        password = self._tokens.password(expires, self._ids.hex(16), caller.access_key if caller.role else "")
        token = base64.b64encode(f"{USER}:{password}".encode()).decode()
        registries = params.get("registryIds") or [caller.account]
        return {
            "authorizationData": [
                {
                    "authorizationToken": token,
                    "expiresAt": expires,
                    "proxyEndpoint": f"https://{registry_host(registry, caller.region)}",
                }
                for registry in registries
            ]
        }

    # Repositories

    @operation("CreateRepository")
    def create_repository(self, caller: Caller, params: Params) -> Params:
        name = str(params["repositoryName"])
        if not is_repository(name):
            raise broken_constraint("repositoryName", _NAME_RULE)
        tags = _tags(params.get("tags") or [])
        record = Repository(
            region=caller.region,
            name=name,
            created_at=self._clock.now(),
            scan_on_push=bool((params.get("imageScanningConfiguration") or {}).get("scanOnPush")),
            encryption=tuple((params.get("encryptionConfiguration") or {"encryptionType": "AES256"}).items()),
            tags=tags,
        )
        record = _with_mutability(record, params)
        with self._database.write() as tx:
            if records.repository(tx, caller.region, name) is not None:
                raise AwsError(
                    "RepositoryAlreadyExistsException",
                    f"The repository with name '{name}' already exists in the registry with id '{caller.account}'",
                )
            records.store_repository(tx, record)
        self._log.info("repository created", repository=name, region=caller.region)
        return {"repository": described_repository(caller, record)}

    @operation("DescribeRepositories")
    def describe_repositories(self, caller: Caller, params: Params) -> Params:
        if params.get("repositoryNames"):
            named = [
                repository_of(self._database, caller, {**params, "repositoryName": name})
                for name in params["repositoryNames"]
            ]
            return {"repositories": [described_repository(caller, each) for each in named]}
        found = [
            described_repository(caller, each) for each in records.repositories(self._database, caller.region)
        ]
        shown, token = page(found, params)
        return {"repositories": shown, "nextToken": token}

    @operation("DeleteRepository")
    def delete_repository(self, caller: Caller, params: Params) -> Params:
        record = repository_of(self._database, caller, params)
        if not params.get("force") and records.images(self._database, record.region, record.name):
            raise AwsError(
                "RepositoryNotEmptyException",
                f"The repository with name '{record.name}' in registry with id '{caller.account}' cannot be"
                " deleted because it still contains images",
            )
        self._catalogue.delete_repository(record)
        self._log.info("repository deleted", repository=record.name, region=record.region)
        answer = described_repository(caller, record)
        return {
            "repository": {k: v for k, v in answer.items() if k not in ("imageScanningConfiguration",)},
        }

    @operation("PutImageTagMutability")
    def put_image_tag_mutability(self, caller: Caller, params: Params) -> Params:
        record = _with_mutability(repository_of(self._database, caller, params), params)
        self._store(record)
        answer = described_repository(caller, record)
        keys = (
            "registryId",
            "repositoryName",
            "imageTagMutability",
            "imageTagMutabilityExclusionFilters",
        )
        return {key: answer[key] for key in keys if key in answer}

    @operation("PutImageScanningConfiguration")
    def put_image_scanning_configuration(self, caller: Caller, params: Params) -> Params:
        record = repository_of(self._database, caller, params)
        on_push = bool(params["imageScanningConfiguration"].get("scanOnPush"))
        self._store(replace(record, scan_on_push=on_push))
        return where(caller, record) | {"imageScanningConfiguration": {"scanOnPush": on_push}}

    # Policies

    @operation("SetRepositoryPolicy")
    def set_repository_policy(self, caller: Caller, params: Params) -> Params:
        record = repository_of(self._database, caller, params)
        text = str(params["policyText"])
        fault = policy_fault(text)
        if fault is not None:
            raise broken_constraint("PolicyText", f"Invalid repository policy provided: {fault}")
        self._store(replace(record, policy=text))
        return where(caller, record) | {"policyText": text}

    @operation("GetRepositoryPolicy")
    def get_repository_policy(self, caller: Caller, params: Params) -> Params:
        record = repository_of(self._database, caller, params)
        return where(caller, record) | {"policyText": self._policy(caller, record)}

    @operation("DeleteRepositoryPolicy")
    def delete_repository_policy(self, caller: Caller, params: Params) -> Params:
        record = repository_of(self._database, caller, params)
        text = self._policy(caller, record)
        self._store(replace(record, policy=None))
        return where(caller, record) | {"policyText": text}

    @operation("PutLifecyclePolicy")
    def put_lifecycle_policy(self, caller: Caller, params: Params) -> Params:
        record = repository_of(self._database, caller, params)
        text = str(params["lifecyclePolicyText"])
        fault = lifecycle_fault(text)
        if fault is not None:
            raise broken_constraint("LifecyclePolicyText", f"Lifecycle policy validation failure: {fault}")
        self._store(replace(record, lifecycle=text))
        return where(caller, record) | {"lifecyclePolicyText": text}

    @operation("GetLifecyclePolicy")
    def get_lifecycle_policy(self, caller: Caller, params: Params) -> Params:
        record = repository_of(self._database, caller, params)
        return where(caller, record) | {"lifecyclePolicyText": self._lifecycle(caller, record)}

    @operation("DeleteLifecyclePolicy")
    def delete_lifecycle_policy(self, caller: Caller, params: Params) -> Params:
        record = repository_of(self._database, caller, params)
        text = self._lifecycle(caller, record)
        self._store(replace(record, lifecycle=None))
        return where(caller, record) | {"lifecyclePolicyText": text}

    # Tags

    @operation("TagResource")
    def tag_resource(self, caller: Caller, params: Params) -> Params:
        record = self._by_arn(caller, params)
        self._store(replace(record, tags=_tags(params["tags"], dict(record.tags))))
        return {}

    @operation("UntagResource")
    def untag_resource(self, caller: Caller, params: Params) -> Params:
        record = self._by_arn(caller, params)
        kept = tuple((key, value) for key, value in record.tags if key not in params["tagKeys"])
        self._store(replace(record, tags=kept))
        return {}

    @operation("ListTagsForResource")
    def list_tags_for_resource(self, caller: Caller, params: Params) -> Params:
        record = self._by_arn(caller, params)
        return {"tags": [{"Key": key, "Value": value} for key, value in record.tags]}

    def _by_arn(self, caller: Caller, params: Params) -> Repository:
        arn = str(params["resourceArn"])
        prefix = f"arn:aws:ecr:{caller.region}:{caller.account}:repository/"
        if not arn.startswith(prefix):
            raise broken_constraint("resourceArn", f"must be the ARN of a repository: {prefix}name")
        return repository_of(self._database, caller, {"repositoryName": arn.removeprefix(prefix)})

    def _policy(self, caller: Caller, record: Repository) -> str:
        if record.policy is None:
            raise AwsError(
                "RepositoryPolicyNotFoundException",
                f"Repository policy does not exist for {in_registry(caller, record)}",
            )
        return record.policy

    def _lifecycle(self, caller: Caller, record: Repository) -> str:
        if record.lifecycle is None:
            raise AwsError(
                "LifecyclePolicyNotFoundException",
                f"Lifecycle policy does not exist for the repository with name '{record.name}' in the registry"
                f" with id '{caller.account}'",
            )
        return record.lifecycle

    def _store(self, record: Repository) -> None:
        with self._database.write() as tx:
            records.store_repository(tx, record)


def _with_mutability(record: Repository, params: Params) -> Repository:
    mutability = str(params.get("imageTagMutability") or "MUTABLE")
    filters = params.get("imageTagMutabilityExclusionFilters") or []
    if filters and not mutability.endswith("_WITH_EXCLUSION"):
        raise broken_constraint(
            "imageTagMutabilityExclusionFilters", f"must not be given with imageTagMutability {mutability}"
        )
    if mutability.endswith("_WITH_EXCLUSION") and not filters:
        raise broken_constraint(
            "imageTagMutabilityExclusionFilters", f"must be given with imageTagMutability {mutability}"
        )
    return replace(record, mutability=mutability, exclusions=tuple(str(each["filter"]) for each in filters))


def _tags(given: list[Params], present: dict[str, str] | None = None) -> tuple[tuple[str, str], ...]:
    keys = [str(tag["Key"]) for tag in given]
    if len(set(keys)) != len(keys):
        raise AwsError("InvalidTagParameterException", "Tag keys must be unique")
    tags = (present or {}) | {str(tag["Key"]): str(tag.get("Value") or "") for tag in given}
    if len(tags) > MOST_TAGS:
        raise AwsError("TooManyTagsException", f"A repository may have {MOST_TAGS} tags at most")
    return tuple(tags.items())
