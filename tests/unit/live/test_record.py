"""A decision as text: what older journals say of it is still read, and what a portfolio adds comes back."""

import json
from datetime import UTC, datetime
from decimal import Decimal

from tests.unit.execution_world import instrument, limits
from tests.unit.forecast_frames import frame_of
from trader.domain.decision import Book, Decision, Forecast, State
from trader.live.record import Inputs, decode_candles, decode_decision, decode_inputs, encode_decision, encode_inputs

CLOSE = datetime(2024, 1, 2, tzinfo=UTC)
BOOK = Book(
    equity=Decimal(100),
    peak_equity=Decimal(100),
    positions={"ADAUSDT": Decimal(3)},
    prices={"ADAUSDT": Decimal("0.5")},
    instruments={"ADAUSDT": instrument("ADAUSDT")},
    state=State.ACTIVE,
)


def decided(forecast: Forecast) -> Decision:
    return Decision(CLOSE, {"ADAUSDT": forecast}, {}, {}, (), (), State.ACTIVE, "hold")


def test_candles_written_into_the_inputs_as_they_once_were_are_read() -> None:
    frame = frame_of([1.0, 2.0, 3.0])
    text = encode_inputs(Inputs(CLOSE, frame, BOOK, limits(), "s", "m"))
    times = {name: frame[name].dt.epoch("ms").to_list() for name in ("open_time", "close_time")}
    older = json.dumps(json.loads(text) | {"candles": frame.to_dict(as_series=False) | times})
    assert decode_inputs(older).candles.equals(frame)
    assert decode_candles(older, []).equals(frame)


def test_a_forecast_of_two_numbers_and_one_of_four_come_back_as_they_were() -> None:
    for forecast in (Forecast(0.1, 0.6), Forecast(-1.5, 0.0, 0.04, 0.002)):
        decision = decided(forecast)
        assert decode_decision(encode_decision(decision)) == decision
    assert json.loads(encode_decision(decided(Forecast(0.1, 0.6))))["forecasts"] == {"ADAUSDT": [0.1, 0.6]}


def test_what_was_not_known_comes_back_and_nothing_is_written_where_all_was() -> None:
    text = encode_inputs(Inputs(CLOSE, frame_of([1.0]), BOOK, limits(), "s", "m"))
    assert "unknown" not in text
    raw = json.loads(text)
    raw["book"]["unknown"] = {"XRPUSDT": "its candles have a hole"}
    book = decode_inputs(json.dumps(raw)).book
    assert book.unknown == {"XRPUSDT": "its candles have a hole"}
