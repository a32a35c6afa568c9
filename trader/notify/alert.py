"""One piece of news, how grave it is, and the key by which it is known again."""

from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Self


class Severity(StrEnum):
    """How much a person should care, the least first."""

    INFO = "info"
    WARNING = "warning"
    """Look at it today."""
    CRITICAL = "critical"
    """Nothing is traded, or money was lost that nobody decided to lose: look at it now."""

    def reaches(self, least: "Severity") -> bool:
        """Whether it is at least as grave."""
        ranks = list(Severity)
        return ranks.index(self) >= ranks.index(least)


@dataclass(frozen=True, slots=True)
class Alert:
    """What is told.

    Two alerts of one key are the same news. `once` is for facts that are told one time for ever; any other key may be
    told again when it has been quiet for a while. `always` is told however little is asked for.
    """

    key: str
    severity: Severity
    title: str
    text: str
    once: bool = False
    always: bool = False

    @classmethod
    def by_text(cls, kind: str, severity: Severity, title: str, text: str) -> Self:
        """Make one that is the same news only where it says the same."""
        return cls(f"{kind}:{sha256(text.encode()).hexdigest()[:16]}", severity, title, text)
