"""Pieces of templates that the scenarios share."""

from __future__ import annotations

from typing import Any

from portside.cloud.protocol.errors import AwsError


def definition(image: str, **more: Any) -> dict[str, Any]:
    container = {"Name": "app", "Image": image, "Memory": "256", "PortMappings": [{"ContainerPort": 3000}]}
    return {"Type": "AWS::ECS::TaskDefinition", "Properties": {"ContainerDefinitions": [container]} | more}


def service(**properties: Any) -> dict[str, Any]:
    return {"Type": "AWS::ECS::Service", "Properties": {"TaskDefinition": {"Ref": "Definition"}} | properties}


def topic(**properties: Any) -> dict[str, Any]:
    return {"Type": "AWS::SNS::Topic", "Properties": properties}


def refuse(code: str, message: str, status: int = 400) -> Any:
    """What a broken service does instead."""

    def raises(params: Any) -> None:
        raise AwsError(code, message, status)

    return raises
