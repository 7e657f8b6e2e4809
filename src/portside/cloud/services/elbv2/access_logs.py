"""The access logs of a load balancer: the fields of an entry, where an object lies, who writes it.

Pure. Source: the user guide for Application Load Balancers, "Access logs for your Application Load Balancer" and
"Enable access logs".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from portside.cloud.machine.proxy import Served
from portside.cloud.services.elbv2.records import LoadBalancer

DELIVERY = "logdelivery.elasticloadbalancing.amazonaws.com"
TEST_FILE = "ELBAccessLogTestFile"
# The accounts that load balancers of older regions write as; newer regions know only the service.
ACCOUNTS: Mapping[str, str] = {
    "af-south-1": "098369216593",
    "ap-east-1": "754344448648",
    "ap-northeast-1": "582318560864",
    "ap-northeast-2": "600734575887",
    "ap-northeast-3": "383597477331",
    "ap-south-1": "718504428378",
    "ap-southeast-1": "114774131450",
    "ap-southeast-2": "783225319266",
    "ap-southeast-3": "589379963580",
    "ca-central-1": "985666609251",
    "eu-central-1": "054676820928",
    "eu-north-1": "897822967062",
    "eu-south-1": "635631232127",
    "eu-west-1": "156460612806",
    "eu-west-2": "652711504416",
    "eu-west-3": "009996457667",
    "me-south-1": "076674570225",
    "sa-east-1": "507241528517",
    "us-east-1": "127311923021",
    "us-east-2": "033677994240",
    "us-west-1": "027434742980",
    "us-west-2": "797873946194",
}


# Whether a bucket's policy lets one of the principals (by kind) do an action to a resource, in a context.
Grants = Callable[[str, Mapping[str, tuple[str, ...]], str, str, Mapping[str, tuple[str, ...]]], bool]


@dataclass(frozen=True, slots=True)
class Label:
    """What the log of requests says of a route: whose it is, even when its rule is gone by then. `priority` is 0
    for a default rule."""

    balancer: str
    priority: int
    action: str

    def __str__(self) -> str:
        return f"{self.balancer} {self.priority} {self.action}"

    @classmethod
    def read(cls, text: str) -> Label | None:
        """None for what is no label: a name that nobody listens under."""
        match text.split(" "):
            case [balancer, priority, action]:
                return cls(balancer, int(priority), action)
        return None


@dataclass(frozen=True, slots=True)
class Place:
    """Where the logs of a load balancer go."""

    bucket: str
    prefix: str = ""

    def key(self, account: str, rest: str) -> str:
        return f"{self.prefix}/AWSLogs/{account}/{rest}" if self.prefix else f"AWSLogs/{account}/{rest}"


def place(balancer: LoadBalancer) -> Place | None:
    """None where logs are not wanted."""
    found = dict(balancer.attributes)
    if found.get("access_logs.s3.enabled") != "true":
        return None
    return Place(found.get("access_logs.s3.bucket", ""), found.get("access_logs.s3.prefix", ""))


def writers(region: str) -> dict[str, tuple[str, ...]]:
    """The principals as which logs are written, by kind."""
    account = ACCOUNTS.get(region)
    own = (account, f"arn:aws:iam::{account}:root") if account else ()
    return {"Service": (DELIVERY,), "AWS": own}


def object_key(where: Place, balancer: str, address: str, end: float, mark: str) -> str:
    """Of the entries up to `end`, of the node at `address`; `mark` tells one object from another."""
    _, _, _, region, account, resource = balancer.split(":", 5)
    at = datetime.fromtimestamp(end, UTC)
    name = ".".join([f"{account}_elasticloadbalancing_{region}_app", *resource.split("/")[2:]])
    day = f"elasticloadbalancing/{region}/{at:%Y/%m/%d}"
    return where.key(account, f"{day}/{name}_{at:%Y%m%dT%H%MZ}_{address}_{mark}.log.gz")


def entry(served: Served, label: Label, group: str, target: str) -> str:
    """One line. `target` is where the request was sent, with its port; empty, like `group`, if nowhere."""
    secure = bool(served.tls)
    end = datetime.fromtimestamp(served.begin + served.whole, UTC)
    begin = datetime.fromtimestamp(served.begin, UTC)
    code = "-" if served.target_status is None else str(served.target_status)
    host = served.host if ":" in served.host else f"{served.host}:{443 if secure else 80}"
    url = f"{'https' if secure else 'http'}://{host}{served.path}"
    answered = served.target is not None
    fields = [
        _kind(served, secure),
        _moment(end),
        label.balancer.partition(":loadbalancer/")[2],
        served.client or "-",
        target or "-",
        *(_seconds(each if answered else None) for each in (served.request, served.target, served.response)),
        str(served.status),
        code,
        str(served.received),
        str(served.sent),
        _quoted(f"{served.method} {url} {served.protocol}"),
        _quoted(served.agent or "-"),
        served.cipher or "-",
        served.tls or "-",
        group or "-",
        _quoted(served.trace or "-"),
        _quoted(served.server_name or "-"),
        '"-"',
        str(label.priority),
        _moment(begin),
        _quoted(label.action),
        _quoted(served.location if label.action == "redirect" and served.location else "-"),
        '"-"',
        _quoted(target or "-"),
        _quoted(code),
        '"-"',
        '"-"',
        f"TID_{int(served.connection or 0):032x}",
    ]
    return " ".join(fields) + "\n"


def _kind(served: Served, secure: bool) -> str:
    if served.protocol == "HTTP/2":
        return "h2"
    if served.status == 101:
        return "wss" if secure else "ws"
    return "https" if secure else "http"


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S.%f}Z"


def _seconds(value: float | None) -> str:
    return "-1" if value is None else f"{value:.3f}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
