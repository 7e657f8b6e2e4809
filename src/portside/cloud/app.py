"""The composition root: every part of the cloud is made, started and stopped here.

The only place that knows all services; what they run on is picked in `machine/parts.py`. The front
(gateway, server) is there at once; a service is made when it is first asked for, or at start if it has been in use
before, for what was in flight must go on. So an idle cloud is small and up in a moment.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import shutil
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from portside import __version__
from portside.cloud.gateway.dispatch import Dispatcher
from portside.cloud.gateway.pipeline import Gateway
from portside.cloud.gateway.server import Server
from portside.cloud.kernel.clock import AWS_PACE, FAST_PACE, SystemClock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import configure
from portside.cloud.kernel.loop import After, Loop, TurnResult
from portside.cloud.machine import bridge
from portside.cloud.machine.addresses import Addresses
from portside.cloud.machine.git import GitRepositories
from portside.cloud.machine.parts import LocalMachine, Machine
from portside.cloud.process import Running
from portside.cloud.protocol.asgi import Receive, Send
from portside.cloud.services.ancillary import Ancillary
from portside.cloud.services.calls import Service
from portside.cloud.services.iam.access import Access
from portside.cloud.services.iam.roles import RoleReader
from portside.cloud.services.iam.sessions import Sessions
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

MIGRATIONS = (
    "CREATE TABLE cloud (id TEXT NOT NULL);",
    "CREATE TABLE service_in_use (name TEXT PRIMARY KEY);",
)
BRIDGE_SECONDS = 10.0


class Cloud:
    """Use: `async with Cloud(home, settings) as cloud`. Raises OSError where the port is taken."""

    def __init__(self, home: Home, settings: CloudSettings, machine: Machine | None = None) -> None:
        self.home = home
        self.settings = settings
        self.clock = SystemClock()
        self.ids = Ids()
        self.log = configure(sys.stderr)
        self.pace = AWS_PACE if settings.pace == "aws" else FAST_PACE
        self.machine = machine or LocalMachine(
            engine_host=settings.engine, state=home.state, clock=self.clock, log=self.log
        )
        self.database = Database(home.state / "state.db")
        self.database.migrate("cloud", MIGRATIONS)
        self.id = self._identify()
        self.addresses = Addresses(self.database, self.id, many=sys.platform == "linux")
        self.ancillary = Ancillary(
            directory=home.state, account=settings.account, endpoint=settings.ancillary_endpoint, log=self.log
        )
        self._makers: dict[str, Callable[[], Awaitable[Service]]] = {
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
        sessions = Sessions(database=self.database, ids=self.ids, clock=self.clock)
        reader = RoleReader(self.ancillary, settings.account)
        self.ancillary.subscribe("iam", reader.forget)
        self.access = Access(reader=reader, sessions=sessions, clock=self.clock, account=settings.account)
        self.dispatcher = Dispatcher(
            self.ancillary, [StsApi(self.access).service()], self._makers, self.access.check
        )
        self.gateway = Gateway(
            self.dispatcher,
            self.ancillary,
            self._registry,
            {
                "/_portside/health": self._health,
                "/_portside/repositories": self._repositories,
                "/_portside/credentials": self._credentials,
                "/_portside/metadata": self._metadata,
                "/_portside/exec": self._execute,
                "/_portside/waitcondition": self._stack_page,
                "/_portside/customresource": self._stack_page,
            },
            account=settings.account,
            region=settings.region,
            ids=self.ids,
            log=self.log,
            session=sessions.caller,
        )
        self.server = Server(self.gateway, settings.address, settings.port)
        self.checkouts = GitRepositories()
        self._started_at = self.clock.now()
        self._bridge = ""
        self._parts = AsyncExitStack()
        self._resuming: asyncio.Task[None] | None = None
        self._ecr: Ecr | None = None
        self._bindings: Bindings | None = None
        self._binding = asyncio.Lock()
        self._engine: Engine | None = None
        self._elb: Elb | None = None
        self._certificates: CertificateStore | None = None
        self._ecs: Ecs | None = None
        self._codebuild: CodeBuild | None = None
        self._scaling: ApplicationAutoScaling | None = None
        self._surroundings: Surroundings | None = None
        self._surrounding = asyncio.Lock()
        self._pages_of_tasks: AgentPages | None = None
        self._stacks: CloudFormationApi | None = None

    async def __aenter__(self) -> Cloud:
        async with AsyncExitStack() as parts:
            await parts.enter_async_context(self.ancillary)
            await parts.enter_async_context(self.server)
            bridging = await parts.enter_async_context(
                Loop("bridge", self._listen_on_bridge, self.clock, self.log)
            )
            bridging.wake("bridge")
            await self._serve_docker(parts)
            self._parts = parts.pop_all()
        self._resuming = asyncio.create_task(self._resume(), name="resume")
        return self

    async def _serve_docker(self, parts: AsyncExitStack) -> None:
        """The user's docker client finds the account's registry by its name through this socket."""
        from portside.cloud.machine.engine_socket import EngineSocket, Operation

        def operations() -> dict[str, Operation]:
            from portside.cloud.machine.engine_names import RegistryNames
            from portside.cloud.machine.engine_registry import EngineRegistry

            names = RegistryNames(self.settings.account, f"{self.settings.address}:{self.server.port}")
            contexts = self.home.state / "contexts"
            shutil.rmtree(contexts, ignore_errors=True)  # of a cloud that was killed
            contexts.mkdir()
            return EngineRegistry(lambda: self.machine.engine_host, names, contexts).operations()

        served = EngineSocket(self.home.docker_socket, lambda: self.machine.engine_host, operations, self.log)
        await served.start()
        parts.push_async_callback(served.stop)

    async def __aexit__(self, *_: object) -> None:
        if self._resuming is not None:
            self._resuming.cancel()
            await asyncio.gather(self._resuming, return_exceptions=True)
        await self._parts.aclose()
        self.database.close()

    async def stop(self) -> None:
        """A wanted stop: leave no container and no process of ours behind."""
        if self._resuming is not None:
            await asyncio.gather(self._resuming, return_exceptions=True)
        await self._parts.aclose()
        for service in (self._codebuild, self._ecs):
            if service is None:
                continue
            from portside.cloud.machine.engine import EngineError

            try:
                await service.remove_all()
            except EngineError as error:
                self.log.error("containers could not be removed", error=error.reason)
        if self._surroundings is not None:
            await self._surroundings.remove_network()
        if self._engine is not None:
            await self._engine.close()

    def write_record(self) -> None:
        """Say where the cloud is, for the command line."""
        record = Running(
            os.getpid(),
            self.id,
            self.settings.address,
            self.server.port,
            self.settings.region,
            self.settings.account,
            self._started_at,
        )
        temporary = self.home.running.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(record)))
        temporary.replace(self.home.running)

    # Services, made when first needed

    async def _resume(self) -> None:
        """Make the services that were in use when the cloud ended, once the first call finds what it needs."""
        models = await asyncio.to_thread(importlib.import_module, "portside.cloud.protocol.models")
        await asyncio.to_thread(models.model, "sts")
        for row in self.database.read("SELECT name FROM service_in_use ORDER BY name"):
            try:
                await self.dispatcher.service(row["name"])
            except Exception as error:
                self.log.error(
                    "service could not be resumed", service=row["name"], error=repr(error), exc_info=error
                )

    async def _load(self, service: str, module: str) -> None:
        """Import in a thread, so that what is already there goes on answering meanwhile."""
        await asyncio.to_thread(importlib.import_module, f"portside.cloud.services.{module}")
        with self.database.write() as tx:
            tx.execute("INSERT OR IGNORE INTO service_in_use VALUES (?)", (service,))

    @property
    def _shared(self) -> dict[str, Any]:
        return {"database": self.database, "ids": self.ids, "clock": self.clock, "log": self.log}

    async def _make_ecr(self) -> Service:
        await self._load("ecr", "ecr.service")
        from portside.cloud.services.ecr.service import Ecr

        self._ecr = Ecr(
            directory=self.home.state / "blobs",
            account=self.settings.account,
            region=self.settings.region,
            permit=self.access.permit,
            **self._shared,
        )
        await self._parts.enter_async_context(self._ecr)
        return self._ecr.service()

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

        proxy = self.machine.proxy()
        # Stopped after the loops that feed it.
        self._parts.push_async_callback(proxy.stop)
        elb = Elb(
            calls=self.dispatcher,
            pace=self.pace,
            proxy=proxy,
            prober=self.machine.prober(),
            resolve=local_targets(self.addresses),
            own_address=self.addresses.of,
            shared=[self.settings.address],
            certificates=(await self._keys()).served,
            grants=grants,
            **self._shared,
        )
        if self._serves_bridge:
            elb.proxy_loop.listen_also(self._bridge)
        await self._parts.enter_async_context(elb)
        self._elb = elb
        (await self._keys()).changed.append(elb.proxy_loop.wake)
        self._join_targets()
        return elb.service()

    async def _keys(self) -> CertificateStore:
        """The certificates of ACM and IAM with their keys; made when first needed."""
        await asyncio.to_thread(importlib.import_module, "portside.cloud.services.certificates.store")
        if self._certificates is None:
            from portside.cloud.services.certificates.store import CertificateStore

            self._certificates = CertificateStore(
                database=self.database,
                ids=self.ids,
                clock=self.clock,
                cloud=self.id,
                file=self.home.authority,
            )
        return self._certificates

    async def _users_of(self, certificate: str) -> list[str]:
        """The load balancers that use a certificate."""
        if self._elb is None:
            # No load balancer has ever been asked for, or the service is about to go on.
            if not self.database.read("SELECT 1 FROM service_in_use WHERE name = 'elbv2'"):
                return []
            await self.dispatcher.service("elbv2")
        assert self._elb is not None
        return self._elb.users_of(certificate)

    async def _make_acm(self) -> Service:
        await self._load("acm", "certificates.acm")
        from portside.cloud.services.certificates.acm import AcmApi

        return AcmApi(
            store=await self._keys(),
            ancillary=self.ancillary,
            users=self._users_of,
            clock=self.clock,
            pace=self.pace,
        ).service()

    async def _make_iam(self) -> Service:
        await asyncio.to_thread(
            importlib.import_module, "portside.cloud.services.certificates.server_certificates"
        )
        from portside.cloud.services.certificates.server_certificates import ServerCertificates

        return ServerCertificates(
            store=await self._keys(), ancillary=self.ancillary, users=self._users_of, clock=self.clock
        ).service()

    async def _make_ecs(self) -> Service:
        await self.dispatcher.service("ecr")
        await self._load("ecs", "ecs.orchestrator")
        from portside.cloud.images import RegistryForEcs
        from portside.cloud.services.ecs.agent_pages import AgentPages
        from portside.cloud.services.ecs.images import EngineImages
        from portside.cloud.services.ecs.orchestrator import Ecs

        surroundings = await self._around()
        assert self._ecr is not None
        engine = self._docker()
        self._ecs = Ecs(
            calls=self.dispatcher,
            pace=self.pace,
            engine=engine,
            images=EngineImages(engine, RegistryForEcs(self._ecr.images), self.settings.account),
            addresses=self.addresses,
            roles=self.access,
            outside=surroundings,
            cloud=self.id,
            account=self.settings.account,
            region=self.settings.region,
            **self._shared,
        )
        self._pages_of_tasks = AgentPages(self.database, self._ecs.identities, engine)
        for service in ("autoscaling", "ec2"):
            self.ancillary.subscribe(service, self._ecs.capacity.wake)
        await self._parts.enter_async_context(self._ecs)
        self._join_targets()
        return self._ecs.service()

    def _join_targets(self) -> None:
        """Once both are there, ECS is told what happens to targets; else it would have to ask all the time."""
        if self._elb is not None and self._ecs is not None:
            self._elb.tell(self._ecs.targets_changed)

    async def _make_codebuild(self) -> Service:
        await self.dispatcher.service("ecr")
        await self._load("codebuild", "codebuild.service")
        from portside.cloud.images import ImagesForBuilds, RegistryForEcs
        from portside.cloud.machine.build_guards import BuildGuards
        from portside.cloud.services.codebuild.service import CodeBuild
        from portside.cloud.services.ecs.images import EngineImages
        from portside.image import buildimage
        from portside.image.builder import Builder

        assert self._ecr is not None
        host, settings, engine = self.machine.engine_host, self.settings, self._docker()

        async def make(say: Callable[[str], None]) -> str:
            async with Builder(host) as builder:
                return await buildimage.ensure(builder, say)

        source = EngineImages(engine, RegistryForEcs(self._ecr.images), settings.account)
        self._codebuild = CodeBuild(
            calls=self.dispatcher,
            engine=engine,
            roles=self.access,
            images=ImagesForBuilds(source, make, settings.build_image),
            guards=BuildGuards(
                engine=host,
                directory=self.home.state / "guards",
                registry=f"{settings.account}.dkr.ecr.{settings.region}.amazonaws.com",
                local=lambda: f"{settings.address}:{self.server.port}",
                cloud=self.id,
                clock=self.clock,
                log=self.log,
            ),
            repositories=self.checkouts,
            bound=(await self._bound()).path,
            endpoint=(await self._around()).endpoint_of_builds,
            directory=self.home.state,
            cloud=self.id,
            **self._shared,
        )
        await self._parts.enter_async_context(self._codebuild)
        return self._codebuild.service()

    async def _around(self) -> Surroundings:
        """What containers have around them; made when first needed."""
        async with self._surrounding:
            if self._surroundings is None:
                await asyncio.to_thread(importlib.import_module, "portside.cloud.surroundings")
                from portside.cloud.services.discovery.names import CloudMapNames
                from portside.cloud.surroundings import Surroundings

                made = Surroundings(
                    server=self.server,
                    engine=self._docker,
                    serves_bridge=lambda: self._serves_bridge,
                    log=self.log,
                )
                names = CloudMapNames(self.dispatcher, self.settings.account, self.settings.region)
                self.ancillary.subscribe("servicediscovery", names.forget)
                made.add_names(self._balancers_named)
                made.add_names(names.lookup)
                await made.serve_names()
                self._parts.push_async_callback(made.close)
                self._surroundings = made
            return self._surroundings

    async def _balancers_named(self, name: str) -> list[Address] | None:
        """Load balancers, as containers reach them: at the bridge, where all of them listen."""
        from portside.cloud.machine.resolver import Address

        known = self._elb is not None and self._elb.knows(name)
        return [Address(self._bridge)] if self._bridge and known else None

    def _docker(self) -> Engine:
        """The engine, which all services share."""
        if self._engine is None:
            self._engine = self.machine.engine()
        return self._engine

    async def _make_cloudformation(self) -> Service:
        await self._load("cloudformation", "cloudformation.api")
        from portside.cloud.services.cloudformation.api import CloudFormationApi

        api = CloudFormationApi(calls=self.dispatcher, roles=self.access, pace=self.pace, **self._shared)
        await self._parts.enter_async_context(api)
        self._stacks = api
        return api.service()

    async def _make_cloudwatch(self) -> Service:
        await self._load("cloudwatch", "cloudwatch.api")
        from portside.cloud.services.cloudwatch.api import CloudWatchApi

        api = CloudWatchApi(
            database=self.database,
            clock=self.clock,
            pace=self.pace,
            calls=self.dispatcher,
            log=self.log,
            account=self.settings.account,
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
            pace=self.pace, calls=self.dispatcher, account=self.settings.account, **self._shared
        )
        await self._parts.enter_async_context(self._scaling)
        return self._scaling.service()

    async def _make_autoscaling(self) -> Service:
        await self._load("autoscaling", "autoscaling.api")
        from portside.cloud.services.autoscaling.api import AutoScalingApi
        from portside.cloud.services.autoscaling.tracking_policies import TrackingPolicies

        tracking = TrackingPolicies(
            pace=self.pace, calls=self.dispatcher, ancillary=self.ancillary, **self._shared
        )
        await self._parts.enter_async_context(tracking.loop)
        tracking.resume()
        from portside.cloud.services.autoscaling.scheduled_actions_loop import ScheduledActions

        scheduled = ScheduledActions(calls=self.dispatcher, **self._shared)
        await self._parts.enter_async_context(scheduled.loop)
        scheduled.resume()
        api = AutoScalingApi(
            database=self.database,
            clock=self.clock,
            pace=self.pace,
            calls=self.dispatcher,
            log=self.log,
            ancillary=self.ancillary,
            tracking=tracking,
            scheduled=scheduled,
            ids=self.ids,
        )
        if api.groups is not None:
            await self._parts.enter_async_context(api.groups.loop)
            api.groups.resume()
        if api.notifications is not None:
            telling = api.notifications.telling
            await self._parts.enter_async_context(telling.loop)
            telling.resume()
            for service in ("autoscaling", "ec2"):
                self.ancillary.subscribe(service, telling.changed)
        return api.service()

    async def _bound(self) -> Bindings:
        """Which checkouts stand for which repositories; made when first needed."""
        async with self._binding:
            if self._bindings is None:
                await asyncio.to_thread(importlib.import_module, "portside.cloud.services.repositories.service")
                from portside.cloud.services.repositories.service import Bindings

                made = Bindings(
                    database=self.database, clock=self.clock, log=self.log, repositories=self.checkouts
                )
                self._bindings = await self._parts.enter_async_context(made)
            return self._bindings

    async def _make_codepipeline(self) -> Service:
        bound = await self._bound()
        await self._load("codepipeline", "codepipeline.service")
        from portside.cloud.services.codepipeline.service import CodePipeline

        pipelines = CodePipeline(
            calls=self.dispatcher,
            roles=self.access,
            permit=self.access.permit,
            repositories=self.checkouts,
            bound=bound.path,
            watch=bound.watch,
            **self._shared,
        )
        self.ancillary.subscribe("s3", pipelines.sources.wake)
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
        bound = await self._bound()
        await self._load(name, "codeconnections.api")
        from portside.cloud.services.codeconnections.api import ConnectionsApi

        return ConnectionsApi(name=name, any_bound=lambda: bound.any, **self._shared).service()

    # The rest of the front

    def _identify(self) -> str:
        row = self.database.one("SELECT id FROM cloud")
        if row is not None:
            return str(row["id"])
        made = self.ids.hex(8)
        with self.database.write() as tx:
            tx.execute("INSERT INTO cloud VALUES (?)", (made,))
        return made

    async def _listen_on_bridge(self, key: str) -> TurnResult:
        found = bridge.address()
        if found and found != self._bridge:
            try:
                await self.server.listen_also(found, self.server.port)
            except OSError as error:
                self.log.warning("bridge", address=found, error=str(error))
            self._bridge = found
            if self._surroundings is not None:
                await self._surroundings.serve_names()
            if self._elb is not None and self._serves_bridge:
                self._elb.proxy_loop.listen_also(found)
        return After(BRIDGE_SECONDS)

    @property
    def _serves_bridge(self) -> bool:
        """Whether load balancers listen on the container bridge too. There is one bridge, and a port of it can
        belong to one cloud only: the one at the usual address."""
        return self.settings.address == CloudSettings().address

    async def _registry(self, connection: dict[str, Any], receive: Receive, send: Send) -> None:
        await self.dispatcher.service("ecr")
        assert self._ecr is not None
        await self._ecr.registry(connection, receive, send)

    async def _repositories(self, connection: dict[str, Any], receive: Receive, send: Send) -> None:
        await (await self._bound()).page(connection, receive, send)

    async def _credentials(self, connection: dict[str, Any], receive: Receive, send: Send) -> None:
        await self.dispatcher.service("ecs")
        assert self._pages_of_tasks is not None
        await self._pages_of_tasks.credentials(connection, receive, send)

    async def _stack_page(self, connection: dict[str, Any], receive: Receive, send: Send) -> None:
        await self.dispatcher.service("cloudformation")
        assert self._stacks is not None
        await self._stacks.page(connection, receive, send)

    async def _metadata(self, connection: dict[str, Any], receive: Receive, send: Send) -> None:
        await self.dispatcher.service("ecs")
        assert self._pages_of_tasks is not None
        await self._pages_of_tasks.metadata(connection, receive, send)

    async def _execute(self, connection: dict[str, Any], receive: Receive, send: Send) -> None:
        if connection["type"] != "websocket":
            await send({"type": "http.response.start", "status": 426, "headers": [(b"upgrade", b"websocket")]})
            await send({"type": "http.response.body", "body": b""})
            return
        await self.dispatcher.service("ecs")
        assert self._ecs is not None
        await self._ecs.execute.stream(connection, receive, send)

    async def _health(self, connection: dict[str, Any], receive: Receive, send: Send) -> None:
        body = json.dumps({"status": "ok", "id": self.id, "version": __version__}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
