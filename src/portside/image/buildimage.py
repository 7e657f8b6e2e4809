"""The image in which builds run: what stands in for `aws/codebuild/...` on this machine.

Holds a shell, git, an `aws` and a `docker` client, and a few everyday tools; language runtimes it has none, so a
project that needs them names an image of its own. Made once per release, of Debian packages where this machine is
one of Debian's or Ubuntu's, otherwise on top of a public Debian image. The `aws` client is the first generation,
from PyPI: it knows AWS_ENDPOINT_URL, and `ecr get-login`, which build specifications of its time use.
"""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from portside.image import packages
from portside.image.builder import Builder
from portside.image.errors import ImageError

REPOSITORY = "portside/build"
EDITION = "5"
PUBLIC_BASE = "debian:bookworm-slim"
PACKAGES = (
    "bash", "ca-certificates", "curl", "git", "gzip", "jq", "make", "openssh-client", "procps", "python3", "tar",
    "unzip", "zip",
)  # fmt: skip
VARIANT = "essential"
LEFT_OUT = ("/usr/share/doc", "/usr/share/man", "/usr/share/info", "/usr/share/locale", "/usr/include")
AWS_CLI = "awscli>=1.40,<2"
AWS_DIRECTORY = "opt/aws"
MAKE_LIMIT = 1200.0
CHANGES = (
    "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "ENV LANG=C.UTF-8",
    "ENV PYTHONDONTWRITEBYTECODE=1",
    'CMD ["/bin/bash"]',
)
# Compiled, the client starts in half the time; a fresh container has nowhere else to keep what it compiled.
COMPILE = f"python3 -m compileall -q --invalidation-mode unchecked-hash /{AWS_DIRECTORY}"
# Half a second of every `aws` command goes into loading it. A build's driver starts WARM beside its first command:
# it loads the client once, and each command of root's is a fork of it, with the caller's arguments, variables,
# directory and files. Where nobody listens, and for other users, the client is loaded as always.
WARM = "usr/local/libexec/portside-warm"
_ADDRESS = "\\0portside-aws"
_AWS = f"""#!/usr/bin/python3 -IS
import os, socket, sys
try:
    if os.geteuid():
        raise OSError
    link = socket.socket(socket.AF_UNIX)
    link.connect("{_ADDRESS}")
    words = [os.getcwd(), str(len(sys.argv) - 1), *sys.argv[1:], *(f"{{k}}={{v}}" for k, v in os.environ.items())]
    data = "\\0".join(words).encode("utf-8", "surrogateescape")
    socket.send_fds(link, [len(data).to_bytes(4, "big")], [0, 1, 2])
    link.sendall(data)
except OSError:
    os.environ["PYTHONPATH"] = "/{AWS_DIRECTORY}"
    os.execv("/usr/bin/python3", ["python3", "-m", "awscli", *sys.argv[1:]])
answer = link.recv(1)
sys.exit(answer[0] if answer else 255)
"""
_WARM = f"""#!/usr/bin/python3 -I
import os, signal, socket, sys
sys.path.insert(0, "/{AWS_DIRECTORY}")
listener = socket.socket(socket.AF_UNIX)
listener.bind("{_ADDRESS}")
listener.listen(64)
from awscli.clidriver import create_clidriver, main
create_clidriver()
# Where the client finds its own models; it says so in its environment, which every fork replaces.
models = os.environ["AWS_DATA_PATH"]
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    link, _ = listener.accept()
    owner = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    uid = int.from_bytes(owner[4:8], sys.byteorder)
    if uid:
        link.close()
        continue
    if os.fork():
        link.close()
        continue
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    listener.close()
    head, files, _, _ = socket.recv_fds(link, 4, 3)
    data = b""
    while len(data) < int.from_bytes(head, "big"):
        data += link.recv(1 << 20)
    place, count, *rest = data.decode("utf-8", "surrogateescape").split("\\0")
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(place)
    os.environ.clear()
    os.environ.update(pair.split("=", 1) for pair in rest[int(count):])
    os.environ["AWS_DATA_PATH"] = os.pathsep.join(filter(None, [models, os.environ.get("AWS_DATA_PATH")]))
    sys.argv = ["aws", *rest[:int(count)]]
    try:
        code = main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException as error:
        print(repr(error), file=sys.stderr)
        code = 255
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        code = code or 255
    link.sendall(bytes([(code or 0) & 255]))
    os._exit(0)
"""
# `aws ecr get-login` prints an option that docker dropped in 2017. And the engine's socket is the cloud's: a build
# outlives a cloud that is killed and started again, so its commands wait for a moment until the socket is served.
_DOCKER = r"""#!/bin/sh
if [ "$1" = login ]; then
  for word do
    shift
    if [ -n "$drop" ]; then drop=; continue; fi
    case $word in
    -e|--email) drop=1 ;;
    -e*|--email=*) ;;
    *) set -- "$@" "$word" ;;
    esac
  done
fi
life() {
  curl -s -o /dev/null -D - --retry 30 --retry-delay 1 --retry-all-errors --unix-socket /var/run/docker.sock \
    http://engine/_ping | sed -n 's/^Portside-Life: *//Ip'
}
if [ -S /var/run/docker.sock ]; then
  before=$(life)
  /usr/local/libexec/docker "$@" && exit
  code=$?
  # What was cut off because the cloud ended is done again, unless it read its context from a pipe.
  case "$1: $* " in
  *" - "*) ;;
  build:*|pull:*|push:*|tag:*)
    if [ "$(life)" != "$before" ]; then
      echo "The local cloud was started again: docker $1 is done again" >&2
      exec /usr/local/libexec/docker "$@"
    fi ;;
  esac
  exit "$code"
fi
exec /usr/local/libexec/docker "$@"
"""
_DOCKERFILE = f"""FROM {PUBLIC_BASE}
RUN apt-get update -qq \\
 && apt-get install -y -qq --no-install-recommends {" ".join(PACKAGES)} docker.io \\
 && mkdir -p /usr/local/libexec && mv "$(command -v docker)" /usr/local/libexec/docker \\
 && rm -rf /var/lib/apt/lists/* /usr/sbin/dockerd /usr/bin/containerd* /usr/sbin/runc /usr/bin/docker-proxy
COPY root /
RUN ln -sf bash /bin/sh && {{ {COMPILE} || true; }}
ENV LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
CMD ["/bin/bash"]
"""


def reference() -> str:
    return f"{REPOSITORY}:{packages.codename() or 'public'}-{EDITION}"


async def ensure(builder: Builder, say: Callable[[str], None]) -> str:
    """The name of the image, made if it is not there yet. Raises ImageError where it cannot be made."""
    name = reference()
    if await builder.present(name):
        return name
    say(f"Making the build image {name}. This takes a minute or two, once")
    with tempfile.TemporaryDirectory(prefix="portside-") as directory:
        place = Path(directory)
        await asyncio.to_thread(_clients, place)
        release = packages.codename()
        if release and os.geteuid() == 0:
            archive = place / "root.tar"
            await asyncio.to_thread(_bootstrap, release, place, archive)
            await builder.import_archive(str(archive), REPOSITORY, name.partition(":")[2], list(CHANGES))
        else:
            context = await asyncio.to_thread(_context, place)
            await builder.build(context, "Dockerfile", name, {}, say)
    return name


def _clients(place: Path) -> None:
    """The `aws` client and the scripts, below `place/root`."""
    root = place / "root"
    target = root / AWS_DIRECTORY
    target.mkdir(parents=True)
    packages.run(
        [
            sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check",
            "--target", str(target), AWS_CLI,
        ],
        MAKE_LIMIT,
    )  # fmt: skip
    shutil.rmtree(target / "bin", ignore_errors=True)
    shutil.rmtree(target / "awscli" / "examples", ignore_errors=True)
    programs = root / "usr" / "local" / "bin"
    programs.mkdir(parents=True)
    for path, text in ((programs / "aws", _AWS), (programs / "docker", _DOCKER), (root / WARM, _WARM)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)


def _bootstrap(release: str, place: Path, archive: Path) -> None:
    if shutil.which("mmdebstrap") is None:
        packages.install("mmdebstrap")
    root = place / "root"
    program = root / "usr" / "local" / "libexec" / "docker"
    program.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(_docker_client(place), program)
    left_out = [f"--dpkgopt=path-exclude={path}/*" for path in LEFT_OUT]
    packages.run(
        [
            "mmdebstrap",
            f"--variant={VARIANT}",
            f"--include={','.join(PACKAGES)}",
            *left_out,
            f'--customize-hook=cp -R --no-preserve=ownership {root}/. "$1/"',
            # Many build specifications take /bin/sh for bash.
            '--customize-hook=ln -sf bash "$1/usr/bin/sh"',
            # Some files are templates that are no Python, and say so.
            f'--customize-hook=chroot "$1" {COMPILE} || true',
            release,
            str(archive),
        ],
        MAKE_LIMIT,
    )


def _docker_client(place: Path) -> Path:
    """The client's program alone, out of the distribution's package."""
    for package in ("docker-cli", "docker.io"):
        try:
            subprocess.run(
                ["apt-get", "download", "-qq", package],
                cwd=place,
                check=True,
                capture_output=True,
                timeout=MAKE_LIMIT,
            )
        except (OSError, subprocess.SubprocessError):
            continue
        file = next(place.glob(f"{package}_*.deb"))
        packages.run(["dpkg-deb", "-x", str(file), str(place / package)], MAKE_LIMIT)
        client = place / package / "usr" / "bin" / "docker"
        if client.exists():
            return client
    raise ImageError(
        "the build image cannot be made",
        "neither docker-cli nor docker.io can be downloaded",
        "Name an image with a docker client by `build_image` in cloud.toml.",
    )


def _owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    if member.isdir():
        member.mode = 0o755
    return member


def _context(place: Path) -> io.BytesIO:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        file = tarfile.TarInfo("Dockerfile")
        data = _DOCKERFILE.encode()
        file.size = len(data)
        tar.addfile(file, io.BytesIO(data))
        tar.add(place / "root", "root", filter=_owned_by_root)
    content.seek(0)
    return content
