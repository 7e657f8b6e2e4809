"""One loopback address for each load balancer and each container instance, where the system has many.

Linux answers on all of 127.0.0.0/8, so that every instance has port numbers of its own and every load balancer
an address of its own. Elsewhere there is only 127.0.0.1, which then serves all of them.
"""

from __future__ import annotations

import hashlib
import ipaddress

from portside.cloud.kernel.database import Database

MIGRATIONS = (
    "CREATE TABLE address (owner TEXT PRIMARY KEY, ip TEXT NOT NULL UNIQUE);",
    "CREATE TABLE address_port (owner TEXT NOT NULL, port INTEGER NOT NULL, ip TEXT NOT NULL,"
    " PRIMARY KEY (owner, port));",
)
ONLY = "127.0.0.1"


class Addresses:
    """Gives out addresses, and remembers who has which. `many` is False where only 127.0.0.1 exists.

    Each cloud takes its own /16 of 127.64.0.0/10, derived from its id, so that clouds side by side keep apart.
    """

    def __init__(self, database: Database, cloud: str, *, many: bool) -> None:
        database.migrate("addresses", MIGRATIONS)
        self._database = database
        self._many = many
        block = 64 + hashlib.sha256(cloud.encode()).digest()[0] % 64
        self._network = ipaddress.IPv4Network(f"127.{block}.0.0/16")

    def of(self, owner: str) -> str:
        """The address of `owner` (an instance id, a load balancer's ARN); the same for ever."""
        if not self._many:
            return ONLY
        row = self._database.one("SELECT ip FROM address WHERE owner = ?", (owner,))
        if row is not None:
            return str(row["ip"])
        taken = {r["ip"] for r in self._database.read("SELECT ip FROM address")}
        ip = next(str(host) for host in self._network.hosts() if str(host) not in taken)
        with self._database.write() as tx:
            tx.execute("INSERT INTO address VALUES (?, ?)", (owner, ip))
        return ip

    def at(self, owner: str, port: int) -> str:
        """The address at which `owner` has this port: its own, unless the port is somewhere else (`redirect`)."""
        row = self._database.one("SELECT ip FROM address_port WHERE owner = ? AND port = ?", (owner, port))
        return self.of(owner) if row is None else str(row["ip"])

    def redirect(self, owner: str, port: int, ip: str) -> None:
        """From now on this port of `owner` is at `ip`."""
        with self._database.write() as tx:
            tx.execute("INSERT OR REPLACE INTO address_port VALUES (?, ?, ?)", (owner, port, ip))

    def withdraw(self, owner: str, port: int) -> None:
        with self._database.write() as tx:
            tx.execute("DELETE FROM address_port WHERE owner = ? AND port = ?", (owner, port))

    def release(self, owner: str) -> None:
        with self._database.write() as tx:
            tx.execute("DELETE FROM address WHERE owner = ?", (owner,))
            tx.execute("DELETE FROM address_port WHERE owner = ?", (owner,))
