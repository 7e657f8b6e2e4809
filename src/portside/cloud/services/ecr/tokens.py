"""Passwords for the registry, and signed addresses of layers.

Pure but for the key, which is made once and kept in the database, so that a login outlives a restart. A password
carries its own expiry and a signature over it; nothing is stored per login.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from enum import Enum
from typing import Any

LIFETIME = 12 * 3600.0
USER = "AWS"


class Verdict(Enum):
    GOOD = "good"
    EXPIRED = "expired"
    WRONG = "wrong"


class Tokens:
    """Issues and checks passwords with one secret key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def password(self, expires: float, nonce: str, session: str = "") -> str:
        """`session` is the access key of the role session that asked, empty for the account itself."""
        claim = {"version": "2", "type": "DATA_KEY", "expiration": int(expires), "nonce": nonce}
        if session:
            claim["session"] = session
        payload = base64.urlsafe_b64encode(json.dumps(claim).encode()).decode().rstrip("=")
        return f"{payload}.{self._sign('login', payload)}"

    def check(self, password: str, now: float) -> Verdict:
        payload, _, signature = password.partition(".")
        if not hmac.compare_digest(signature.encode(), self._sign("login", payload).encode()):
            return Verdict.WRONG
        return Verdict.GOOD if now < float(_claim(payload)["expiration"]) else Verdict.EXPIRED

    def check_header(self, authorization: str, now: float) -> Verdict:
        """A whole `Authorization: Basic ...` header."""
        user, password = _basic(authorization)
        return self.check(password, now) if user == USER else Verdict.WRONG

    def session_of(self, authorization: str) -> str:
        """The role session that a header with a good password belongs to, empty for the account itself."""
        return str(_claim(_basic(authorization)[1].partition(".")[0]).get("session", ""))

    def sign_path(self, path: str, expires: int) -> str:
        """The query string that opens `path` to whoever has it, until `expires`."""
        return f"X-Amz-Expires={expires}&X-Amz-Signature={self._sign('path', f'{path} {expires}')}"

    def check_path(self, path: str, expires: str, signature: str, now: float) -> bool:
        if not expires.isdigit() or now >= int(expires):
            return False
        return hmac.compare_digest(signature.encode(), self._sign("path", f"{path} {expires}").encode())

    def _sign(self, purpose: str, text: str) -> str:
        return hmac.new(self._key, f"{purpose}\0{text}".encode(), hashlib.sha256).hexdigest()


def _basic(authorization: str) -> tuple[str, str]:
    """User and password; both empty where the header is none of its kind."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        user, _, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return user, password


def _claim(payload: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return found
