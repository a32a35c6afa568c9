"""Who may read: whoever shows the token, and without one only who is on this machine and knows it."""

import hmac
from base64 import b64decode
from collections.abc import Mapping
from hashlib import sha256
from ipaddress import ip_address

NAMED = "localhost"


class Guard:
    """Lets readers in.

    With a token, a request has to show it, as a bearer token or as the password of any user. Without one the page is on
    loopback, and the request has to name loopback: a browser that was led here under another name is reading for a
    stranger's page.
    """

    def __init__(self, token: str) -> None:
        """Guard with a token; an empty one is none."""
        # digests have one length, so that comparing them tells nothing, not even how long the token is
        self._digest = sha256(token.encode()).digest() if token else None

    @property
    def asks(self) -> bool:
        """Whether a token is needed."""
        return self._digest is not None

    def admits(self, headers: Mapping[str, str]) -> bool:
        """Whether a request with these headers may read."""
        if self._digest is None:
            return _is_local(headers.get("Host", ""))
        shown = _shown(headers.get("Authorization", ""))
        return hmac.compare_digest(sha256(shown.encode(errors="surrogateescape")).digest(), self._digest)


def _shown(authorization: str) -> str:
    """Return the token in a header, or the empty text."""
    scheme, _, value = authorization.strip().partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return b64decode(value.strip(), validate=True).decode().partition(":")[2]
        except ValueError:
            return ""
    return ""


def _is_local(host: str) -> bool:
    name = host.strip().lower()
    name = name[1 : name.find("]")] if name.startswith("[") else name.rpartition(":")[0] or name
    if name == NAMED:
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
