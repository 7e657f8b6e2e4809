"""What `portside cloud env` prints: the variables that point AWS clients and docker at the local cloud.

Pure. Owns also what must go or change because it would get in the way: what AWS clients rank above an endpoint and
keys in the environment, proxies that do not know this machine, and docker's other ways to name an engine.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from portside import engines
from portside.cli.context import LOCAL_ACCESS_KEY, LOCAL_SECRET_KEY
from portside.cloud.process import Running

# They win over the keys and the endpoint, or make a client refuse them.
_IN_THE_WAY = (
    "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_CREDENTIAL_EXPIRATION",
    "AWS_CA_BUNDLE", "AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT", "AWS_ACCOUNT_ID_ENDPOINT_MODE",
)  # fmt: skip
# Always named: a profile may come into the shell later, by a file that is read at every start.
_ALWAYS = ("AWS_PROFILE", "AWS_SESSION_TOKEN")
_OF_ONE_SERVICE = re.compile(r"AWS_ENDPOINT_URL_[A-Z0-9_]+")
_PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
_WITHOUT_PROXY = ("NO_PROXY", "no_proxy")
_DOCKER_IN_THE_WAY = ("DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")


def lines(running: Running, environ: Mapping[str, str], docker: str, engine: str) -> list[str]:
    """`docker` is the address of the cloud's socket for docker clients, empty if no engine answers there; `engine`
    the engine that the user names, empty if it was found without being named."""
    exported = {
        "AWS_ENDPOINT_URL": running.endpoint,
        "AWS_REGION": running.region,
        "AWS_DEFAULT_REGION": running.region,
        "AWS_ACCESS_KEY_ID": LOCAL_ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": LOCAL_SECRET_KEY,
        # A configuration file may say otherwise.
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    exported |= _past_proxies(running.address, environ)
    unset = [name for name in _IN_THE_WAY if name in _ALWAYS or name in environ]
    unset += sorted(name for name in environ if _OF_ONE_SERVICE.fullmatch(name))
    found = [f"export {name}={shlex.quote(value)}" for name, value in exported.items()]
    found.append(f"unset {' '.join(unset)}")
    return found + (_at_docker(environ, docker, engine) if docker else leave_docker(environ))


def _at_docker(environ: Mapping[str, str], docker: str, engine: str) -> list[str]:
    found = [f"export DOCKER_HOST={shlex.quote(docker)}"]
    if engine:
        # So that portside itself finds the engine, now that DOCKER_HOST names the cloud.
        found.append(f"export PORTSIDE_ENGINE={shlex.quote(engine)}")
    unset = [name for name in _DOCKER_IN_THE_WAY if name in environ]
    return found + ([f"unset {' '.join(unset)}"] if unset else [])


def leave_docker(environ: Mapping[str, str]) -> list[str]:
    """Back to the engine itself, for a shell that still points at a cloud's socket."""
    if not engines.is_cloud_socket(environ.get("DOCKER_HOST", "")):
        return []
    engine = environ.get("PORTSIDE_ENGINE", "")
    return [f"export DOCKER_HOST={shlex.quote(engine)}"] if engine else ["unset DOCKER_HOST"]


def named_engine(environ: Mapping[str, str], setting: str) -> str:
    """The engine that the user names, by the setting or by DOCKER_HOST; empty if there is no such."""
    host = environ.get("DOCKER_HOST", "").strip()
    return setting or ("" if engines.is_cloud_socket(host) else host)


def _past_proxies(address: str, environ: Mapping[str, str]) -> dict[str, str]:
    if not any(environ.get(name) for name in _PROXIES):
        return {}
    known = next((environ[name] for name in _WITHOUT_PROXY if environ.get(name)), "")
    hosts = [each.strip() for each in known.split(",") if each.strip()]
    hosts += [each for each in (address, "127.0.0.1", "localhost", ".localhost") if each not in hosts]
    # Clients differ in which of the two they read.
    return dict.fromkeys(_WITHOUT_PROXY, ",".join(hosts))
