"""What counts as sensitive in a log event, and how it is masked.

Pure. Owns data protection policies as documents: which are ones, and which data they mean. Offered are the
identifiers whose form is public and certain without words around it, and the user's own expressions; all others
are refused by name. Source: the CloudWatch Logs User Guide, "Help protect sensitive log data with masking".
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from portside.cloud.services.logs.requests import bad

ARN = "arn:aws:dataprotection::aws:data-identifier/"
LONGEST_DOCUMENT = 30_720
MOST_CUSTOM = 10
LONGEST_EXPRESSION = 200
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_EXPRESSION = re.compile(r"[a-zA-Z0-9_#=@/;, \-^$?\[\]{}|\\*+.]+")

Found = Callable[[str], bool]


def _address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _always(text: str) -> bool:
    return True


def _block(begin: str, end: str) -> str:
    """A key's text from its first line to its last one, or to where the event ends."""
    return rf"{begin}.*?(?:{end}|\Z)"


# By name: what to look for, and whether what was found is one.
MANAGED: dict[str, tuple[re.Pattern[str], Found]] = {
    "EmailAddress": (
        re.compile(r"[A-Za-z0-9._%+-]+@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}"),
        _always,
    ),
    "IpAddress": (
        re.compile(
            r"(?<![\w.:])(?:"
            r"\d{1,3}(?:\.\d{1,3}){3}(?!\.?\w)"
            r"|(?:[0-9A-Fa-f]{0,4}:){2,6}\d{1,3}(?:\.\d{1,3}){3}(?!\.?\w)"
            r"|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])"
            r")"
        ),
        _address,
    ),
    "OpenSshPrivateKey": (
        re.compile(_block("-----BEGIN OPENSSH PRIVATE KEY-----", "-----END OPENSSH PRIVATE KEY-----"), re.DOTALL),
        _always,
    ),
    "PgpPrivateKey": (
        re.compile(
            _block("-----BEGIN PGP PRIVATE KEY BLOCK-----", "-----END PGP PRIVATE KEY BLOCK-----"), re.DOTALL
        ),
        _always,
    ),
    "PkcsPrivateKey": (
        re.compile(
            _block(
                r"-----BEGIN (?:RSA |DSA |EC |ENCRYPTED )?PRIVATE KEY-----",
                r"-----END (?:RSA |DSA |EC |ENCRYPTED )?PRIVATE KEY-----",
            ),
            re.DOTALL,
        ),
        _always,
    ),
    "PuttyPrivateKey": (
        re.compile(_block(r"PuTTY-User-Key-File-\d+:", r"Private-MAC: [0-9A-Fa-f]+"), re.DOTALL),
        _always,
    ),
}


@dataclass(frozen=True, slots=True)
class Policy:
    """`custom` are the user's own expressions, `managed` names of `MANAGED`."""

    custom: tuple[str, ...] = ()
    managed: tuple[str, ...] = ()

    def masked(self, text: str) -> str:
        """The text with as many asterisks as there are sensitive characters."""
        shown = list(text)
        for start, end in self._spans(text):
            shown[start:end] = "*" * (end - start)
        return "".join(shown)

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        for expression in self.custom:
            for found in _compiled(expression).finditer(text):
                yield found.span()
        for name in self.managed:
            pattern, is_one = MANAGED[name]
            for found in pattern.finditer(text):
                if is_one(found[0]):
                    yield found.span()


@lru_cache(maxsize=256)
def _compiled(expression: str) -> re.Pattern[str]:
    return re.compile(expression)


@lru_cache(maxsize=256)
def read(document: str) -> Policy:
    """The policy that a document is. Raises AwsError for what is none, or asks for more than is offered."""
    if len(document) > LONGEST_DOCUMENT:
        raise bad(f"A data protection policy is at most {LONGEST_DOCUMENT} characters long.")
    try:
        found: Any = json.loads(document)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise bad("A data protection policy must be a JSON object.")
    custom = _custom(found.get("Configuration") or {})
    statements = found.get("Statement")
    if not isinstance(statements, list) or len(statements) != 2:
        raise bad("A data protection policy has two statements, one with Audit and one with Deidentify.")
    audit, mask = (_operation(each, name) for each, name in zip(statements, ("Audit", "Deidentify"), strict=True))
    destination = audit.get("FindingsDestination")
    if not isinstance(destination, dict):
        raise bad("The Audit operation must have a FindingsDestination, which may be empty.")
    if destination:
        raise bad(
            "portside's local cloud sends no findings of data protection anywhere: leave FindingsDestination "
            f"empty, without {', '.join(sorted(destination))}."
        )
    if mask.get("MaskConfig") != {}:
        raise bad("The Deidentify operation must have an empty MaskConfig.")
    identifiers = [each.get("DataIdentifier") for each in statements]
    if not isinstance(identifiers[0], list) or not identifiers[0] or identifiers[0] != identifiers[1]:
        raise bad("DataIdentifier must be the same list in both statements, with one identifier at least.")
    own, managed = [], []
    for each in identifiers[0]:
        if isinstance(each, str) and each in custom:
            own.append(custom[each])
        else:
            managed.append(_managed(each))
    return Policy(tuple(own), tuple(managed))


def _operation(statement: Any, name: str) -> dict[str, Any]:
    said = statement.get("Operation") if isinstance(statement, dict) else None
    if not isinstance(said, dict) or not isinstance(said.get(name), dict):
        raise bad(f"A statement of the data protection policy lacks the operation {name}.")
    found: dict[str, Any] = said[name]
    return found


def _custom(configuration: Any) -> dict[str, str]:
    """The user's own expressions by their names."""
    listed = configuration.get("CustomDataIdentifier") or [] if isinstance(configuration, dict) else None
    if not isinstance(listed, list) or len(listed) > MOST_CUSTOM:
        raise bad(f"CustomDataIdentifier is a list of {MOST_CUSTOM} identifiers at most.")
    found: dict[str, str] = {}
    for each in listed:
        name, expression = (each.get("Name"), each.get("Regex")) if isinstance(each, dict) else (None, None)
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name in found or name in MANAGED:
            raise bad(f"The custom data identifier {name} needs a name of its own of a-z, A-Z, 0-9, _ and -.")
        if (
            not isinstance(expression, str)
            or len(expression) > LONGEST_EXPRESSION
            or not _EXPRESSION.fullmatch(expression)
        ):
            raise bad(f"The regular expression of {name} is too long or has characters that are not supported.")
        try:
            _compiled(expression)
        except re.error as error:
            raise bad(f"The regular expression of {name} is invalid: {error}.") from None
        found[name] = expression
    return found


def _managed(identifier: Any) -> str:
    name = str(identifier).removeprefix(ARN)
    if not str(identifier).startswith(ARN):
        raise bad(f"The data identifier {identifier} is neither a custom one nor the ARN of a managed one.")
    if name not in MANAGED:
        raise bad(
            f"portside's local cloud does not offer the data identifier {name}; it offers "
            f"{', '.join(sorted(MANAGED))} and custom ones."
        )
    return name
