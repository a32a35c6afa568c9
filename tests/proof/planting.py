"""How a bug is planted: a context manager that replaces a method of a real class while its body runs."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from inspect import signature
from typing import Any

Bug = Callable[[], AbstractContextManager[None]]


def wanted(function: Callable[..., Any]) -> list[str] | None:
    """Return the names of the arguments, None where a function hands on whatever it is given."""
    given = signature(function).parameters.values()
    return None if any(one.kind is one.VAR_POSITIONAL for one in given) else [one.name for one in given]


@contextmanager
def replaced(owner: Any, name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    """Replace an attribute by what `make` makes of it, for as long as the body runs."""
    original = owner.__dict__[name]
    wrong = make(original)
    if callable(original) and wanted(wrong) not in (wanted(original), None):
        raise TypeError(f"{make.__name__} is called otherwise than {name}, and would be found for that alone")
    setattr(owner, name, wrong)
    try:
        yield
    finally:
        setattr(owner, name, original)


def bug(owner: Any, name: str) -> Callable[[Callable[[Any], Any]], Bug]:
    """Make a bug of a function that turns the right method into the wrong one."""

    def planted(make: Callable[[Any], Any]) -> Bug:
        def plant() -> AbstractContextManager[None]:
            return replaced(owner, name, make)

        plant.__name__, plant.__doc__ = make.__name__, make.__doc__
        return plant

    return planted
