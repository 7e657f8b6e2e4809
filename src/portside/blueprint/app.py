"""An app in an environment: the one place that computes names.

Everything that is named after the app or the environment (stacks, repository, exports) gets its name here, so
that the command line, the pipeline and the templates can never disagree.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from portside.blueprint.settings import Environment, Settings


@dataclass(frozen=True, slots=True)
class App:
    settings: Settings

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def repository(self) -> str:
        return self.settings.name

    @property
    def repository_stack(self) -> str:
        return f"{self.name}-ecr"

    def cluster_stack(self, environment: str) -> str:
        return f"{environment}-cluster"

    def load_balancer_stack(self, environment: str) -> str:
        return f"{environment}-alb"

    def service_stack(self, environment: str) -> str:
        return f"{environment}-{self.name}-service"

    @property
    def build_stack(self) -> str:
        return f"{self.name}-codebuild"

    @property
    def pipeline_stack(self) -> str:
        return f"{self.name}-codepipeline"

    def in_repository(self, *parts: str) -> str:
        """A path below the app's directory, as seen from the root of its repository."""
        directory = self.settings.pipeline.directory if self.settings.pipeline else "."
        return posixpath.normpath(posixpath.join(directory, *parts))

    def service_template(self, environment: str) -> str:
        """Where the repository holds the template of an environment's service stack."""
        templates = self.settings.pipeline.templates if self.settings.pipeline else "templates"
        return self.in_repository(templates, f"{self.service_stack(environment)}.template")

    def environment(self, name: str) -> Environment:
        return self.settings.environments[name]

    def count(self, environment: str) -> int:
        chosen = self.environment(environment).count
        return self.settings.service.count if chosen is None else chosen

    def instance_type(self, environment: str) -> str:
        return self.environment(environment).instance_type or self.settings.cluster.instance_type

    def variables(self, environment: str) -> dict[str, str]:
        return self.settings.service.environment | self.environment(environment).environment


def repository_export(app: App) -> str:
    return f"{app.repository}-repo"


def build_project_export(app: App) -> str:
    return f"{app.build_stack}-project"


def build_role_export(app: App) -> str:
    return f"{app.build_stack}-role"
