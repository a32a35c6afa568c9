import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from tests.unit.forecast_frames import frame_of
from trader.domain.interval import Interval
from trader.errors import ModelError
from trader.forecast.artifact import Model, dump, golden_rows, load
from trader.forecast.card import Card, Construction, Gate, Training
from trader.forecast.linear import LinearForecaster
from trader.forecast.weights import encode

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FORECASTER = LinearForecaster((1, 3), (-0.08, 0.02), -0.0003, 0.04)


def card_for(forecaster: LinearForecaster, weights: bytes, **changes: Any) -> Card:
    fields: dict[str, Any] = {
        "name": "mine",
        "symbol": "ADAUSDT",
        "interval": Interval.parse("16h"),
        "construction": Construction.of(Interval.parse("16h")),
        "lags": forecaster.lags,
        "loss": "l1",
        "method": "by hand",
        "training": Training(first_close=NOW, last_close=NOW, rows=3, data_hash="0" * 64),
        "metrics": {"test": {"n": 3, "sharpe": 1.5, "std": None}},
        "versions": {"numpy": "2"},
        "weights_hash": hashlib.sha256(weights).hexdigest(),
        "golden": golden_rows(forecaster, [[100.0, 101.0, 99.0, 102.0], [0.3, 0.31, 0.29, 0.3]]),
        "gates": {"closes": Gate(value=3.0, needed="at least 250", passed=False)},
        "verdict": "NO-GO",
        "reason": "Three closes are too few to judge; wait for more — Ü.",
        "trials": 15,
        "created": NOW,
        "expires": NOW + timedelta(days=365),
    }
    return Card(**(fields | changes))


def model(**changes: Any) -> Model:
    return Model(card_for(FORECASTER, encode(FORECASTER), **changes), FORECASTER)


def with_weights(tensors: dict[str, Any]) -> tuple[bytes, bytes]:
    weights = save(tensors)
    return card_for(FORECASTER, weights).to_bytes(), weights


def test_a_model_comes_back_as_it_was_written() -> None:
    card, weights = dump(model())
    back = load(card, weights, symbol="ADAUSDT", interval="16h", construction=Construction.of(Interval.parse("16h")))
    assert back == model()
    assert dump(back) == (card, weights)
    assert back.hash == hashlib.sha256(card + weights).hexdigest()
    assert (back.name, back.verdict) == ("mine", "NO-GO")
    assert back.forecaster.forecast(frame_of([1, 2, 3, 4, 5])).height == 2


def test_a_model_whose_residuals_are_unknown_comes_back_too() -> None:
    unknown = LinearForecaster((1,), (-0.1,), 0.0, None)
    weights = encode(unknown)
    card = card_for(unknown, weights, golden=golden_rows(unknown, [[1.0, 1.1]]), training=None)
    assert load(card.to_bytes(), weights).forecaster == unknown


@pytest.mark.fault(70)
def test_any_flipped_bit_of_either_file_is_refused() -> None:
    card, weights = dump(model())
    for which, data in enumerate((card, weights)):
        for position in range(len(data)):
            for bit in range(8):
                spoiled = bytearray(data)
                spoiled[position] ^= 1 << bit
                files = [card, weights]
                files[which] = bytes(spoiled)
                with pytest.raises(ModelError, match=r"restore the model's folder|train"):
                    load(files[0], files[1])


@pytest.mark.fault(70)
@pytest.mark.parametrize("cut", [0, 1, 100, -1])
def test_a_truncated_file_is_refused(cut: int) -> None:
    card, weights = dump(model())
    with pytest.raises(ModelError, match="restore the model's folder"):
        load(card[:cut], weights)
    with pytest.raises(ModelError, match="not those its card was written for; restore"):
        load(card, weights[:cut])
    with pytest.raises(ModelError, match=r"altered|not JSON"):
        load(card + b"\n", weights)


@pytest.mark.fault(70)
def test_another_symbol_interval_or_construction_is_refused_with_both_named() -> None:
    files = dump(model())
    with pytest.raises(
        ModelError, match=r"another symbol \(ADAUSDT, not BTCUSDT\); name a model of BTCUSDT, or train one"
    ):
        load(*files, symbol="BTCUSDT")
    with pytest.raises(ModelError, match=r"another interval \(16h, not 12h\)"):
        load(*files, interval=Interval.parse("12h"))
    with pytest.raises(ModelError, match=r"another candle construction \(whole 8h bars .*, not whole 16h bars"):
        load(*files, construction=Construction.of(Interval.parse("16h"), Interval.parse("16h")))


def test_an_interval_in_another_spelling_is_the_same() -> None:
    day = model(interval=Interval.parse("1d"), construction=Construction.of(Interval.parse("1d")))
    assert load(*dump(day), interval="24h").name == "mine"


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({"linear.weight": np.array([[np.nan, 0.1]]), "linear.bias": np.zeros(1)}, "NaN or infinite"),
        ({"linear.weight": np.array([[0.1, 0.1]]), "linear.bias": np.array([np.inf])}, "NaN or infinite"),
        ({"linear.weight": np.array([[0.1]]), "linear.bias": np.zeros(1)}, "shapes"),
        ({"linear.weight": np.array([0.1, 0.1]), "linear.bias": np.zeros(1)}, "shapes"),
        ({"linear.weight": np.array([[0.1, 0.1]], dtype=np.float32), "linear.bias": np.zeros(1)}, "shapes"),
        ({"linear.weight": np.array([[0.1, 0.1]])}, "shapes"),
        ({"linear.weight": np.array([[0.1, 0.1]]), "linear.bias": np.zeros(1), "more": np.zeros(1)}, "shapes"),
        ({"linear.weight": np.array([[0.1, 0.1]]), "linear.bias": np.zeros(1)}, "golden row 1"),
        (
            {"linear.weight": np.array([[-0.08, 0.02]]), "linear.bias": np.zeros(1), "residual_deviation": np.zeros(1)},
            "residual deviation of 0.0",
        ),
    ],
)
def test_weights_that_do_not_fit_their_card_are_refused_though_every_hash_agrees(tensors: Any, reason: str) -> None:
    with pytest.raises(ModelError, match=f"{reason}.*; .*train the model again"):
        load(*with_weights(tensors))


@pytest.mark.fault(71)
def test_bytes_that_are_no_safetensors_are_refused_though_the_hash_agrees() -> None:
    weights = b"\xff" * 64
    with pytest.raises(ModelError, match="no safetensors file"):
        load(card_for(FORECASTER, weights).to_bytes(), weights)


@pytest.mark.fault(73)
def test_a_golden_row_that_comes_out_otherwise_is_refused() -> None:
    rows = golden_rows(FORECASTER, [[100.0, 101.0, 99.0, 102.0]])
    off = rows[0].model_copy(update={"forecast": rows[0].forecast * (1 + 1e-6)})
    with pytest.raises(ModelError, match=r"says forecast .* of golden row 1, where its card says .*constraints"):
        load(*dump(model(golden=(off,))))
    near = rows[0].model_copy(update={"forecast": rows[0].forecast * (1 + 1e-11)})
    assert load(*dump(model(golden=(near,)))).name == "mine"


@pytest.mark.parametrize("golden", [(), "short", "negative"])
def test_golden_rows_that_prove_nothing_are_refused(golden: Any) -> None:
    row = golden_rows(FORECASTER, [[100.0, 101.0, 99.0, 102.0]])[0]
    closes = {"short": (1.0, 2.0), "negative": (1.0, 2.0, -3.0, 4.0)}
    rows = (row.model_copy(update={"closes": closes[golden]}),) if golden else ()
    with pytest.raises(ModelError, match=r"[gG]olden row"):
        load(*dump(model(golden=rows)))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": "gru"}, "kind"),
        ({"interval": "960m"}, "interval: .*'960m' is written 16h"),
        ({"interval": "often"}, "interval"),
        ({"trials": "15"}, "trials"),
        ({"weights_hash": "abc"}, "weights_hash"),
        ({"surprise": 1}, "surprise"),
        ({"expires": "2026-01-01T00:00:00"}, "expires"),
        ({"metrics": {"test": {"sharpe": float("nan")}}}, "metrics|card cannot be used"),
    ],
)
def test_a_card_of_another_make_is_refused_though_its_hash_agrees(change: dict[str, Any], reason: str) -> None:
    card, weights = dump(model())
    content = json.loads(card)
    del content["card_hash"]
    content |= change
    compact = json.dumps(content, sort_keys=True, separators=(",", ":"))
    content["card_hash"] = hashlib.sha256(compact.encode()).hexdigest()
    text = json.dumps(content, sort_keys=True, indent=2) + "\n"
    with pytest.raises(ModelError, match=f"{reason}.*train the model again"):
        load(text.encode(), weights)


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff\xfe{}", b"{}", b"[" * 100_000])
def test_what_is_no_card_at_all_is_refused(data: bytes) -> None:
    with pytest.raises(ModelError, match="restore the model's folder"):
        Card.from_bytes(data)


def test_a_card_cannot_be_put_on_other_weights() -> None:
    other = LinearForecaster((1, 3), (-0.08, 0.021), -0.0003, 0.04)
    with pytest.raises(ModelError, match="belongs to other weights"):
        dump(Model(model().card, other))


def test_a_model_expires_at_its_instant() -> None:
    expires = model().card.expires
    assert model().expired(expires)
    assert not model().expired(expires - timedelta(milliseconds=1))


def test_a_file_of_coarser_bars_is_another_construction() -> None:
    interval = Interval.parse("16h")
    assert Construction.of(interval, Interval.parse("1h")) == Construction.of(interval)
    assert str(Construction.of(interval, Interval.parse("16h")).source) == "16h"
