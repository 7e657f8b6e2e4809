"""Wait condition handles: the URL that whoever has finished sends its word to, and what it sends.

Pure. A URL has the form that AWS's have, an ARN-like path and a signature, but lies on this cloud's endpoint; the
signature is what the handle's signals are kept under. Requests come in through `signal_calls.py`.
"""

from __future__ import annotations

import json
from urllib.parse import parse_qs, quote, unquote, urlsplit

from portside.cloud.services.cloudformation.signals import FAILURE, SUCCESS, Signal

PAGE = "/_portside/waitcondition"
LONGEST_DATA = 4096


def url(endpoint: str, stack_id: str, logical_id: str, signature: str) -> str:
    path = quote(f"{stack_id}/{logical_id}", safe="/")
    return f"{endpoint}{PAGE}/{path}?Signature={quote(signature, safe='')}"


def parts(found: str) -> tuple[str, str, str] | None:
    """(stack id, logical id, signature) of a handle's URL; None for anything else."""
    split = urlsplit(found)
    if not split.path.startswith(f"{PAGE}/"):
        return None
    stack_id, _, logical_id = unquote(split.path.removeprefix(f"{PAGE}/")).rpartition("/")
    signature = parse_qs(split.query).get("Signature", [""])[0]
    if not stack_id.startswith("arn:") or not logical_id or not signature:
        return None
    return stack_id, logical_id, signature


def message(body: bytes, now: float) -> Signal | None:
    """The signal in a body; None if it is none, which AWS tells the wait condition and not the sender."""
    try:
        found = json.loads(body)
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    status, unique_id = found.get("Status"), found.get("UniqueId")
    if status not in (SUCCESS, FAILURE) or not isinstance(unique_id, str) or not unique_id:
        return None
    data = found.get("Data", "")
    data = data if isinstance(data, str) else json.dumps(data)
    return Signal(unique_id, status, str(found.get("Reason", "")), data, now)
