"""Policies that AWS once managed and has retired, so that moto no longer knows them.

Owns their names and what stands for each. AWS refuses to attach them anew, but templates of their time name them,
and run here as they are: a retired policy allows what its successor does.
"""

from __future__ import annotations

import functools
import json

# Retired name -> the policy that AWS names as its successor.
SUCCESSORS = {
    "AWSCodePipelineReadOnlyAccess": "AWSCodePipeline_ReadOnlyAccess",
    "AWSCodePipelineFullAccess": "AWSCodePipeline_FullAccess",
    "AmazonEC2ContainerServiceFullAccess": "AmazonECS_FullAccess",
}


@functools.cache
def install() -> None:
    """Before moto makes its first IAM state, in which it copies the managed policies."""
    from moto.iam import models

    known = json.loads(models.aws_managed_policies_data)
    # At the end, and without a path: all of them were directly under policy/.
    known |= {old: known[new] | {"Path": "/"} for old, new in SUCCESSORS.items() if old not in known}
    models.aws_managed_policies_data = json.dumps(known)
