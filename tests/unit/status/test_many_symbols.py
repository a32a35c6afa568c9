"""The page of a portfolio: how many symbols, what they come to together, and what was left out."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from tests.unit.status.conftest import FIRST, INTERVAL
from trader.cli.table import table
from trader.journal.journal import Journal
from trader.status.board import Board, Facts, Instance
from trader.status.page import render
from trader.status.readable import forecast, left_out, only, position, target
from trader.status.sight import Sight

NAMES = [f"S{number}USDT" for number in range(8)]


def numbers(values: list[float]) -> str:
    return ", ".join(f'"{name}": {value}' for name, value in zip(NAMES, values, strict=True))


@pytest.fixture
def sight(journal: Journal, facts: Facts, instance: Instance) -> Sight:
    close, held = FIRST, {name: Decimal(-2 if number % 2 else 3) for number, name in enumerate(NAMES)}
    journal.set_baseline(
        wallet=Decimal(100), equity=Decimal(100), positions=held, last_trades={}, at=close,
        costs={name: 2 * quantity for name, quantity in held.items()},
    )  # fmt: skip
    prices = ", ".join(f'"{name}": "2"' for name in NAMES)
    unknown = '{"LATEUSDT": "its candles have a hole"}'
    inputs = f'{{"book": {{"prices": {{{prices}}}, "unknown": {unknown}}}}}'
    forecasts = ", ".join(f'"{name}": [{number}.5, 0, 0.02, 0.001]' for number, name in enumerate(NAMES))
    output = f'{{"forecasts": {{{forecasts}}}, "targets": {{{numbers([-0.1, 0.1] * 4)}}}, "refusals": []}}'
    journal.claim(close, close)
    journal.record_decision(close, inputs, output, model_hash="abc", why="it ranks", intents=[], at=close)
    journal.finish(
        close, wallet=Decimal(100), equity=Decimal(100), peak=Decimal(100), positions=held | {"S9USDT": Decimal(0)},
        at=close + timedelta(seconds=5),
    )  # fmt: skip
    return Sight(journal.path, replace(instance, symbols=()), Board(facts))


def test_a_page_of_many_symbols_counts_them_and_adds_up_what_they_are(sight: Sight) -> None:
    page = render(sight.document())
    for words in (
        "all that is listed, every 16h",
        "Holds 8 symbols, 4 long and 4 short",
        "8 symbols",
        "80.0 %",
        "8 held",
        "Symbols held after every close",
        "candle of every symbol that is listed",
    ):
        assert words in page
    assert sight.document()["decisions"][0]["unknown"] == {"LATEUSDT": "its candles have a hole"}
    assert "<b>left out</b> LATEUSDT: its candles have a hole</td>" in page
    sight.close()


def test_the_figure_of_many_symbols_is_how_many_are_held(sight: Sight) -> None:
    assert sight.series()["position"] == [8.0]
    sight.close()


def test_the_table_of_many_symbols_says_the_same(sight: Sight) -> None:
    from rich.console import Console

    console = Console(width=160, record=True, file=None)
    with console.capture() as told:
        console.print(table(sight.document(), FIRST + INTERVAL.delta))
    assert "8 symbols  target 80.0 %" in told.get()
    sight.close()


def test_words_for_one_symbol_for_many_and_for_none() -> None:
    assert (only({}), only({"A": 1.0}), only({"A": 1.0, "B": 2.0})) == (None, 1.0, None)
    assert (forecast({}), forecast({"A": 0.001}), forecast({"A": 1.0, "B": 2.0})) == ("–", "+10.0 bp", "2 symbols")
    assert (target({}), target({"A": -0.5}), target({"A": 0.1, "B": -0.2})) == ("–", "−50.0 %", "30.0 %")
    assert (position({}), position({"A": "-3"}), position({"A": "1", "B": "0"})) == ("–", "−3", "1 held")


def test_one_symbol_is_shown_as_ever(
    close_one: Callable[..., None], journal: Journal, facts: Facts, instance: Instance
) -> None:
    close_one(0)
    with_one = Sight(journal.path, instance, Board(facts))
    assert with_one.series()["position"] == [10.0]
    page = render(with_one.document())
    assert "Position after every close" in page
    assert '<td class="words">buy</td>' in page
    with_one.close()


def test_an_order_says_of_what_it_is_where_that_is_not_the_only_symbol(
    close_one: Callable[..., None], journal: Journal, facts: Facts, instance: Instance
) -> None:
    close_one(0)
    for symbols in ((), ("BTCUSDT",), ("ADAUSDT", "BTCUSDT")):
        shown = Sight(journal.path, replace(instance, symbols=symbols), Board(facts))
        assert '<td class="words">buy ADAUSDT</td>' in render(shown.document())
        shown.close()


def test_of_many_symbols_that_were_left_out_the_first_are_named() -> None:
    assert left_out({"A": "no price", "B": "a hole"}) == "A: no price; B: a hole"
    assert left_out(dict.fromkeys("ABCDE", "a hole")) == "A: a hole; B: a hole; C: a hole; and 2 more"
