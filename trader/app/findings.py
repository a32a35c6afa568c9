"""What a check found, item by item."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from trader.errors import TraderError

Verdict = Literal["passed", "warned", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One item: its verdict, what was found in words, and what helps where it did not pass."""

    check: str
    verdict: Verdict
    found: str
    remedy: str = ""


@dataclass(slots=True)
class Findings:
    """Everything found so far, in order."""

    items: list[Finding] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether anything failed."""
        return any(item.verdict == "failed" for item in self.items)

    def passed(self, check: str, found: str) -> None:
        """Add what is as it should be."""
        self.items.append(Finding(check, "passed", found))

    def warned(self, check: str, found: str, remedy: str) -> None:
        """Add what can be lived with."""
        self.items.append(Finding(check, "warned", found, remedy))

    def skipped(self, check: str, found: str) -> None:
        """Add what could not be asked, and why."""
        self.items.append(Finding(check, "skipped", found))

    @contextmanager
    def checking(self, check: str, instead: str = "") -> Iterator[None]:
        """Add a failure where the body is refused, in the words of the refusal: its last part is the remedy.

        Where a start does something `instead` of refusing, it is a warning that says so.
        """
        try:
            yield
        except TraderError as error:
            self.refused(check, error, instead)

    def refused(self, check: str, error: TraderError, instead: str = "") -> None:
        """Add a failure in the words of a refusal, or a warning with what a start does instead of refusing."""
        found, _, remedy = str(error).rpartition("; ")
        said = (found or remedy).rstrip(".") + (f"; {instead}" if instead else "")
        self.items.append(Finding(check, "warned" if instead else "failed", said, remedy if found else ""))

    def document(self) -> dict[str, Any]:
        """Return all of it as the command line shows it."""
        return {
            "ok": not self.failed,
            "checks": [
                {"check": one.check, "verdict": one.verdict, "found": one.found, "remedy": one.remedy}
                for one in self.items
            ],
        }
