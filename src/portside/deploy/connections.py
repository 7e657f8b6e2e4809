"""The connection to the host of a repository, through CodeConnections."""

from __future__ import annotations

from dataclasses import dataclass

from portside.deploy.api import Aws

PROVIDER = "GitHub"


@dataclass(frozen=True, slots=True)
class Connection:
    """A `status` of PENDING means that a person has yet to authorise it, in a browser."""

    arn: str
    name: str
    status: str


def find(aws: Aws, name: str) -> Connection | None:
    client = aws.client("codeconnections")
    asked: dict[str, str] = {}
    while True:
        with aws.errors("the connections cannot be listed"):
            page = client.list_connections(**asked)
        for row in page.get("Connections", []):
            if row["ConnectionName"] == name:
                return Connection(row["ConnectionArn"], name, row["ConnectionStatus"])
        if not page.get("NextToken"):
            return None
        asked = {"NextToken": page["NextToken"]}


def ensure(aws: Aws, name: str) -> tuple[Connection, bool]:
    """The connection of that name, and whether it was made just now."""
    found = find(aws, name)
    if found is not None:
        return found, False
    client = aws.client("codeconnections")
    with aws.errors(f"the connection {name} cannot be made"):
        arn = client.create_connection(ProviderType=PROVIDER, ConnectionName=name)["ConnectionArn"]
        status = client.get_connection(ConnectionArn=arn)["Connection"]["ConnectionStatus"]
    return Connection(arn, name, status), True


def remove(aws: Aws, connection: Connection) -> None:
    with aws.errors(f"the connection {connection.name} cannot be deleted"):
        aws.client("codeconnections").delete_connection(ConnectionArn=connection.arn)
