"""A Node base image made of Debian packages, for machines that cannot pull a public one.

Made once, under a name that says what it is. Needs root on Debian or Ubuntu, mmdebstrap (installed if missing) and
the distribution's package mirror.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from pathlib import Path

from portside.image import packages
from portside.image.builder import Builder
from portside.image.errors import ImageError

REPOSITORY = "portside/debian-node"
PACKAGES = ("nodejs", "npm", "ca-certificates")
# Enough of a shell for RUN lines; what Debian calls essential is not needed.
VARIANT = "essential"
# Nobody reads these in a container, and every byte is pushed.
LEFT_OUT = ("/usr/share/doc", "/usr/share/man", "/usr/share/info", "/usr/share/locale", "/usr/include")
MAKE_LIMIT = 1200.0


def reference() -> str:
    return f"{REPOSITORY}:{packages.codename() or 'none'}"


async def ensure(builder: Builder) -> str:
    """The name of the image, made if it is not there yet. Raises ImageError where it cannot be made."""
    name = reference()
    if await builder.present(name):
        return name
    release = packages.codename()
    if not release or os.geteuid() != 0:
        raise ImageError(
            "a base image of Debian packages can only be made by root on Debian or Ubuntu",
            next_step="Connect to the internet so that the public image can be pulled, or name one that is there.",
        )
    with tempfile.TemporaryDirectory(prefix="portside-") as directory:
        archive = Path(directory) / "root.tar"
        await asyncio.to_thread(_bootstrap, release, archive)
        await builder.import_archive(
            str(archive),
            REPOSITORY,
            release,
            ["ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 'CMD ["node"]'],
        )
    return name


def _bootstrap(release: str, archive: Path) -> None:
    if shutil.which("mmdebstrap") is None:
        packages.install("mmdebstrap")
    left_out = [f"--dpkgopt=path-exclude={path}/*" for path in LEFT_OUT]
    packages.run(
        [
            "mmdebstrap",
            f"--variant={VARIANT}",
            f"--include={','.join(PACKAGES)}",
            *left_out,
            release,
            str(archive),
        ],
        MAKE_LIMIT,
    )
