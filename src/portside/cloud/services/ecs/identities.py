"""As whom a task's calls are made: the execution role for what the agent does, the task role for the program
inside.

Owns the ids under which containers fetch their credentials, and the sessions behind them. An id cannot be guessed
and is good as long as its task has not stopped. Source: the ECS Developer Guide, "Amazon ECS task IAM role".
"""

from __future__ import annotations

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Params, Roles, RoleSession
from portside.cloud.services.ecs import store
from portside.cloud.services.ecs.blueprints import TaskBlueprint
from portside.cloud.services.ecs.names import last, service_role_caller
from portside.cloud.services.ecs.records import Task, TaskStatus

MIGRATIONS = (
    "CREATE TABLE ecs_credentials (id TEXT PRIMARY KEY, task TEXT NOT NULL UNIQUE, role TEXT NOT NULL);",
)
PRINCIPAL = "ecs-tasks.amazonaws.com"
LASTS = 6 * 3600
RENEWED_BEFORE = 15 * 60.0


class NoRole(Exception):
    """A role cannot be taken on. `reason` is AWS's text."""

    def __init__(self, role: str) -> None:
        self.reason = (
            f"ECS was unable to assume the role '{role}' that was provided for this task. Please verify that the "
            "role being passed has the proper trust relationship and permissions and that your IAM user has "
            "permissions to pass this role."
        )
        super().__init__(self.reason)


class Identities:
    def __init__(self, database: Database, ids: Ids, clock: Clock, roles: Roles) -> None:
        database.migrate("ecs-credentials", MIGRATIONS)
        self._database = database
        self._ids = ids
        self._clock = clock
        self._roles = roles
        self._sessions: dict[tuple[str, str], RoleSession] = {}

    async def agent(self, task: Task, plan: TaskBlueprint) -> Caller:
        """Who fetches images, secrets and files: the execution role, or else the instance. Raises NoRole."""
        if not plan.execution_role:
            return service_role_caller(task.arn)
        session = await self._session(task, plan.execution_role)
        return session.caller(task.region)

    async def credential_id(self, task: Task, plan: TaskBlueprint) -> str:
        """The id for the task's own credentials; empty without a task role. Raises NoRole."""
        if not plan.task_role:
            return ""
        await self._session(task, plan.task_role)
        made = self._ids.uuid()
        with self._database.write() as tx:
            tx.execute("INSERT OR IGNORE INTO ecs_credentials VALUES (?, ?, ?)", (made, task.arn, plan.task_role))
            rows = tx.read("SELECT id FROM ecs_credentials WHERE task = ?", (task.arn,))
        return str(rows[0]["id"])

    async def credentials(self, identifier: str) -> Params | None:
        """The document for a container; None for an id that is not good (any more)."""
        row = self._database.one("SELECT task, role FROM ecs_credentials WHERE id = ?", (identifier,))
        task = store.tasks.get(self._database, row["task"]) if row is not None else None
        if row is None or task is None or task.status is TaskStatus.STOPPED:
            return None
        try:
            session = await self._session(task, row["role"])
        except NoRole:
            return None
        return {
            "RoleArn": session.role,
            "AccessKeyId": session.access_key,
            "SecretAccessKey": session.secret_key,
            "Token": session.token,
            "Expiration": session.expires,
        }

    async def _session(self, task: Task, role: str) -> RoleSession:
        found = self._sessions.get((task.arn, role))
        if found is not None and found.expires - self._clock.now() > RENEWED_BEFORE:
            return found
        caller = service_role_caller(task.arn)
        try:
            made = await self._roles.assume(role, last(task.arn), PRINCIPAL, caller, LASTS, task.arn)
        except AwsError as error:
            if error.status >= 500:
                raise
            raise NoRole(role) from None
        self._sessions = {
            key: each for key, each in self._sessions.items() if each.expires > self._clock.now()
        } | {(task.arn, role): made}
        return made
