"""From the research's carry book to the correct one, a mistake at a time: the numbers of docs/carry.md."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from tests.golden.seed_carry_book import COST, DAY, Floats, research_book, signals, volatility_with_holes
from trader.forecast.carry import CarryForecaster
from trader.forecast.section import tenths, winsorised
from trader.market.candles import parse_candles
from trader.market.panel import PaidByLongs, Panel, liquidity_tenths, panel_of
from trader.portfolio.inverse_volatility import InverseVolatilityAllocator
from trader.portfolio.policy import TenthPolicy
from trader.research.basket import Basket, carry_basket, walk

Mask = NDArray[np.bool_]
RESEARCH = InverseVolatilityAllocator(DAY.per_year)
PRODUCT = replace(RESEARCH, net=0.2)
# the research puts the variance of a day into its buffer
WIDE = replace(RESEARCH, risk_aversion=RESEARCH.risk_aversion / DAY.per_year)


@dataclass(frozen=True)
class Rung:
    """Final value, turnover a day, and mean gross and net over the closes on which anything was held."""

    value: float
    turnover: float
    gross: float
    net: float
    funding: float

    def row(self) -> list[str]:
        """Write it as the page does."""
        return [
            f"{self.value:.4f}", f"{self.turnover:.3f}", f"{self.gross:.2f}", f"{self.net:+.2f}", f"{self.funding:+.4f}"
        ]  # fmt: skip

    @classmethod
    def of(cls, basket: Basket) -> "Rung":
        held = np.abs(basket.weights).sum(axis=1) > 0
        last = len(basket.traded) - 1
        return cls(
            value=float(np.prod(1.0 + basket.earned[:last])),
            turnover=float(basket.traded[:last][held[:last]].mean()),
            gross=float(np.abs(basket.weights).sum(axis=1)[held].mean()),
            net=float(basket.weights.sum(axis=1)[held].mean()),
            funding=float(basket.funding.sum()),
        )


@pytest.fixture(scope="module")
def panel(shared: Path) -> Panel:
    name = "perps_1d_2023-09_2023-11.parquet"
    return panel_of(parse_candles((shared / "data" / name).read_bytes(), name), DAY)


def without_funding(panel: Panel) -> Panel:
    return replace(panel, paid=PaidByLongs(np.zeros(panel.close.shape)))


def research_rung(panel: Panel, **right: bool) -> Rung:
    book = research_book(panel, **right)
    # nothing is held on the first two days
    turnover, gross, net = (float(np.mean(values[2:])) for values in (book.turnover, book.gross, book.net))
    return Rung(book.nav[-1], turnover, gross, net, 0.0)


def research_wishes(panel: Panel, *, within: bool, holes: bool) -> tuple[Mask, Floats, Floats]:
    """Members, targets and volatility as the research makes them, with its ranking or its volatility put right."""
    universe = liquidity_tenths(panel, 30, 1) >= 9
    volatility = volatility_with_holes(panel, universe)
    if not holes:
        everywhere = CarryForecaster(least_history=3, tenths_kept=2, volatility_window=120)
        volatility = everywhere.section(panel).volatility
    _, ranks, targets = signals(panel)
    members = universe & (volatility > 0) & (ranks > 0)
    if within:
        targets = TenthPolicy().targets(tenths(winsorised(panel.paid.carry, members, 0.05), members))
    return members, targets, np.where(members, volatility, 1.0)


def walked(panel: Panel, members: Mask, targets: Floats, volatility: Floats, *, funded: bool) -> Rung:
    spread = (panel.high - panel.low) / (panel.high + panel.low)
    wished = WIDE.wished(targets, volatility, members)
    buffer = WIDE.buffer(volatility, np.where(members, spread, 0.0))
    return Rung.of(walk(panel if funded else without_funding(panel), members, wished, buffer, WIDE, COST))


def product(panel: Panel, allocator: InverseVolatilityAllocator) -> Rung:
    return Rung.of(carry_basket(panel, CarryForecaster(), TenthPolicy(), allocator, COST))


def test_the_candle_file_is_the_research_data_in_the_exchange_s_sign(panel: Panel, shared: Path) -> None:
    raw = pl.read_parquet(shared / "data" / "seed-oracles" / "perps_daily_raw_2023-09_2023-11.parquet")
    received = raw.pivot("ticker", index="date", values="funding_rate", sort_columns=True).sort("date")
    # the raw file has the noise of adding three rates
    assert np.array_equal(panel.paid.carry, np.round(received.drop("date").to_numpy(), 8), equal_nan=True)


def rungs(panel: Panel) -> dict[str, Rung]:
    """Every step of the page, by how its row begins there; each keeps what the ones before it put right."""
    return {
        "As the research": research_rung(panel),
        "A symbol's last day": research_rung(panel, last_days=True),
        "What leaves is sold": research_rung(panel, last_days=True, sold=True),
        "Every trade is paid": research_rung(panel, last_days=True, sold=True, paid=True),
        "Weights move": walked(panel, *research_wishes(panel, within=False, holes=True), funded=False),
        "Funding is booked": walked(panel, *research_wishes(panel, within=False, holes=True), funded=True),
        "Ranks within": walked(panel, *research_wishes(panel, within=True, holes=True), funded=True),
        "Volatility of": walked(panel, *research_wishes(panel, within=True, holes=False), funded=True),
        "Thirty days": product(panel, WIDE),
        "A buffer of": product(panel, RESEARCH),
        "Net within": product(panel, PRODUCT),
    }


def test_every_difference_stands_on_its_page_in_numbers(panel: Panel, root: Path) -> None:
    told = [line for line in (root / "docs" / "carry.md").read_text().splitlines() if line.startswith("| ")]
    for name, rung in rungs(panel).items():
        (row,) = [line for line in told if line.startswith(f"| {name}")]
        numbers = [cell.strip() for cell in row.split("|")[2:-1]]
        assert numbers == rung.row(), name
