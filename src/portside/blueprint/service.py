"""The service stack: the app's task definition, and the service that keeps its tasks alive."""

from __future__ import annotations

from troposphere import GetAtt, ImportValue, Join, Output, Parameter, Ref, Select, Split, Sub, Template
from troposphere.applicationautoscaling import (
    PredefinedMetricSpecification,
    ScalableTarget,
    ScalingPolicy,
    TargetTrackingScalingPolicyConfiguration,
)
from troposphere.ecs import (
    ContainerDefinition,
    DeploymentCircuitBreaker,
    DeploymentConfiguration,
    LoadBalancer,
    LogConfiguration,
    PlacementStrategy,
    PortMapping,
    TaskDefinition,
)
from troposphere.ecs import Environment as Variable
from troposphere.ecs import Service as EcsService
from troposphere.logs import LogGroup

from portside.blueprint import roles
from portside.blueprint.app import App, repository_export
from portside.blueprint.imports import from_environment
from portside.blueprint.settings import Scaling

# `latest` says nothing about what runs, and an update to it is no change at all.
TAG_PATTERN = r"(?!latest$)[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"


def template(app: App, environment: str) -> Template:
    service = app.settings.service
    made = Template()
    made.set_version("2010-09-09")
    made.set_description("One app as an ECS service behind its environment's load balancer.")
    tag = made.add_parameter(
        Parameter(
            "Tag",
            Type="String",
            Description="Tag of the image to run: a commit, or anything else that never moves.",
            AllowedPattern=TAG_PATTERN,
            ConstraintDescription="an image tag other than latest",
        )
    )
    logs = made.add_resource(LogGroup("LogGroup", RetentionInDays=service.log_retention))
    repository = ImportValue(repository_export(app))
    execution = made.add_resource(
        roles.execution_role(
            logs,
            Sub(
                "arn:${AWS::Partition}:ecr:${AWS::Region}:${AWS::AccountId}:repository/${Repository}",
                Repository=repository,
            ),
        )
    )
    definition = made.add_resource(
        TaskDefinition(
            "TaskDefinition",
            Family=Ref("AWS::StackName"),
            **({"TaskRoleArn": GetAtt(made.add_resource(roles.task_role()), "Arn")} if service.exec else {}),
            ExecutionRoleArn=GetAtt(execution, "Arn"),
            ContainerDefinitions=[
                ContainerDefinition(
                    Name=app.name,
                    Image=Join(
                        "",
                        [
                            Sub("${AWS::AccountId}.dkr.ecr.${AWS::Region}.${AWS::URLSuffix}/"),
                            repository,
                            ":",
                            Ref(tag),
                        ],
                    ),
                    Cpu=service.cpu,
                    Memory=service.memory,
                    MemoryReservation=service.memory_reservation,
                    Essential=True,
                    PortMappings=[PortMapping(ContainerPort=service.port, HostPort=0, Protocol="tcp")],
                    Environment=[
                        Variable(Name=name, Value=value)
                        for name, value in sorted(app.variables(environment).items())
                    ],
                    LogConfiguration=LogConfiguration(
                        LogDriver="awslogs",
                        Options={
                            "awslogs-group": Ref(logs),
                            "awslogs-region": Ref("AWS::Region"),
                            "awslogs-stream-prefix": app.name,
                            # Said aloud, for the default changed in 2025: output never holds the app up.
                            "mode": "non-blocking",
                            "max-buffer-size": "4m",
                        },
                    ),
                )
            ],
        )
    )
    made.add_resource(
        EcsService(
            "Service",
            Cluster=from_environment("cluster-id"),
            TaskDefinition=Ref(definition),
            # With scaling the count is not the template's: an update would put it back.
            **({} if service.scaling else {"DesiredCount": app.count(environment)}),
            DeploymentConfiguration=DeploymentConfiguration(
                MinimumHealthyPercent=100,
                MaximumPercent=200,
                DeploymentCircuitBreaker=DeploymentCircuitBreaker(Enable=True, Rollback=True),
            ),
            HealthCheckGracePeriodSeconds=service.health_check.grace_period,
            LoadBalancers=[
                LoadBalancer(
                    TargetGroupArn=from_environment("alb-target-group"),
                    ContainerName=app.name,
                    ContainerPort=service.port,
                )
            ],
            PlacementStrategies=[
                PlacementStrategy(Type="spread", Field="attribute:ecs.availability-zone"),
                PlacementStrategy(Type="binpack", Field="memory"),
            ],
            PropagateTags="SERVICE",
            **({"EnableExecuteCommand": True} if service.exec else {}),
        )
    )
    if service.scaling is not None:
        _scale(made, service.scaling)
    made.add_output(Output("LogGroup", Description="Where the output goes.", Value=Ref(logs)))
    made.add_output(Output("ServiceName", Description="Name of the service.", Value=GetAtt("Service", "Name")))
    return made


def _scale(made: Template, scaling: Scaling) -> None:
    """The number of tasks follows what they use, and the requests that they get."""
    target = made.add_resource(
        ScalableTarget(
            "ScalableTarget",
            ServiceNamespace="ecs",
            ScalableDimension="ecs:service:DesiredCount",
            ResourceId=Join("/", ["service", from_environment("cluster-id"), GetAtt("Service", "Name")]),
            MinCapacity=scaling.min,
            MaxCapacity=scaling.max,
        )
    )
    if scaling.cpu is not None:
        metric = PredefinedMetricSpecification(PredefinedMetricType="ECSServiceAverageCPUUtilization")
        _track(made, "ScaleByCpu", target, scaling.cpu, metric)
    if scaling.requests is not None:
        group = Select(5, Split(":", from_environment("alb-target-group")))
        metric = PredefinedMetricSpecification(
            PredefinedMetricType="ALBRequestCountPerTarget",
            ResourceLabel=Join("/", [from_environment("alb-load-balancer"), group]),
        )
        _track(made, "ScaleByRequests", target, scaling.requests, metric)


def _track(
    made: Template, name: str, target: ScalableTarget, value: int, metric: PredefinedMetricSpecification
) -> None:
    made.add_resource(
        ScalingPolicy(
            name,
            PolicyName=name,
            PolicyType="TargetTrackingScaling",
            ScalingTargetId=Ref(target),
            TargetTrackingScalingPolicyConfiguration=TargetTrackingScalingPolicyConfiguration(
                TargetValue=value, PredefinedMetricSpecification=metric
            ),
        )
    )
