"""Whatever README and docs tell a reader to type exists."""

import re
import shlex
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import typer
import typer.main

from tests.house.source import ROOT, texts

FENCE = re.compile(r"^ *```(console|sh|bash|shell)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
PUNCTUATION = {"&", "&&", "|", "||", ";", ">", ">>", "<", "(", ")"}


def typed(kind: str, block: str) -> Iterator[str]:
    """The command lines of one block: in a console block those after a `$`, elsewhere all but comments."""
    for line in block.replace("\\\n", " ").splitlines():
        said = line.strip()
        if kind == "console":
            if said.startswith("$ "):
                yield said[2:]
        elif said and not said.startswith("#"):
            yield said


def commands() -> list[tuple[str, list[str]]]:
    """Every simple command that is shown, as (page, words) without the settings in front of it."""
    found = []
    for page, text in texts("README.md", "docs"):
        for kind, block in FENCE.findall(text):
            for line in typed(kind, block):
                words = shlex.shlex(line, posix=True, punctuation_chars=True)
                words.whitespace_split = True
                found += [(page, simple) for simple in split(words)]
    return found


def split(words: Iterable[str]) -> Iterator[list[str]]:
    """The simple commands of a line, cut at pipes and redirections, without `sudo` and assignments."""
    simple: list[str] = []
    for word in [*words, ";"]:
        if word in PUNCTUATION:
            if simple:
                yield simple
            simple = []
        elif simple or not (re.match(r"[A-Z_]+=", word) or word in {"sudo", "env", "exec"}):
            simple.append(word)


def command_line() -> Any:
    """The click command behind `trader`: the largest Typer application its module holds."""
    import trader.cli

    applications = [value for value in vars(trader.cli).values() if isinstance(value, typer.Typer)]
    largest = max(applications, key=lambda one: len(one.registered_commands) + len(one.registered_groups))
    return typer.main.get_command(largest)


def parse(command: Any, words: list[str], parent: Any = None) -> None:
    """Parse words as the command line would, without running anything; an unknown option raises."""
    context = command.context_class(command, info_name=words[0], parent=parent)
    given, rest, _ = command.make_parser(context).parse_args(list(words[1:]))
    if hasattr(command, "get_command"):
        if not rest:
            return
        below = command.get_command(context, rest[0])
        assert below is not None, f"there is no {' '.join(words)}"
        parse(below, rest, context)
        return
    assert not rest, f"{' '.join(words)}: {rest} is too much"
    needed = [p.name for p in command.params if p.required and (p.name not in given or given[p.name] is None)]
    assert not needed, f"{' '.join(words)}: {needed} is missing"


def test_a_line_is_cut_into_the_commands_it_holds() -> None:
    assert list(split(["A=1", "trader", "run", "|", "jq", ".", ">", "out"])) == [
        ["trader", "run"],
        ["jq", "."],
        ["out"],
    ]
    shown = "$ make run\nsome output\n$ trader \\\n status\n"
    assert list(typed("console", shown)) == ["make run", "trader   status"]


def test_every_trader_command_that_is_shown_exists_with_its_options() -> None:
    shown = [(page, words) for page, words in commands() if words[0].rpartition("/")[2] == "trader"]
    if not shown:
        pytest.skip("README.md and docs/ show no trader command")
    application = command_line()
    for page, words in shown:
        try:
            parse(application, ["trader", *words[1:]])
        except (AssertionError, typer.BadParameter.__base__) as error:  # type: ignore[misc]
            raise AssertionError(f"{page}: {' '.join(words)}: {error}") from error


def leaves(command: Any, path: tuple[str, ...] = ("trader",)) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command below this one, with the words that lead to it."""
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, below in command.commands.items():
        yield from leaves(below, (*path, name))


def test_every_command_shows_examples_that_exist() -> None:
    application = command_line()
    found = list(leaves(application))
    assert len(found) > 30
    without = []
    for path, command in found:
        _, _, shown = (command.help or "").partition("Examples:\n")
        lines = [line.strip() for line in shown.splitlines() if line.strip()]
        examples = [words for line in lines for words in split(shlex.split(line)) if words[0] == "trader"]
        if not any(tuple(words[: len(path)]) == path for words in examples):
            without.append(" ".join(path))
        for words in examples:
            parse(application, words)
    assert without == []


def test_the_page_on_strategies_names_every_key_of_a_strategy_file() -> None:
    from trader.config import StrategyFile

    (page,) = [text for name, text in texts("docs") if name == "docs/strategies.md"]
    missing = []
    for name, field in StrategyFile.model_fields.items():
        inner = getattr(field.annotation, "model_fields", None)
        if inner is None:
            missing += [name] if f"`{name}`" not in page else []
        elif name == "risk":
            missing += [key for key in inner if f"`{key}`" not in page]
        else:
            missing += [f"{name}.{key}" for key in inner if f"`{name}.{key}`" not in page]
    assert missing == []


def test_every_make_target_that_is_shown_exists() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    asked = {
        word
        for _, words in commands()
        if words[0] == "make"
        for word in words[1:]
        if not word.startswith("-") and "=" not in word
    }
    assert asked <= targets


def test_every_link_between_pages_leads_somewhere() -> None:
    broken = [
        f"{page}: {target}"
        for page, text in texts("README.md", "CHANGELOG.md", "docs")
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
        if "://" not in target and not (ROOT / page).parent.joinpath(target).exists()
    ]
    assert broken == []
