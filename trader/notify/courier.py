"""Tell what one message on standard input asks for, then end: `python -m trader.notify.courier`.

The daemon starts this as a process of its own for every delivery, so that no notifier's library, server or silence is
ever inside the daemon. The addresses come over a pipe, because arguments and environments can be read by others. One
JSON line on standard output says what became of each delivery at once; none names an address or repeats what a library
said, because both hold keys.
"""

import json
import os
import resource
import sys
import threading
import urllib.request
from http.client import HTTPException
from time import monotonic
from typing import Any

MEMORY = 1 << 30
_APPRISE_KINDS = {"info": "info", "warning": "warning", "critical": "failure"}
_SAYING = threading.Lock()
_READ = 1024
_REFUSALS = 3


def main() -> None:
    """Tell every address at once, each in a thread of its own, and end at the deadline whatever still hangs."""
    os.nice(19)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    asked = json.loads(sys.stdin.buffer.read())
    threads = []
    if asked.get("look"):
        for address in asked["addresses"]:
            _say(address=address["number"], why=_notify(address["url"], None))
    if asked["ping"]:
        threads.append(threading.Thread(target=_ping, args=(asked["ping"], asked["seconds"]), daemon=True))
    for address in asked["addresses"]:
        alerts = [alert for alert in asked["alerts"] if address["number"] in alert["to"]]
        if alerts:
            threads.append(threading.Thread(target=_tell, args=(address, alerts), daemon=True))
    for thread in threads:
        thread.start()
    end = monotonic() + asked["seconds"]
    for thread in threads:
        thread.join(max(0.0, end - monotonic()))
    # a thread that hangs in a library must not keep the process
    os._exit(0)


def _say(**said: Any) -> None:
    with _SAYING:
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()


def _tell(address: dict[str, Any], alerts: list[dict[str, Any]]) -> None:
    """Tell one address everything, in order; one alert that it refuses does not keep the others from it."""
    refused = 0
    for alert in alerts:
        why = _notify(address["url"], alert)
        _say(alert=alert["id"], address=address["number"], told=why is None, why=why)
        refused += why is not None
        if refused >= _REFUSALS:
            # it is not the alerts that are wrong, and they are tried again later
            return


def _notify(url: str, alert: dict[str, Any] | None) -> str | None:
    """Return why an address did not take an alert, None where it did; without an alert, why it is no address."""
    try:
        import apprise

        notifier = apprise.Apprise(asset=apprise.AppriseAsset(app_id="trader", app_desc="trader", async_mode=False))
        if not notifier.add(url):
            return "apprise does not understand this address"
        if alert is None:
            return None
        kind = _APPRISE_KINDS[alert["severity"]]
        # said to be plain, so that it is written in the markup of each place; else a `<` in it is taken for markup
        plain = apprise.NotifyFormat.TEXT
        taken = notifier.notify(title=alert["title"], body=alert["text"], notify_type=kind, body_format=plain)
    except Exception as error:
        return type(error).__name__
    return None if taken else "it was not taken"


def _ping(url: str, seconds: float) -> None:
    """Fetch an address and say whether that went well."""
    why: str | None = None
    if not url.startswith(("https://", "http://")):
        why = "it is neither https nor http"
    else:
        try:
            with urllib.request.urlopen(url, timeout=seconds) as answer:  # noqa: S310  # its scheme is known
                answer.read(_READ)
        except (OSError, ValueError, HTTPException) as error:
            why = type(error).__name__
    _say(ping=why is None, why=why)


if __name__ == "__main__":
    main()
