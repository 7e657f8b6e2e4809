"""What a build's container printed, told apart: the user's output, and the words of the driver.

Pure. Fed with every line from the beginning, it gives the log as AWS writes it, the phases with their times and
reasons, and the values that the driver evaluated. Fed again after a restart it comes to the same, line by line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from portside.cloud.services.codebuild.buildspec import Buildspec, Phase
from portside.cloud.services.codebuild.driver import NEWLINE
from portside.cloud.services.codebuild.records import Context, PhaseRecord, Status

COMMAND_ERROR = "COMMAND_EXECUTION_ERROR"
_OWN = "__cb_"


@dataclass(frozen=True, slots=True)
class Said:
    """One line of the build's log."""

    at: float
    text: str


def stamped(at: float, text: str) -> str:
    """A line of the build service itself."""
    return f"[Container] {datetime.fromtimestamp(at, UTC):%Y/%m/%d %H:%M:%S.%f} {text}"


def completed(at: float, phase: str, status: Status, contexts: tuple[Context, ...]) -> list[Said]:
    """The two lines with which a phase ends."""
    context = contexts[0] if contexts else Context("", "")
    return [
        Said(at, stamped(at, f"Phase complete: {phase} State: {status.value}")),
        Said(at, stamped(at, f"Phase context status code: {context.code} Message: {context.message}")),
    ]


@dataclass
class Transcript:
    """`mask` hides secret values in what the user's commands print."""

    spec: Buildspec
    nonce: str
    mask: Callable[[str], str] = lambda text: text
    phases: list[PhaseRecord] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    exported: dict[str, str] = field(default_factory=dict)
    ended: bool = False

    @property
    def failed(self) -> tuple[str, ...]:
        return tuple(phase.type for phase in self.phases if phase.status is Status.FAILED)

    def feed(self, at: float, text: str) -> list[Said]:
        """The log lines that one line of output stands for."""
        before, found, word = text.partition(self.nonce)
        if not found:
            # The shell traces itself under `set -x`.
            return [] if _OWN in text and text.startswith("+") else [Said(at, self.mask(text))]
        if before.startswith("+"):
            return []
        said = [Said(at, self.mask(before))] if before else []
        return said + self._word(at, word.strip(" "))

    def _word(self, at: float, text: str) -> list[Said]:
        word, _, rest = text.partition(" ")
        match word:
            case "phase":
                phase = self.spec.phases[int(rest)]
                self.phases.append(PhaseRecord(phase.type, at))
                said = [Said(at, stamped(at, f"Entering phase {phase.type}"))]
                if phase.runtimes:
                    why = "Runtime version selection is not supported by this build image"
                    said.append(Said(at, stamped(at, f"Skipping install of runtimes. {why}")))
                return said
            case "run":
                return [Said(at, stamped(at, f"Running command {self.mask(self._command(rest))}"))]
            case "failed":
                where, _, code = rest.rpartition(" ")
                command = self.mask(self._command(where))
                return [Said(at, stamped(at, f"Command did not exit successfully {command} exit status {code}"))]
            case "again":
                number, _, failure = rest.partition(" ")
                phase = self.spec.phases[int(number)]
                (context,) = self._contexts(phase, failure)
                return [Said(at, stamped(at, f"Retrying phase {phase.type}: {context.message}"))]
            case "done":
                number, _, failure = rest.partition(" ")
                phase = self.spec.phases[int(number)]
                return self._complete(at, phase, () if failure == "-" else self._contexts(phase, failure))
            case "lost":
                number, _, code = rest.partition(" ")
                phase = self.spec.phases[int(number)]
                if not self.phases or self.phases[-1].type != phase.type:
                    self.phases.append(PhaseRecord(phase.type, at))
                who = self.spec.user(phase) or "root"
                message = (
                    f"The shell {self.spec.shell} could not be started as user {who}. Reason: exit status {code}"
                )
                self.ended = True
                return self._complete(at, phase, (Context(COMMAND_ERROR, message),))
            case "value":
                key, _, value = rest.partition(" ")
                self.values[key] = value.replace(NEWLINE, "\n")
            case "export":
                name, _, value = rest.partition(" ")
                self.exported[name] = value.replace(NEWLINE, "\n")
            case "end":
                self.ended = True
        return []

    def _complete(self, at: float, phase: Phase, contexts: tuple[Context, ...]) -> list[Said]:
        status = Status.FAILED if contexts else Status.SUCCEEDED
        self.phases[-1] = replace(self.phases[-1], ended_at=at, status=status, contexts=contexts)
        return completed(at, phase.type, status, contexts)

    def _contexts(self, phase: Phase, failure: str) -> tuple[Context, ...]:
        kind, number, code = failure.split(":")
        command = self.mask((phase.commands if kind == "c" else phase.finally_)[int(number)])
        message = f"Error while executing command: {command}. Reason: exit status {code}"
        return (Context(COMMAND_ERROR, message),)

    def _command(self, where: str) -> str:
        number, kind, index = where.split(" ")
        phase = self.spec.phases[int(number)]
        return (phase.commands if kind == "c" else phase.finally_)[int(index)]


def masker(secrets: list[str]) -> Callable[[str], str]:
    """Replaces every secret value by three stars, line by line where a value has several."""
    values = sorted(
        {line for value in secrets for line in value.splitlines() if len(line) > 1}, key=len, reverse=True
    )

    def mask(text: str) -> str:
        for value in values:
            if value in text:
                text = text.replace(value, "***")
        return text

    return mask
