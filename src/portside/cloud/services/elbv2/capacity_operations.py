"""The part of the ELBv2 API that reserves capacity for load balancers.

Validates, keeps and shows. There is nothing to reserve here: what is asked for is provisioned at once, evenly over
the load balancer's zones, and no load balancer is the slower for having none.
Source: "Capacity reservations for your Application Load Balancer" of the Elastic Load Balancing guide.
"""

from __future__ import annotations

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database, Transaction
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Params, operation
from portside.cloud.services.elbv2 import records
from portside.cloud.services.elbv2.answers import load_balancer_of
from portside.cloud.services.elbv2.records import LoadBalancer
from portside.cloud.services.elbv2.rules import invalid

MIGRATIONS = (
    """
    CREATE TABLE elb_capacity (
        load_balancer TEXT PRIMARY KEY REFERENCES elb_load_balancer ON DELETE CASCADE,
        units INTEGER, modified REAL NOT NULL, day INTEGER NOT NULL, decreases INTEGER NOT NULL);
    """,
)
# Load balancer capacity units (LCUs).
LEAST_UNITS = 100
MOST_UNITS = 15_000
DECREASES_A_DAY = 2
DAY = 86_400


def migrate(database: Database) -> None:
    """After the tables of the load balancers."""
    database.migrate("elbv2-capacity", MIGRATIONS)


class CapacityOperations:
    """A part of `ElbApi`."""

    _database: Database
    _clock: Clock

    @operation("ModifyCapacityReservation")
    def modify_capacity_reservation(self, caller: Caller, params: Params) -> Params:
        found = load_balancer_of(self._database, caller, params["LoadBalancerArn"])
        units = (params.get("MinimumLoadBalancerCapacity") or {}).get("CapacityUnits")
        reset = bool(params.get("ResetCapacityReservation"))
        if reset == (units is not None):
            raise invalid(
                "Exactly one of MinimumLoadBalancerCapacity and ResetCapacityReservation must be specified"
            )
        wanted = None if units is None else _checked(int(units))
        with self._database.write() as tx:
            self._reserve(tx, found, wanted)
        return self._shown(found)

    @operation("DescribeCapacityReservation")
    def describe_capacity_reservation(self, caller: Caller, params: Params) -> Params:
        return self._shown(load_balancer_of(self._database, caller, params["LoadBalancerArn"]))

    def _reserve(self, tx: Transaction, found: LoadBalancer, units: int | None) -> None:
        before, decreases = self._present(tx, found)
        if units is not None and before is not None and units < before:
            if decreases >= DECREASES_A_DAY:
                raise AwsError(
                    "CapacityDecreaseRequestLimitExceeded",
                    f"The capacity of load balancer '{found.arn}' can be decreased {DECREASES_A_DAY} times a day",
                )
            decreases += 1
        now = self._clock.now()
        tx.execute(
            "INSERT OR REPLACE INTO elb_capacity VALUES (?, ?, ?, ?, ?)",
            (found.arn, units, now, int(now // DAY), decreases),
        )

    def _present(self, reader: records.Reader, found: LoadBalancer) -> tuple[int | None, int]:
        """The units that are reserved, and how often they were decreased today."""
        rows = reader.read("SELECT * FROM elb_capacity WHERE load_balancer = ?", (found.arn,))
        if not rows:
            return None, 0
        today = rows[0]["day"] == int(self._clock.now() // DAY)
        return rows[0]["units"], int(rows[0]["decreases"]) if today else 0

    def _shown(self, found: LoadBalancer) -> Params:
        units, decreases = self._present(self._database, found)
        shown: Params = {"DecreaseRequestsRemaining": DECREASES_A_DAY - decreases}
        rows = self._database.read("SELECT modified FROM elb_capacity WHERE load_balancer = ?", (found.arn,))
        if rows:
            shown["LastModifiedTime"] = rows[0]["modified"]
        if units is None:
            return shown
        each = units / len(found.zones)
        return shown | {
            "MinimumLoadBalancerCapacity": {"CapacityUnits": units},
            "CapacityReservationState": [
                {"State": {"Code": "provisioned"}, "AvailabilityZone": zone, "EffectiveCapacityUnits": each}
                for zone, _ in found.zones
            ],
        }


def _checked(units: int) -> int:
    if units < LEAST_UNITS:
        raise invalid(
            f"The minimum capacity of an application load balancer is at least {LEAST_UNITS} units, not {units}"
        )
    if units > MOST_UNITS:
        raise AwsError(
            "CapacityUnitsLimitExceeded",
            f"The minimum capacity of an application load balancer is at most {MOST_UNITS} units, not {units}",
        )
    return units
