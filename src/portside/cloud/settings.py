"""The settings of one local cloud: `$PORTSIDE_HOME/cloud.toml`, and PORTSIDE_* variables over it.

Owns defaults, checks and the layout of the state directory. Checked by hand: a schema library takes longer to load
than a cloud takes to start.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from portside.engines import CLOUD_SOCKET

FILE_NAME = "cloud.toml"
VARIABLE_PREFIX = "PORTSIDE_"


class CloudSettingsError(Exception):
    """A setting of the cloud cannot be used; the text says where it stands and what is wrong."""


@dataclass(frozen=True, slots=True)
class CloudSettings:
    """What can be set. Each field is a key of cloud.toml and, in capitals, a variable PORTSIDE_<KEY>."""

    port: int = 4566
    """Port of the AWS endpoint, on loopback and on the container bridge. 0: any free one."""
    address: str = "127.0.0.1"
    """Loopback address of the endpoint and of all load balancers' shared ports. Only the load balancers of a cloud
    at 127.0.0.1 also listen on the container bridge."""
    account: str = "000000000000"
    """The account's number."""
    region: str = "us-east-1"
    """Region of requests that do not name one, and of `portside up`."""
    pace: Literal["fast", "aws"] = "fast"
    """`aws` keeps AWS's waiting times; `fast` shortens them to a tenth."""
    engine: str = ""
    """Engine socket such as unix:///var/run/docker.sock; empty: DOCKER_HOST, or the first that answers."""
    build_image: str = ""
    """Image for builds that ask for `aws/codebuild/...`; empty: one that portside makes, without language
    runtimes."""
    ancillary_endpoint: str = ""
    """Another AWS endpoint in place of moto for IAM, EC2, S3 and the like."""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> CloudSettings:
        return CloudSettings(**json.loads(text))


@dataclass(frozen=True, slots=True)
class Home:
    """Where one cloud keeps its things: `$PORTSIDE_HOME`, or ~/.portside."""

    directory: Path

    @property
    def settings_file(self) -> Path:
        return self.directory / FILE_NAME

    @property
    def state(self) -> Path:
        return self.directory / "cloud"

    @property
    def docker_socket(self) -> Path:
        """Where the cloud serves the user's docker client while it runs."""
        return self.state / CLOUD_SOCKET

    @property
    def authority(self) -> Path:
        """The certificate to trust for what the cloud issues to load balancers; there once it has issued one."""
        return self.state / "authority.pem"

    @property
    def lock(self) -> Path:
        """Held for as long as the cloud runs."""
        return self.directory / "cloud.lock"

    @property
    def running(self) -> Path:
        """Process id and port of the cloud that runs, or was running when it was killed."""
        return self.state / "running.json"

    @property
    def log(self) -> Path:
        return self.state / "cloud.log"


def home(environ: Mapping[str, str]) -> Home:
    chosen = environ.get("PORTSIDE_HOME")
    return Home(Path(chosen).expanduser().resolve() if chosen else Path.home() / ".portside")


def read(place: Home, environ: Mapping[str, str]) -> CloudSettings:
    """The settings of the cloud at `place`. Raises CloudSettingsError."""
    known = [field.name for field in fields(CloudSettings)]
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}
    if place.settings_file.exists():
        try:
            values = tomllib.loads(place.settings_file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise CloudSettingsError(f"{place.settings_file}: {error}") from None
        origin = dict.fromkeys(values, str(place.settings_file))
    for key in known:
        variable = VARIABLE_PREFIX + key.upper()
        if variable in environ:
            text = environ[variable]
            values[key] = int(text) if key == "port" and text.isdigit() else text
            origin[key] = variable
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f" Did you mean `{near[0]}`?" if near else ""
            raise CloudSettingsError(f"{origin[key]}: {key}: unknown key.{hint} Known are: {', '.join(known)}.")
    return _checked(values, origin) if values else CloudSettings()


def _checked(values: dict[str, Any], origin: dict[str, str]) -> CloudSettings:
    for key, value in values.items():
        wanted = int if key == "port" else str
        if type(value) is not wanted:
            noun = "an integer" if wanted is int else "a string"
            raise CloudSettingsError(f"{origin[key]}: {key}: this must be {noun}, not {value!r}.")
    made = CloudSettings(**values)
    problem = _implausible(made)
    if problem is not None:
        key, why = problem
        raise CloudSettingsError(f"{origin.get(key, FILE_NAME)}: {key}: {why}, not {getattr(made, key)!r}.")
    return made


def _implausible(made: CloudSettings) -> tuple[str, str] | None:
    if not 0 <= made.port <= 65535:
        return "port", "a port is a number from 0 to 65535"
    if not made.address.startswith("127."):
        return "address", "the cloud listens on loopback only, so this must begin with 127."
    if not (made.account.isdigit() and len(made.account) == 12):
        return "account", "an account has 12 digits"
    if made.pace not in ("fast", "aws"):
        return "pace", "this must be fast or aws"
    if made.ancillary_endpoint and not made.ancillary_endpoint.startswith(("http://", "https://")):
        return "ancillary_endpoint", "this must be an http:// or https:// address"
    return None
