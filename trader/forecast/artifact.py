"""A model as two files: safetensors with the numbers, and a card that says what they are and refuses the rest."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from trader.domain.interval import Interval
from trader.errors import ModelError
from trader.forecast.card import Card, Construction, Golden
from trader.forecast.gru import GruForecaster
from trader.forecast.linear import LinearForecaster
from trader.forecast.weights import decode, encode

CARD_FILE = "card.json"
WEIGHTS_FILE = "weights.safetensors"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Another processor's logarithm or sums may differ in the last bits, which rounding hides but for a tie.
_TOLERANCES = {"ar": (1e-9, 1e-15), "gru": (2e-5, 2e-6)}  # relative and absolute: 12 digits and 6


@dataclass(frozen=True, slots=True)
class Model:
    """A forecaster with its card."""

    card: Card
    forecaster: LinearForecaster | GruForecaster

    @property
    def name(self) -> str:
        """What it is called."""
        return self.card.name

    @property
    def verdict(self) -> str:
        """GO, NO-GO or UNJUDGED."""
        return self.card.verdict

    @property
    def reason(self) -> str:
        """Why, in a sentence."""
        return self.card.reason

    @property
    def hash(self) -> str:
        """The identity of card and weights together (sha256 over the bytes of both files, card first)."""
        card, weights = dump(self)
        return hashlib.sha256(card + weights).hexdigest()

    def expired(self, at: datetime) -> bool:
        """Whether it is too old at that instant."""
        return at >= self.card.expires


def dump(model: Model) -> tuple[bytes, bytes]:
    """Write a model as the bytes of `card.json` and `weights.safetensors`; the same model gives the same bytes.

    Raises:
        ModelError: the card is not of these weights.
    """
    weights = encode(model.forecaster)
    lags = model.forecaster.lags if isinstance(model.forecaster, LinearForecaster) else ()
    if hashlib.sha256(weights).hexdigest() != model.card.weights_hash or model.card.lags != lags:
        raise ModelError(f"The card of {model.name} belongs to other weights; make a card for these.")
    return model.card.to_bytes(), weights


def load(
    card_bytes: bytes,
    weights_bytes: bytes,
    *,
    symbol: str | None = None,
    interval: Interval | str | None = None,
    construction: Construction | None = None,
) -> Model:
    """Read a model back and prove that it is the one that was written; what is given must be what it was trained on.

    Raises:
        ModelError: altered, truncated, not finite, of another shape, symbol, interval or candle construction, or it
            forecasts its golden rows differently.
    """
    card = Card.from_bytes(card_bytes)
    if hashlib.sha256(weights_bytes).hexdigest() != card.weights_hash:
        raise ModelError(
            f"The weights of {card.name} are not those its card was written for; restore the model's folder from where "
            "it came, or train it again."
        )
    wanted = Interval.parse(interval) if isinstance(interval, str) else interval
    for what, here, asked in (
        ("symbol", card.symbol, symbol),
        ("interval", str(card.interval), None if wanted is None else str(wanted)),
        ("candle construction", _said(card.construction), None if construction is None else _said(construction)),
    ):
        if asked is not None and asked != here:
            raise ModelError(
                f"The model {card.name} was trained on another {what} ({here}, not {asked}); name a model of {asked}, "
                "or train one."
            )
    model = Model(card, decode(weights_bytes, card))
    _recompute(model)
    return model


def golden_rows(forecaster: LinearForecaster | GruForecaster, windows: Sequence[Sequence[float]]) -> tuple[Golden, ...]:
    """Say what a forecaster says of windows of closes, each as long as its warm-up."""
    return tuple(Golden(closes=tuple(window), **_said_of(forecaster, window)) for window in windows)


def _recompute(model: Model) -> None:
    if not model.card.golden:
        raise ModelError(f"The card of {model.name} has no golden rows to check it by; train the model again.")
    relative, absolute = _TOLERANCES[model.card.kind]
    for number, row in enumerate(model.card.golden):
        if len(row.closes) != model.forecaster.warmup or not all(close > 0 for close in row.closes):
            raise ModelError(f"Golden row {number + 1} of {model.name} is no window of closes; train the model again.")
        now = _said_of(model.forecaster, row.closes)
        for what, then in (("forecast", row.forecast), ("confidence", row.confidence)):
            if not math.isclose(now[what], then, rel_tol=relative, abs_tol=absolute):
                raise ModelError(
                    f"The model {model.name} says {what} {now[what]} of golden row {number + 1}, where its card says "
                    f"{then}; install the pinned versions (constraints.txt) or train the model again."
                )


def _said_of(forecaster: LinearForecaster | GruForecaster, window: Sequence[float]) -> dict[str, float]:
    closes = pl.Series("close", window, dtype=pl.Float64)
    times = pl.Series("close_time", [_EPOCH + timedelta(days=day) for day in range(len(closes))])
    frame = pl.DataFrame([closes, times]).with_columns(symbol=pl.lit("golden"))
    row = forecaster.forecast(frame).row(-1, named=True)
    return {"forecast": row["forecast"], "confidence": row["confidence"]}


def _said(construction: Construction) -> str:
    return f"whole {construction.source} bars on the {construction.grid} grid, {construction.price} price"
