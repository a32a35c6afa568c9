"""What `trader pnl` and `trader trades` say is what the exchange booked, and what the third ledger makes of it."""

from collections import defaultdict
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.parity.third_ledger import Account, replay
from tests.scenarios.processes import Home
from trader.sim.generated import generated_tape
from trader.sim.instruments import default_brackets

TIERS = [(tier.cap, tier.rate, tier.cum) for tier in default_brackets()]
CYCLES = 60


def booked(home: Home) -> dict[str, Decimal]:
    """What the exchange's own ledger holds, by the kind of booking."""
    found: dict[str, Decimal] = defaultdict(Decimal)
    for _, _, kind, amount in home.ledger()["incomes"]:
        found[kind] += Decimal(amount)
    return found


def timeless(trip: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in trip.items() if not name.endswith("_time")}


def added(rows: list[dict[str, Any]], name: str) -> Decimal:
    return sum((Decimal(row[name]) for row in rows), Decimal(0))


def test_every_cent_is_where_exchange_and_third_ledger_have_it(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    frame, rates = generated_tape()
    candles, funding = tmp_path / "ADAUSDT_1h.parquet", tmp_path / "ADAUSDT_funding.parquet"
    frame.write_parquet(candles)
    rates.write_parquet(funding)
    tape = ("--tape", str(candles), "--funding", str(funding), "--from", "2024-01-01", "--equity", "10000")
    ran = home.document("run", *tape, "--cycles", str(CYCLES), "--speed", "max")
    told, by_close = home.document("pnl"), home.document("pnl", "--by", "close")
    exchange = booked(home)
    assert Decimal(told["realised"]) == exchange["REALIZED_PNL"]
    assert Decimal(told["fees"]) == exchange["COMMISSION"]
    assert Decimal(told["funding"]) == exchange["FUNDING_FEE"] != 0
    assert Decimal(told["wallet"]) == Decimal(home.ledger()["wallet"][0][0])
    assert told["unexplained"] == told["other"] == told["transfers"] == "0"

    books: list[Account] = []
    closes = [(datetime.fromisoformat(one["close"]), Decimal(one["position"])) for one in ran["closes"]]
    third = replay(
        candles,
        funding,
        closes,
        equity=Decimal(10000),
        fee=Decimal("0.0005"),
        slippage=Decimal("0.0001"),
        spread=Decimal("0.0002"),
        leverage=2,
        tick=Decimal("0.0001"),
        brackets=TIERS,
        books=books,
    )
    (book,) = books
    assert [Decimal(row["equity"]) for row in by_close["periods"]] == [equity for _, equity in third]
    assert (Decimal(told["realised"]), Decimal(told["fees"])) == (book.realised, -book.fees)
    assert (Decimal(told["funding"]), Decimal(told["wallet"])) == (book.funded, book.wallet)
    assert added(by_close["periods"], "net") == Decimal(told["net"]) == third[-1][1] - 10000
    for name in ("realised", "unrealised", "fees", "funding", "net"):
        assert added(told["periods"], name) == Decimal(told[name])

    trips = home.document("trades", "--last", "1000")
    # the daemon's document knows the close of a fill, the journal its very moment
    assert [timeless(one) for one in trips] == [timeless(one) for one in ran["round_trips"]]
    assert added(trips, "net") == Decimal(told["net"])


def test_what_a_flatten_and_a_deposit_move_is_told_apart(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    plan = home.plan({"at": 1704290400000, "do": "transfer", "amount": "500"})
    home.document("run", "--cycles", "6", "--speed", "max", TRADER_SIM__FAULTS=plan)
    assert home.run("flatten", "--yes").returncode == 0
    told, exchange = home.document("pnl"), booked(home)
    assert Decimal(told["transfers"]) == exchange["TRANSFER"] == 500
    assert Decimal(told["realised"]) == exchange["REALIZED_PNL"]
    assert Decimal(told["fees"]) == exchange["COMMISSION"]
    assert Decimal(told["equity"]) == Decimal(told["wallet"]) == Decimal(home.ledger()["wallet"][0][0])
    assert Decimal(told["equity"]) == 10500 + Decimal(told["net"])
    assert told["unexplained"] == "0"
    assert all(trip["exit_time"] for trip in home.document("trades"))
    assert "in all" in home.run("pnl").stdout
    assert "USDT in all" in home.run("trades").stdout
