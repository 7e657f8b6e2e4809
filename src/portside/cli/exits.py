"""Exit codes, and the one place that turns exceptions into them.

| code | meaning |
|---|---|
| 0 | done, or nothing to do |
| 1 | something else went wrong |
| 2 | the command line was wrong |
| 3 | a stack operation failed or was rolled back |
| 4 | AWS, or the local cloud, refused the request |
| 5 | the endpoint or the engine does not answer, or there are no credentials |
| 6 | a wait reached its limit |
| 7 | the image could not be built or pushed |
| 8 | portside.toml or cloud.toml is wrong |
| 9 | not everything runs and answers (`portside status`) |
| 10 | the pipeline's newest execution, or the build, failed or was stopped |
| 130 | interrupted |
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path

OK = 0
OTHER = 1
USAGE = 2
UNREACHABLE = 5
IMAGE = 7
SETTINGS = 8
NOT_HEALTHY = 9
NOT_DELIVERED = 10
INTERRUPTED = 130

# The next step where nothing better is known.
LOOK = "`portside status` shows what is there."
AGAIN = "Correct it and run `portside up` again."


@dataclass(frozen=True, slots=True)
class Failure:
    """What to print and with which code to end."""

    code: int
    what: str
    why: str = ""
    next: str = ""


def explain(error: BaseException) -> Failure | None:
    """The failure behind an exception that users can cause; None for a fault of ours."""
    from portside.blueprint.settings import SettingsError
    from portside.cloud.process import ProcessError
    from portside.cloud.settings import CloudSettingsError
    from portside.deploy.errors import DeployError
    from portside.image.errors import ImageError

    match error:
        case DeployError():
            return Failure(error.exit_code, error.what, error.why, error.next or LOOK)
        case SettingsError():
            return Failure(SETTINGS, str(error), "", error.remedy)
        case CloudSettingsError():
            return Failure(SETTINGS, str(error), "", "Correct it; docs/reference/settings.md describes every key.")
        case ImageError():
            code = UNREACHABLE if "no container engine" in error.what else IMAGE
            return Failure(code, error.what, error.why, error.next or AGAIN)
        case ProcessError():
            return Failure(
                UNREACHABLE, "the local cloud cannot be used", str(error), "See `portside cloud status`."
            )
        case KeyboardInterrupt():
            return Failure(INTERRUPTED, "interrupted", "", "What was begun goes on; `portside status` shows it.")
    return None


def fault(error: BaseException) -> Failure:
    """What to say of an exception that should not have come this far."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return Failure(
        OTHER,
        f"portside failed: {error!r}",
        f"at {Path(last.filename).name}:{last.lineno}",
        "This is a fault of portside's. PORTSIDE_DEBUG=1 shows all of it.",
    )
