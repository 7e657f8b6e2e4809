"""What state an alarm is in, from its metric's last periods.

Pure. Source: the CloudWatch User Guide, "Configuring how CloudWatch alarms treat missing data". More periods are
looked at than count; of those with data the newest decide, and only where there are too few of them does the
alarm's rule for missing data come in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

# How many periods beyond those that count are looked at.
FURTHER_BACK = 2


class State(StrEnum):
    OK = "OK"
    ALARM = "ALARM"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"


class Missing(StrEnum):
    """TreatMissingData."""

    MISSING = "missing"
    IGNORE = "ignore"
    BREACHING = "breaching"
    NOT_BREACHING = "notBreaching"


COMPARISONS: Mapping[str, tuple[Callable[[float, float], bool], str]] = {
    "GreaterThanOrEqualToThreshold": (lambda value, limit: value >= limit, "greater than or equal to"),
    "GreaterThanThreshold": (lambda value, limit: value > limit, "greater than"),
    "LessThanThreshold": (lambda value, limit: value < limit, "less than"),
    "LessThanOrEqualToThreshold": (lambda value, limit: value <= limit, "less than or equal to"),
}


@dataclass(frozen=True, slots=True)
class Rule:
    """`periods` are EvaluationPeriods, `needed` DatapointsToAlarm."""

    comparison: str
    threshold: float
    periods: int
    needed: int
    missing: Missing = Missing.MISSING

    @property
    def length(self) -> int:
        """How many periods `decide` wants to see."""
        return self.periods + FURTHER_BACK


@dataclass(frozen=True, slots=True)
class Value:
    """A period with data: when it began, and its statistic."""

    at: float
    value: float


def decide(rule: Rule, seen: Sequence[Value | None], present: State) -> tuple[State, str]:
    """The state after `seen` (oldest first, `rule.length` long), and the reason in AWS's words."""
    breaches = COMPARISONS[rule.comparison][0]
    real = [each for each in seen if each is not None]
    counted = real[-rule.periods :]
    breaching = sum(breaches(each.value, rule.threshold) for each in counted)
    absent = rule.periods - len(counted)
    if not absent:
        state = State.ALARM if breaching >= rule.needed else State.OK
        return state, _crossed(rule, counted, breaching, present, state)
    match rule.missing:
        case Missing.BREACHING:
            state = State.ALARM if breaching + absent >= rule.needed else State.OK
        case Missing.NOT_BREACHING:
            state = State.ALARM if breaching >= rule.needed else State.OK
        case Missing.IGNORE:
            state = _of_few(rule, counted, breaching) or present
        case Missing.MISSING:
            state = _of_few(rule, counted, breaching) or (
                State.ALARM if _long_ago(rule, seen) else State.INSUFFICIENT_DATA
            )
    if state is State.INSUFFICIENT_DATA:
        noun = "datapoint was" if rule.periods == 1 else "datapoints were"
        return state, f"Insufficient Data: {rule.periods} {noun} unknown."
    return state, _crossed(rule, counted, breaching, present, state, absent)


def _of_few(rule: Rule, counted: list[Value], breaching: int) -> State | None:
    """What the real points alone tell, None if too little."""
    if breaching >= rule.needed:
        return State.ALARM
    return State.OK if breaching < len(counted) else None


def _long_ago(rule: Rule, seen: Sequence[Value | None]) -> bool:
    """Whether what breaches (and nothing else is there) began so long ago that it need not be waited for."""
    oldest = next((len(seen) - index for index, each in enumerate(seen) if each is not None), 0)
    return oldest >= rule.needed and oldest > 0


def _crossed(
    rule: Rule, counted: list[Value], breaching: int, present: State, state: State, absent: int = 0
) -> str:
    words = COMPARISONS[rule.comparison][1]
    negated = "" if state is State.ALARM else "not "
    told = breaching if state is State.ALARM else len(counted) - breaching
    if not counted:
        treated = "Breaching" if rule.missing is Missing.BREACHING else "NonBreaching"
        noun = "period" if absent == 1 else "periods"
        points = "datapoint was" if absent == 1 else "datapoints were"
        return (
            f"Threshold Crossed: no datapoints were received for {absent} {noun} and {absent} missing {points} "
            f"treated as [{treated}]."
        )
    values = ", ".join(f"{each.value} ({_moment(each.at)})" for each in counted)
    verb = "was" if told == 1 else "were"
    needed = rule.needed if state is State.ALARM else max(1, rule.periods - rule.needed + 1)
    minimum = "datapoint" if needed == 1 else "datapoints"
    return (
        f"Threshold Crossed: {told} out of the last {len(counted)} datapoints [{values}] {verb} {negated}{words} "
        f"the threshold ({rule.threshold}) (minimum {needed} {minimum} for {_from(present, state)} -> {state} "
        "transition)."
    )


def _from(present: State, state: State) -> State:
    if present is not state:
        return present
    return State.OK if state is State.ALARM else State.ALARM


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%d/%m/%y %H:%M:%S")
