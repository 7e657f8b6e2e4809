"""Which actions and rules are offered, which configuration each takes, and how many artifacts.

Pure tables, after the action references of AWS. What is not in them is refused when a pipeline is handed in.
"""

from __future__ import annotations

from dataclasses import dataclass

HOUR = 60


@dataclass(frozen=True, slots=True)
class Offer:
    """Counts are pairs of least and most; `timeout` in minutes, where a pipeline sets none."""

    required: frozenset[str]
    optional: frozenset[str] = frozenset()
    inputs: tuple[int, int] = (0, 0)
    outputs: tuple[int, int] = (0, 0)
    timeout: int = HOUR

    @property
    def known(self) -> frozenset[str]:
        return self.required | self.optional


def _keys(text: str) -> frozenset[str]:
    return frozenset(text.split())


_CODEBUILD = Offer(
    _keys("ProjectName"),
    _keys("PrimarySource BatchEnabled CombineArtifacts EnvironmentVariables"),
    (1, 5),
    (0, 5),
    timeout=8 * HOUR,
)

# (category, owner, provider)
ACTIONS: dict[tuple[str, str, str], Offer] = {
    ("Source", "AWS", "CodeStarSourceConnection"): Offer(
        _keys("ConnectionArn FullRepositoryId BranchName"),
        _keys("OutputArtifactFormat DetectChanges"),
        outputs=(1, 1),
    ),
    ("Source", "ThirdParty", "GitHub"): Offer(
        _keys("Owner Repo Branch OAuthToken"), _keys("PollForSourceChanges"), outputs=(1, 1)
    ),
    ("Source", "AWS", "CodeCommit"): Offer(
        _keys("RepositoryName BranchName"), _keys("PollForSourceChanges OutputArtifactFormat"), outputs=(1, 1)
    ),
    ("Source", "AWS", "S3"): Offer(
        _keys("S3Bucket S3ObjectKey"), _keys("PollForSourceChanges AllowOverrideForS3ObjectKey"), outputs=(1, 1)
    ),
    ("Source", "AWS", "ECR"): Offer(_keys("RepositoryName"), _keys("ImageTag"), outputs=(1, 1)),
    ("Build", "AWS", "CodeBuild"): _CODEBUILD,
    ("Test", "AWS", "CodeBuild"): _CODEBUILD,
    ("Deploy", "AWS", "CloudFormation"): Offer(
        _keys("ActionMode StackName"),
        _keys(
            "RoleArn ChangeSetName TemplatePath TemplateConfiguration Capabilities ParameterOverrides "
            "OutputFileName"
        ),
        (0, 10),
        (0, 1),
        timeout=3 * 24 * HOUR,
    ),
    ("Deploy", "AWS", "ECS"): Offer(
        _keys("ClusterName ServiceName"), _keys("FileName DeploymentTimeout"), (1, 1), timeout=HOUR
    ),
    ("Deploy", "AWS", "S3"): Offer(
        _keys("BucketName Extract"), _keys("ObjectKey KMSEncryptionKeyARN CannedACL CacheControl"), (1, 1)
    ),
    # Made, and refused when their turn comes (`actions/codedeploy.py`).
    ("Deploy", "AWS", "CodeDeploy"): Offer(_keys("ApplicationName DeploymentGroupName"), inputs=(1, 1)),
    ("Deploy", "AWS", "CodeDeployToECS"): Offer(
        _keys("ApplicationName DeploymentGroupName TaskDefinitionTemplateArtifact AppSpecTemplateArtifact"),
        _keys(
            "TaskDefinitionTemplatePath AppSpecTemplatePath Image1ArtifactName Image1ContainerName "
            "Image2ArtifactName Image2ContainerName Image3ArtifactName Image3ContainerName Image4ArtifactName "
            "Image4ContainerName"
        ),
        inputs=(1, 5),
    ),
    ("Approval", "AWS", "Manual"): Offer(
        frozenset(), _keys("NotificationArn ExternalEntityLink CustomData"), timeout=7 * 24 * HOUR
    ),
}

# Actions of AWS's that are refused by name, so that nobody takes it for a slip of the pen.
UNOFFERED = frozenset(
    {
        "Lambda", "Commands", "ElasticBeanstalk", "ServiceCatalog", "OpsWorks",
        "StepFunctions", "CodePipeline", "AppConfig", "DeviceFarm", "Jenkins", "Snyk", "CloudFormationStackSet",
        "CloudFormationStackInstances", "AlexaSkillsKit", "EC2", "EKS", "ECRBuildAndPublish", "InspectorScan",
        "CodeStarConnections", "Bitbucket", "TeamCity", "GhostInspector", "BlazeMeter", "XebiaLabs", "Inspector",
    }
)  # fmt: skip

# Values of keys that take only some, and numbers with their bounds.
CHOICES: dict[tuple[str, str], frozenset[str]] = {
    ("CloudFormation", "ActionMode"): _keys(
        "CREATE_UPDATE REPLACE_ON_FAILURE DELETE_ONLY CHANGE_SET_REPLACE CHANGE_SET_EXECUTE"
    ),
    ("CodeStarSourceConnection", "OutputArtifactFormat"): _keys("CODE_ZIP CODEBUILD_CLONE_REF"),
    ("CodeCommit", "OutputArtifactFormat"): _keys("CODE_ZIP CODEBUILD_CLONE_REF"),
}
BOOLEANS = _keys(
    "PollForSourceChanges DetectChanges Extract BatchEnabled CombineArtifacts AllowOverrideForS3ObjectKey"
)

# Longer than the 1,000 characters that other values may have.
LONG_VALUES = _keys("EnvironmentVariables ParameterOverrides")
LONGEST_VALUE = 1000
LONGEST_LONG_VALUE = 10_000

RULES: dict[str, Offer] = {
    "VariableCheck": Offer(_keys("Variable Operator"), _keys("Value")),
    "CloudWatchAlarm": Offer(_keys("AlarmName"), _keys("AlarmStates WaitTime")),
    "DeploymentWindow": Offer(_keys("Cron"), _keys("TimeZone")),
}
UNOFFERED_RULES = frozenset({"LambdaInvoke", "Commands", "CodeBuild"})
OPERATORS = _keys("EQ NE CONTAINS MATCHES")
