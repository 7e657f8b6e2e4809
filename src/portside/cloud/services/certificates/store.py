"""The certificates of ACM and of IAM with their keys, and the cloud's authority; and the SQL that keeps them.

Owns the tables. moto, or whatever the ancillary endpoint is, knows of the same certificates, but gives no key
away. What is kept here is what load balancers serve.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.machine.proxy import ServerCertificate
from portside.cloud.services.certificates import authority
from portside.cloud.services.certificates.authority import Pair

MIGRATIONS = (
    """
    CREATE TABLE certificate_authority (chain TEXT NOT NULL, key TEXT NOT NULL);
    CREATE TABLE certificate (
        arn TEXT PRIMARY KEY, kind TEXT NOT NULL, since REAL NOT NULL, algorithm TEXT NOT NULL, chain TEXT,
        key TEXT);
    """,
    """
    CREATE TABLE certificate_tag (
        arn TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (arn, key));
    """,
)
SERIAL_BYTES = 16


@dataclass(frozen=True, slots=True)
class Certificate:
    """One of `kind` requested, imported (both of ACM) or server (of IAM). `since` is when it was asked for or
    brought; `pair` is there once it has been issued."""

    arn: str
    kind: str
    since: float
    algorithm: str
    pair: Pair | None = None


class CertificateStore:
    """`file` is where the authority's certificate, without its key, is put for whoever wants to trust it."""

    def __init__(self, *, database: Database, ids: Ids, clock: Clock, cloud: str, file: Path) -> None:
        database.migrate("certificates", MIGRATIONS)
        self._database = database
        self._ids = ids
        self._clock = clock
        self._cloud = cloud
        self._file = file
        self._servable: dict[str, tuple[Pair, ServerCertificate | None]] = {}
        # Told when another certificate is to be served for an ARN.
        self.changed: list[Callable[[], None]] = []

    def find(self, arn: str) -> Certificate | None:
        row = self._database.one("SELECT * FROM certificate WHERE arn = ?", (arn,))
        if row is None:
            return None
        pair = Pair(row["chain"], row["key"]) if row["chain"] else None
        return Certificate(row["arn"], row["kind"], row["since"], row["algorithm"], pair)

    def keep(self, record: Certificate) -> None:
        pair = record.pair or Pair("", "")
        with self._database.write() as tx:
            tx.execute(
                "INSERT INTO certificate VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (arn) DO UPDATE SET"
                " kind = excluded.kind, algorithm = excluded.algorithm, chain = excluded.chain,"
                " key = excluded.key",
                (record.arn, record.kind, record.since, record.algorithm, pair.chain or None, pair.key or None),
            )
            for tell in self.changed:
                tx.after_commit(tell)

    def drop(self, arn: str) -> None:
        with self._database.write() as tx:
            tx.execute("DELETE FROM certificate WHERE arn = ?", (arn,))
            tx.execute("DELETE FROM certificate_tag WHERE arn = ?", (arn,))
        self._servable.pop(arn, None)

    def tags(self, arn: str) -> dict[str, str]:
        """By key."""
        rows = self._database.read("SELECT key, value FROM certificate_tag WHERE arn = ? ORDER BY key", (arn,))
        return {row["key"]: row["value"] for row in rows}

    def tag(self, arn: str, tags: dict[str, str]) -> None:
        """In the place of all that there were."""
        with self._database.write() as tx:
            tx.execute("DELETE FROM certificate_tag WHERE arn = ?", (arn,))
            for key, value in tags.items():
                tx.execute("INSERT INTO certificate_tag VALUES (?, ?, ?)", (arn, key, value))

    def served(self, arn: str) -> ServerCertificate | None:
        """What a load balancer shows for an ARN; None if there is no key for it, or one that cannot be served."""
        found = self.find(arn)
        if found is None or found.pair is None:
            return None
        known = self._servable.get(arn)
        if known is None or known[0] != found.pair:
            known = self._servable[arn] = (found.pair, authority.servable(found.pair))
        return known[1]

    async def issue(self, names: tuple[str, ...], algorithm: str) -> Pair:
        """A new certificate by the cloud's authority. A new key takes a while, so it is made beside the rest."""
        mine, serial = self._authority(), self._serial()
        return await asyncio.to_thread(authority.issue, mine, names, algorithm, serial, self._clock.now())

    def authority_chain(self) -> str:
        """The authority's certificate, which vouches for all that it issues."""
        return self._authority().chain

    def _authority(self) -> Pair:
        row = self._database.one("SELECT * FROM certificate_authority")
        if row is not None:
            made = Pair(row["chain"], row["key"])
        else:
            made = authority.new_authority(self._cloud, self._serial(), self._clock.now())
            with self._database.write() as tx:
                tx.execute("INSERT INTO certificate_authority VALUES (?, ?)", (made.chain, made.key))
        if not self._file.exists():
            self._file.write_text(made.chain)
        return made

    def _serial(self) -> int:
        """Positive, and of the same length always."""
        return int.from_bytes(self._ids.bytes(SERIAL_BYTES), "big") >> 1 | 1 << (8 * SERIAL_BYTES - 2)
