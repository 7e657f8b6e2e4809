"""Policies that AWS once managed and has retired, so that moto no longer knows them.

Owns their names and what stands for each. AWS refuses to attach them anew, but templates of their time name them,
and run here as they are: a retired policy allows what its successor does.
"""

from __future__ import annotations

import functools
import json

# Retired policy -> the one that AWS names as its successor, each as in its ARN after `policy/`.
SUCCESSORS = {
    "AWSCloudTrailFullAccess": "AWSCloudTrail_FullAccess",
    "AWSCloudTrailReadOnlyAccess": "AWSCloudTrail_ReadOnlyAccess",
    "AWSCodePipelineFullAccess": "AWSCodePipeline_FullAccess",
    "AWSCodePipelineReadOnlyAccess": "AWSCodePipeline_ReadOnlyAccess",
    "AWSElasticBeanstalkFullAccess": "AdministratorAccess-AWSElasticBeanstalk",
    "AWSElasticBeanstalkReadOnlyAccess": "AWSElasticBeanstalkReadOnly",
    "AWSLambdaFullAccess": "AWSLambda_FullAccess",
    "AWSLambdaReadOnlyAccess": "AWSLambda_ReadOnlyAccess",
    "AmazonEC2ContainerServiceFullAccess": "AmazonECS_FullAccess",
    "ServiceCatalogAdminFullAccess": "AWSServiceCatalogAdminFullAccess",
    "ServiceCatalogEndUserFullAccess": "AWSServiceCatalogEndUserFullAccess",
    "service-role/AWSConfigRole": "AWS_ConfigRole",
    "service-role/AmazonEC2SpotFleetRole": "AmazonEC2SpotFleetTaggingRole",
}


@functools.cache
def install() -> None:
    """Before moto makes its first IAM state, in which it copies the managed policies."""
    from moto.iam import models

    known = json.loads(models.aws_managed_policies_data)
    # At the end: what moto itself knows stays as it is.
    for policy, successor in SUCCESSORS.items():
        path, _, name = policy.rpartition("/")
        if name not in known:
            known[name] = known[successor] | {"Path": f"/{path}/" if path else "/"}
    models.aws_managed_policies_data = json.dumps(known)
