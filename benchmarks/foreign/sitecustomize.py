"""Confine a foreign client to the embedded exchange: Binance's hosts are its port on loopback, all others are nowhere.

Python imports this by itself where the folder is on PYTHONPATH.
"""

import os
import socket
import sys

_PORT = int(os.environ["CONFINED_PORT"])
_HOSTS = (".binance.com", "localhost")
_real = socket.getaddrinfo


def _confined(host, port, *rest, **named):
    name = host.decode() if isinstance(host, bytes) else host
    if name in ("127.0.0.1", "::1", None):
        return _real(name, port, *rest, **named)
    if not name.endswith(_HOSTS):
        raise socket.gaierror(-2, f"{name} is outside of this machine")
    return _real("127.0.0.1", _PORT, *rest, **named)


socket.getaddrinfo = _confined
sys.modules["aiodns"] = None  # it would ask a name server past this function

try:
    import certifi
except ImportError:
    pass
else:
    certifi.where = lambda: os.environ["CONFINED_CA"]
