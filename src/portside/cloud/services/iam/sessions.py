"""Role sessions: temporary credentials, who holds them, and how long.

Owns the table of sessions. A session is committed before its credentials are handed out, so that a build that
outlives a restart of the cloud goes on being known. Source: the STS API reference, AssumeRole.
"""

from __future__ import annotations

from dataclasses import dataclass

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, RoleSession

MIGRATIONS = (
    """
    CREATE TABLE iam_session (
        access_key TEXT PRIMARY KEY,
        role TEXT NOT NULL,
        arn TEXT NOT NULL,
        user_id TEXT NOT NULL,
        secret_key TEXT NOT NULL,
        token TEXT NOT NULL,
        expires REAL NOT NULL,
        policy TEXT
    );
    CREATE INDEX iam_session_expires ON iam_session (expires);
    """,
)
# How long an expired session is still told from an unknown one.
REMEMBERED = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Session:
    """What is kept of a session. `policy`: the session policy that was passed, as JSON; None if none was."""

    session: RoleSession
    policy: str | None = None


class Sessions:
    """Issues credentials and knows them again."""

    def __init__(self, *, database: Database, ids: Ids, clock: Clock) -> None:
        database.migrate("iam", MIGRATIONS)
        self._database = database
        self._ids = ids
        self._clock = clock

    def issue(
        self, role_arn: str, role_id: str, name: str, seconds: float, policy: str | None = None
    ) -> RoleSession:
        account = role_arn.split(":")[4]
        bare = role_arn.rpartition("/")[2]
        made = RoleSession(
            role=role_arn,
            arn=f"arn:aws:sts::{account}:assumed-role/{bare}/{name}",
            user_id=f"{role_id}:{name}",
            access_key=f"ASIA{self._ids.upper(16)}",
            secret_key=self._ids.alnum(40),
            token=self._ids.alnum(356),
            expires=self._clock.now() + seconds,
        )
        with self._database.write() as tx:
            tx.execute("DELETE FROM iam_session WHERE expires < ?", (self._clock.now() - REMEMBERED,))
            tx.execute(
                "INSERT INTO iam_session VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    made.access_key,
                    made.role,
                    made.arn,
                    made.user_id,
                    made.secret_key,
                    made.token,
                    made.expires,
                    policy,
                ),
            )
        return made

    def find(self, access_key: str) -> Session | None:
        row = self._database.one("SELECT * FROM iam_session WHERE access_key = ?", (access_key,))
        if row is None:
            return None
        made = RoleSession(
            role=row["role"],
            arn=row["arn"],
            user_id=row["user_id"],
            access_key=row["access_key"],
            secret_key=row["secret_key"],
            token=row["token"],
            expires=row["expires"],
        )
        return Session(made, row["policy"])

    def caller(self, access_key: str, token: str, region: str, endpoint: str) -> Caller | None:
        """Who signed with this access key, if it is one of a session; None for all others, who are the account.

        Raises AwsError for an expired session, and for a token that is not that of the key.
        """
        if not access_key.startswith("ASIA"):
            return None
        found = self.find(access_key)
        if found is None:
            return None
        if token != found.session.token:
            raise AwsError("InvalidClientTokenId", "The security token included in the request is invalid.", 403)
        if found.session.expires <= self._clock.now():
            raise AwsError("ExpiredToken", "The security token included in the request is expired", 403)
        return found.session.caller(region, endpoint)
