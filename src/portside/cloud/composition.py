"""Every service of the cloud, made when it is first asked for, or at start if it has been in use before.

The only place that knows all services; what they run on is picked in `machine/parts.py`. A service's code is
imported with its first call, in a thread, so that an idle cloud is small and up in a moment. What several of them
share is here too: the engine, the checkouts that stand for repositories, the certificates, the surroundings of
containers.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from portside.cloud.gateway.dispatch import Dispatcher
from portside.cloud.gateway.server import Server
from portside.cloud.kernel.clock import Clock, Pace
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import Log
from portside.cloud.machine.addresses import Addresses
from portside.cloud.machine.git import GitRepositories
from portside.cloud.machine.parts import Machine
from portside.cloud.services.ancillary import Ancillary
from portside.cloud.services.calls import Service
from portside.cloud.services.iam.access import Access
from portside.cloud.services.sts.api import StsApi
from portside.cloud.settings import CloudSettings, Home

if TYPE_CHECKING:
    from portside.cloud.machine.engine import Engine
    from portside.cloud.machine.resolver import Address
    from portside.cloud.services.applicationautoscaling.service import ApplicationAutoScaling
    from portside.cloud.services.certificates.store import CertificateStore
    from portside.cloud.services.cloudformation.api import CloudFormationApi
    from portside.cloud.services.codebuild.service import CodeBuild
    from portside.cloud.services.ecr.service import Ecr
    from portside.cloud.services.ecs.agent_pages import AgentPages
    from portside.cloud.services.ecs.orchestrator import Ecs
    from portside.cloud.services.elbv2.service import Elb
    from portside.cloud.services.repositories.service import Bindings
    from portside.cloud.services.scaling.triggers import Trigger
    from portside.cloud.surroundings import Surroundings


@dataclass(frozen=True, slots=True)
class Ground:
    """What every service stands on. `id` is the cloud's."""

    home: Home
    settings: CloudSettings
    clock: Clock
    ids: Ids
    log: Log
    pace: Pace
    machine: Machine
    database: Database
    id: str
    addresses: Addresses
    ancillary: Ancillary
    access: Access
    checkouts: GitRepositories


class Services:
    """`dispatcher` gives each call to its service. `server` tells where the cloud can be reached."""

    def __init__(self, ground: Ground, server: Callable[[], Server]) -> None:
        self._ground = ground
        self._server = server
        makers: dict[str, Callable[[], Awaitable[Service]]] = {
            "ecr": self._make_ecr,
            "logs": self._make_logs,
            "elbv2": self._make_elbv2,
            "ecs": self._make_ecs,
            "codebuild": self._make_codebuild,
            "cloudformation": self._make_cloudformation,
            "acm": self._make_acm,
            "iam": self._make_iam,
            "cloudwatch": self._make_cloudwatch,
            "autoscaling": self._make_autoscaling,
            "application-autoscaling": self._make_application_autoscaling,
            "codedeploy": self._make_codedeploy,
            "codepipeline": self._make_codepipeline,
            "codeconnections": self._make_codeconnections,
            "codestar-connections": self._make_codestar_connections,
        }
        self.dispatcher = Dispatcher(
            ground.ancillary, [StsApi(ground.access).service()], makers, ground.access.check
        )
        self.ecr: Ecr | None = None
        self.elb: Elb | None = None
        self.ecs: Ecs | None = None
        self.stacks: CloudFormationApi | None = None
        self.task_pages: AgentPages | None = None
        self.codebuild: CodeBuild | None = None
        self.surroundings: Surroundings | None = None
        self.engine: Engine | None = None
        self._scaling: ApplicationAutoScaling | None = None
        self._certificates: CertificateStore | None = None
        self._bindings: Bindings | None = None
        self._binding = asyncio.Lock()
        self._surrounding = asyncio.Lock()
        self._bridge = ""
        self._parts = AsyncExitStack()

    async def __aenter__(self) -> Services:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._parts.aclose()

    async def resume(self) -> None:
        """Make the services that were in use when the cloud ended."""
        for row in self._ground.database.read("SELECT name FROM service_in_use ORDER BY name"):
            try:
                await self.dispatcher.service(row["name"])
            except Exception as error:
                self._ground.log.error(
                    "service could not be resumed", service=row["name"], error=repr(error), exc_info=error
                )

    async def remove_all(self) -> None:
        """Leave no container behind. For after the end of all loops."""
        for service in (self.codebuild, self.ecs):
            if service is None:
                continue
            from portside.cloud.machine.engine import EngineError

            try:
                await service.remove_all()
            except EngineError as error:
                self._ground.log.error("containers could not be removed", error=error.reason)
        if self.surroundings is not None:
            await self.surroundings.remove_network()
        if self.engine is not None:
            await self.engine.close()

    async def bridge_found(self, address: str) -> None:
        """Containers reach this machine there."""
        self._bridge = address
        if self.surroundings is not None:
            await self.surroundings.serve_names()
        if self.elb is not None and self.serves_bridge:
            self.elb.proxy_loop.listen_also(address)

    async def _load(self, service: str, module: str) -> None:
        """Import in a thread, so that what is already there goes on answering meanwhile."""
        await asyncio.to_thread(importlib.import_module, f"portside.cloud.services.{module}")
        with self._ground.database.write() as tx:
            tx.execute("INSERT OR IGNORE INTO service_in_use VALUES (?)", (service,))

    @property
    def _shared(self) -> dict[str, Any]:
        return {
            "database": self._ground.database,
            "ids": self._ground.ids,
            "clock": self._ground.clock,
            "log": self._ground.log,
        }

    async def _make_ecr(self) -> Service:
        await self._load("ecr", "ecr.service")
        from portside.cloud.services.ecr.service import Ecr

        self.ecr = Ecr(
            directory=self._ground.home.state / "blobs",
            account=self._ground.settings.account,
            region=self._ground.settings.region,
            permit=self._ground.access.permit,
            **self._shared,
        )
        await self._parts.enter_async_context(self.ecr)
        return self.ecr.service()

    async def _make_logs(self) -> Service:
        await self._load("logs", "logs.api")
        from portside.cloud.services.logs.api import LogsApi

        api = LogsApi(**self._shared)
        await self._parts.enter_async_context(api.retention.loop)
        api.retention.resume()
        return api.service()

    async def _make_elbv2(self) -> Service:
        await self._load("elbv2", "elbv2.service")
        from portside.cloud.services.elbv2.service import Elb
        from portside.cloud.services.elbv2.targets import local_targets
        from portside.cloud.services.iam.evaluate import grants

        proxy = self._ground.machine.proxy()
        # Stopped after the loops that feed it.
        self._parts.push_async_callback(proxy.stop)
        elb = Elb(
            calls=self.dispatcher,
            pace=self._ground.pace,
            proxy=proxy,
            prober=self._ground.machine.prober(),
            resolve=local_targets(self._ground.addresses),
            own_address=self._ground.addresses.of,
            shared=[self._ground.settings.address],
            certificates=(await self._keys()).served,
            grants=grants,
            **self._shared,
        )
        if self.serves_bridge:
            elb.proxy_loop.listen_also(self._bridge)
        await self._parts.enter_async_context(elb)
        self.elb = elb
        (await self._keys()).changed.append(elb.proxy_loop.wake)
        self._join_targets()
        return elb.service()

    async def _keys(self) -> CertificateStore:
        """The certificates of ACM and IAM with their keys; made when first needed."""
        await asyncio.to_thread(importlib.import_module, "portside.cloud.services.certificates.store")
        if self._certificates is None:
            from portside.cloud.services.certificates.store import CertificateStore

            self._certificates = CertificateStore(
                database=self._ground.database,
                ids=self._ground.ids,
                clock=self._ground.clock,
                cloud=self._ground.id,
                file=self._ground.home.authority,
            )
        return self._certificates

    async def _users_of(self, certificate: str) -> list[str]:
        """The load balancers that use a certificate."""
        if self.elb is None:
            # No load balancer has ever been asked for, or the service is about to go on.
            if not self._ground.database.read("SELECT 1 FROM service_in_use WHERE name = 'elbv2'"):
                return []
            await self.dispatcher.service("elbv2")
        assert self.elb is not None
        return self.elb.users_of(certificate)

    async def _make_acm(self) -> Service:
        await self._load("acm", "certificates.acm")
        from portside.cloud.services.certificates.acm import AcmApi

        return AcmApi(
            store=await self._keys(),
            ancillary=self._ground.ancillary,
            users=self._users_of,
            clock=self._ground.clock,
            pace=self._ground.pace,
        ).service()

    async def _make_iam(self) -> Service:
        await asyncio.to_thread(
            importlib.import_module, "portside.cloud.services.certificates.server_certificates"
        )
        from portside.cloud.services.certificates.server_certificates import ServerCertificates

        return ServerCertificates(
            store=await self._keys(),
            ancillary=self._ground.ancillary,
            users=self._users_of,
            clock=self._ground.clock,
        ).service()

    async def _make_ecs(self) -> Service:
        await self.dispatcher.service("ecr")
        await self._load("ecs", "ecs.orchestrator")
        from portside.cloud.images import RegistryForEcs
        from portside.cloud.services.ecs.agent_pages import AgentPages
        from portside.cloud.services.ecs.images import EngineImages
        from portside.cloud.services.ecs.orchestrator import Ecs

        surroundings = await self._around()
        assert self.ecr is not None
        engine = self._docker()
        self.ecs = Ecs(
            calls=self.dispatcher,
            pace=self._ground.pace,
            engine=engine,
            images=EngineImages(engine, RegistryForEcs(self.ecr.images), self._ground.settings.account),
            addresses=self._ground.addresses,
            roles=self._ground.access,
            outside=surroundings,
            cloud=self._ground.id,
            account=self._ground.settings.account,
            region=self._ground.settings.region,
            **self._shared,
        )
        self.task_pages = AgentPages(self._ground.database, self.ecs.identities, engine)
        for service in ("autoscaling", "ec2"):
            self._ground.ancillary.subscribe(service, self.ecs.capacity.wake)
        await self._parts.enter_async_context(self.ecs)
        self._join_targets()
        return self.ecs.service()

    def _join_targets(self) -> None:
        """Once both are there, ECS is told what happens to targets; else it would have to ask all the time."""
        if self.elb is not None and self.ecs is not None:
            self.elb.tell(self.ecs.targets_changed)

    async def _make_codebuild(self) -> Service:
        await self.dispatcher.service("ecr")
        await self._load("codebuild", "codebuild.service")
        from portside.cloud.images import ImagesForBuilds, RegistryForEcs
        from portside.cloud.machine.build_guards import BuildGuards
        from portside.cloud.services.codebuild.service import CodeBuild
        from portside.cloud.services.ecs.images import EngineImages
        from portside.image import buildimage
        from portside.image.builder import Builder

        assert self.ecr is not None
        host, settings, engine = self._ground.machine.engine_host, self._ground.settings, self._docker()

        async def make(say: Callable[[str], None]) -> str:
            async with Builder(host) as builder:
                return await buildimage.ensure(builder, say)

        source = EngineImages(engine, RegistryForEcs(self.ecr.images), settings.account)
        self.codebuild = CodeBuild(
            calls=self.dispatcher,
            engine=engine,
            roles=self._ground.access,
            images=ImagesForBuilds(source, make, settings.build_image),
            guards=BuildGuards(
                engine=host,
                directory=self._ground.home.state / "guards",
                registry=f"{settings.account}.dkr.ecr.{settings.region}.amazonaws.com",
                local=lambda: f"{settings.address}:{self._server().port}",
                cloud=self._ground.id,
                clock=self._ground.clock,
                log=self._ground.log,
            ),
            repositories=self._ground.checkouts,
            bound=(await self.bound()).path,
            endpoint=(await self._around()).endpoint_of_builds,
            directory=self._ground.home.state,
            cloud=self._ground.id,
            **self._shared,
        )
        await self._parts.enter_async_context(self.codebuild)
        return self.codebuild.service()

    async def _around(self) -> Surroundings:
        """What containers have around them; made when first needed."""
        async with self._surrounding:
            if self.surroundings is None:
                await asyncio.to_thread(importlib.import_module, "portside.cloud.surroundings")
                from portside.cloud.services.discovery.names import CloudMapNames
                from portside.cloud.surroundings import Surroundings

                made = Surroundings(
                    server=self._server(),
                    engine=self._docker,
                    serves_bridge=lambda: self.serves_bridge,
                    log=self._ground.log,
                )
                names = CloudMapNames(self.dispatcher, self._ground.settings.account, self._ground.settings.region)
                self._ground.ancillary.subscribe("servicediscovery", names.forget)
                made.add_names(self._balancers_named)
                made.add_names(names.lookup)
                await made.serve_names()
                self._parts.push_async_callback(made.close)
                self.surroundings = made
            return self.surroundings

    async def _balancers_named(self, name: str) -> list[Address] | None:
        """Load balancers, as containers reach them: at the bridge, where all of them listen."""
        from portside.cloud.machine.resolver import Address

        known = self.elb is not None and self.elb.knows(name)
        return [Address(self._bridge)] if self._bridge and known else None

    def _docker(self) -> Engine:
        """The engine, which all services share."""
        if self.engine is None:
            self.engine = self._ground.machine.engine()
        return self.engine

    async def _make_cloudformation(self) -> Service:
        await self._load("cloudformation", "cloudformation.api")
        from portside.cloud.services.cloudformation.api import CloudFormationApi

        api = CloudFormationApi(
            calls=self.dispatcher, roles=self._ground.access, pace=self._ground.pace, **self._shared
        )
        await self._parts.enter_async_context(api)
        self.stacks = api
        return api.service()

    async def _make_cloudwatch(self) -> Service:
        await self._load("cloudwatch", "cloudwatch.api")
        from portside.cloud.services.cloudwatch.api import CloudWatchApi

        api = CloudWatchApi(
            database=self._ground.database,
            clock=self._ground.clock,
            pace=self._ground.pace,
            calls=self.dispatcher,
            log=self._ground.log,
            account=self._ground.settings.account,
            policies=self,
        )
        await self._parts.enter_async_context(api)
        return api.service()

    async def execute(self, trigger: Trigger) -> None:
        """An alarm calls for a scaling policy of a service (`ServicePolicies`)."""
        await self.dispatcher.service("application-autoscaling")
        assert self._scaling is not None
        await self._scaling.execution.execute(trigger)

    async def _make_application_autoscaling(self) -> Service:
        await self._load("application-autoscaling", "applicationautoscaling.service")
        from portside.cloud.services.applicationautoscaling.service import ApplicationAutoScaling

        self._scaling = ApplicationAutoScaling(
            pace=self._ground.pace, calls=self.dispatcher, account=self._ground.settings.account, **self._shared
        )
        await self._parts.enter_async_context(self._scaling)
        return self._scaling.service()

    async def _make_autoscaling(self) -> Service:
        await self._load("autoscaling", "autoscaling.api")
        from portside.cloud.services.autoscaling.api import AutoScalingApi
        from portside.cloud.services.autoscaling.tracking_policies import TrackingPolicies

        tracking = TrackingPolicies(
            pace=self._ground.pace, calls=self.dispatcher, ancillary=self._ground.ancillary, **self._shared
        )
        await self._parts.enter_async_context(tracking.loop)
        tracking.resume()
        from portside.cloud.services.autoscaling.scheduled_actions_loop import ScheduledActions

        scheduled = ScheduledActions(calls=self.dispatcher, **self._shared)
        await self._parts.enter_async_context(scheduled.loop)
        scheduled.resume()
        api = AutoScalingApi(
            database=self._ground.database,
            clock=self._ground.clock,
            pace=self._ground.pace,
            calls=self.dispatcher,
            log=self._ground.log,
            ancillary=self._ground.ancillary,
            tracking=tracking,
            scheduled=scheduled,
            ids=self._ground.ids,
            roles=self._ground.access,
        )
        if api.groups is not None:
            await self._parts.enter_async_context(api.groups.loop)
            api.groups.resume()
            for service in ("autoscaling", "ec2"):
                self._ground.ancillary.subscribe(service, api.groups.changed)
        if api.notifications is not None:
            telling = api.notifications.telling
            await self._parts.enter_async_context(telling.loop)
            telling.resume()
            for service in ("autoscaling", "ec2"):
                self._ground.ancillary.subscribe(service, telling.changed)
        return api.service()

    async def bound(self) -> Bindings:
        """Which checkouts stand for which repositories; made when first needed."""
        async with self._binding:
            if self._bindings is None:
                await asyncio.to_thread(importlib.import_module, "portside.cloud.services.repositories.service")
                from portside.cloud.services.repositories.service import Bindings

                made = Bindings(
                    database=self._ground.database,
                    clock=self._ground.clock,
                    log=self._ground.log,
                    repositories=self._ground.checkouts,
                )
                self._bindings = await self._parts.enter_async_context(made)
            return self._bindings

    async def _make_codepipeline(self) -> Service:
        bound = await self.bound()
        await self._load("codepipeline", "codepipeline.service")
        from portside.cloud.services.codepipeline.service import CodePipeline

        pipelines = CodePipeline(
            calls=self.dispatcher,
            roles=self._ground.access,
            permit=self._ground.access.permit,
            repositories=self._ground.checkouts,
            bound=bound.path,
            watch=bound.watch,
            **self._shared,
        )
        self._ground.ancillary.subscribe("s3", pipelines.sources.wake)
        await self._parts.enter_async_context(pipelines)
        return pipelines.service()

    async def _make_codedeploy(self) -> Service:
        await self._load("codedeploy", "codedeploy.api")
        from portside.cloud.services.codedeploy.api import CodeDeployApi

        return CodeDeployApi(**self._shared).service()

    async def _make_codeconnections(self) -> Service:
        return await self._connections("codeconnections")

    async def _make_codestar_connections(self) -> Service:
        return await self._connections("codestar-connections")

    async def _connections(self, name: str) -> Service:
        bound = await self.bound()
        await self._load(name, "codeconnections.api")
        from portside.cloud.services.codeconnections.api import ConnectionsApi

        return ConnectionsApi(name=name, any_bound=lambda: bound.any, **self._shared).service()

    @property
    def serves_bridge(self) -> bool:
        """Whether load balancers listen on the container bridge too. There is one bridge, and a port of it can
        belong to one cloud only: the one at the usual address."""
        return self._ground.settings.address == CloudSettings().address
