"""How a stack finds what another stack of its environment exports: by the first word of its own name.

`staging-alb` imports `staging-cluster-vpc-id`. Names of environments have no hyphen (settings.py), so the first
word is the whole environment.
"""

from __future__ import annotations

from troposphere import ImportValue, Join, Ref, Select, Split


def from_environment(suffix: str) -> ImportValue:
    """The export `<environment>-<suffix>`."""
    environment = Select(0, Split("-", Ref("AWS::StackName")))
    return ImportValue(Join("-", [environment, suffix]))
