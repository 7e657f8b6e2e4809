"""The repository stack: one ECR repository, shared by all environments."""

from __future__ import annotations

import json

from troposphere import Export, GetAtt, Output, Parameter, Ref, Sub, Template
from troposphere.ecr import (
    ImageScanningConfiguration,
    ImageTagMutabilityExclusionFilter,
    LifecyclePolicy,
    Repository,
)

# Untagged images are what is left of interrupted pushes. Tagged ones stay: deleting a digest that a service is
# pinned to breaks its next scale-out.
UNTAGGED_DAYS = 14
# The one tag that moves: the build points it at what was built last. Nothing is deployed by it.
MOVING = "latest"


def template() -> Template:
    made = Template()
    made.set_version("2010-09-09")
    made.set_description("Image repository of one app, shared by its environments.")
    name = made.add_parameter(
        Parameter(
            "RepoName",
            Type="String",
            Description="Name of the repository.",
            AllowedPattern="[a-z0-9]+([._/-][a-z0-9]+)*",
            ConstraintDescription="lower-case letters, digits and single . _ / - between them",
        )
    )
    repository = made.add_resource(
        Repository(
            "Repository",
            RepositoryName=Ref(name),
            ImageTagMutability="IMMUTABLE_WITH_EXCLUSION",
            ImageTagMutabilityExclusionFilters=[
                ImageTagMutabilityExclusionFilter(
                    ImageTagMutabilityExclusionFilterType="WILDCARD", ImageTagMutabilityExclusionFilterValue=MOVING
                )
            ],
            ImageScanningConfiguration=ImageScanningConfiguration(ScanOnPush=True),
            LifecyclePolicy=LifecyclePolicy(LifecyclePolicyText=json.dumps(_lifecycle(), separators=(",", ":"))),
        )
    )
    made.add_output(
        Output(
            "RepositoryName",
            Description="Name of the repository.",
            Value=Ref(repository),
            Export=Export(Sub("${RepoName}-repo")),
        )
    )
    made.add_output(
        Output("RepositoryUri", Description="Where to push.", Value=GetAtt(repository, "RepositoryUri"))
    )
    return made


def _lifecycle() -> dict[str, object]:
    return {
        "rules": [
            {
                "rulePriority": 1,
                "description": "Expire what interrupted pushes left behind",
                "selection": {
                    "tagStatus": "untagged",
                    "countType": "sinceImagePushed",
                    "countUnit": "days",
                    "countNumber": UNTAGGED_DAYS,
                },
                "action": {"type": "expire"},
            }
        ]
    }
