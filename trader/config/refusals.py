"""How settings are refused: in one sentence that names the place and the remedy, and never repeats a value."""

import difflib
import re
from collections.abc import Callable, Iterable, Sequence

from pydantic import BaseModel, ValidationError

from trader.errors import ConfigError

PREFIX = "TRADER_"


def variables(model: type[BaseModel], prefix: str = PREFIX) -> list[str]:
    """Return every variable that is understood."""
    found: list[str] = []
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found += variables(inner, f"{prefix}{name.upper()}__")
        else:
            found.append(f"{prefix}{name.upper()}")
    return found


def refuse_unknown(found: Iterable[str], known: Sequence[str], where: str) -> None:
    """Refuse the first of ours among these names that is not known; pydantic would ignore it."""
    for name in sorted(map(str.upper, found)):
        if name.startswith(PREFIX) and name not in known:
            raise ConfigError(f"{name} in {where} is no setting; {nearest(name, known)}.")


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which of the known names may be meant, else to remove it."""
    within = [one for one in known if one.startswith(f"{name}__")]
    # compared without the prefix that all share, and by the last word alone
    short = {re.split(r"__|\.", one)[-1]: one for one in known} | {one.removeprefix(PREFIX): one for one in known}
    near = within or [short[one] for one in difflib.get_close_matches(name.removeprefix(PREFIX), short, cutoff=0.6)]
    return f"{near[0]} may be meant" if near else "remove it"


def first(error: ValidationError, model: type[BaseModel], say: Callable[[str], str] | None = None) -> str:
    """Say the first thing that is wrong, where, and how many more there are; values are never repeated.

    `say` turns a variable's name into where it was set; without it places are keys of a file.
    """
    details = error.errors(include_url=False, include_input=False, include_context=False)
    first, more = details[0], len(details) - 1
    words = [str(part) for part in first["loc"]]
    if say is None:
        place, known = ".".join(words), [name.lower().replace("__", ".") for name in variables(model, "")]
        where, remedy = place, "correct it"
    else:
        place, known = PREFIX + "__".join(words).upper(), variables(model)
        where, remedy = say(place), "correct or unset it"
    what = first["msg"].removeprefix("Value error, ").rstrip(".")
    match first["type"]:
        case "extra_forbidden":
            sentence = f"{where} is no setting; {nearest(place, known)}"
        case "missing":
            sentence = f"{where} is missing; add it"
        case _:
            sentence = f"{where} is refused: {what[:1].lower()}{what[1:]}; {remedy}"
    return sentence + (f" (and {more} more)" if more else "")
