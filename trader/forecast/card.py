"""A model's card: everything about a model that its weights do not say, as canonical JSON that carries its own hash."""

import hashlib
import json
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from trader.domain.interval import Interval
from trader.errors import ConfigError, ModelError

_WRITE_AGAIN = "restore the model's folder from where it came, or train it again"


def _interval(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        interval = Interval.parse(value)
    except ConfigError as error:
        raise ValueError(str(error)) from error
    if str(interval) != value:
        raise ValueError(f"{value!r} is written {interval}")
    return interval


Grid = Annotated[Interval, BeforeValidator(_interval), PlainSerializer(str, return_type=str)]
Verdict = Literal["GO", "NO-GO", "UNJUDGED"]
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Construction(_Part):
    """How candles were made; a model knows no others."""

    source: Grid
    grid: Literal["unix epoch UTC"] = "unix epoch UTC"
    price: Literal["close"] = "close"
    rule: Literal["whole bars only"] = "whole bars only"

    @classmethod
    def of(cls, interval: Interval, file: Interval | None = None) -> "Construction":
        """Return how candles of `interval` are made: of whole klines of the longest native interval that divides it.

        Candles from a file of `file` bars are the same where those bars build those klines, and others where not.
        """
        native = interval.native
        return cls(source=native if file is None or native.minutes % file.minutes == 0 else file)


class Training(_Part):
    """What a fit has seen: candles from the first close to the last, and how many rows of it could be used.

    `data_hash` is over close times (int64 milliseconds) and closes (float64), both little-endian.
    """

    first_close: AwareDatetime
    last_close: AwareDatetime
    rows: int
    data_hash: Hash


class Golden(_Part):
    """Closes of a warm-up window, oldest first, and what the model said of them when it was made."""

    closes: tuple[float, ...]
    forecast: float
    confidence: float


class Gate(_Part):
    """One condition for trading money: what was measured, what is needed, and whether it is met."""

    value: float | None
    needed: str
    passed: bool


class Bin(_Part):
    """Forecasts of like confidence: the mean probability said, the share of signs that were right, and how many."""

    predicted: float
    observed: float
    count: int


class Calibration(_Part):
    """What the confidence of forecasts was worth on rows that no fit has seen.

    The Brier score is the mean squared distance between probability and outcome; a coin has 0.25.
    """

    rule: Literal[
        "log odds of the right sign in proportion to |forecast|, fitted to the training rows",
        "the greater of the two probabilities the network gives",
    ] = "log odds of the right sign in proportion to |forecast|, fitted to the training rows"
    rows: int
    brier: float | None
    bins: tuple[Bin, ...]


class Network(_Part):
    """The shape of a recurrent model: how many candles it reads, and how many layers of how many numbers."""

    window: Annotated[int, Field(ge=1, le=100_000)]
    layers: Annotated[int, Field(ge=1, le=100)]
    width: Annotated[int, Field(ge=1, le=10_000)]
    input: Literal["(close / previous close - 1 - mean) / deviation, of the training rows"] = (
        "(close / previous close - 1 - mean) / deviation, of the training rows"
    )


class Pass(_Part):
    """One pass over the training rows, and the losses it left."""

    train_loss: float
    validation_loss: float


class Learning(_Part):
    """How a recurrent model was trained, so that it can be trained again.

    `best` (from 1) is the pass whose weights were kept, by the loss on rows it was not trained on. Losses are in the
    objective's unit: nats a candle, or the profit of a candle with its sign turned. `cost` is what the profit objective
    paid for a unit of notional traded.
    """

    objective: Literal["cross-entropy", "profit"]
    epochs: int
    patience: int
    rate: float
    batch: int
    cost: float
    overlapping: bool
    seed: int
    best: int
    passes: tuple[Pass, ...]

    @property
    def detail(self) -> str:
        """Say what tells this training from another of the same objective, network and seed."""
        paid = f" cost {self.cost:g}" if self.objective == "profit" else ""
        return f"at most {self.epochs} passes, patience {self.patience}, rate {self.rate:g}, batch {self.batch}{paid}"


class Card(_Part):
    """All that identifies and judges a model.

    `metrics` are close-to-close and before costs, by period (`train`, `test`); `calibration` is of the confidence, None
    where nobody measured it; `loss` and `method` are how it was fitted; `trials` counts the fits it was chosen from;
    `gates`, `verdict` and `reason` say whether it may trade money, and `evidence` holds every number they follow from
    (`research.evidence`), None where nobody judged it. A linear model has `lags`, a recurrent one `network` and
    `learning`.
    """

    name: str
    kind: Literal["ar", "gru"] = "ar"
    symbol: str
    interval: Grid
    construction: Construction
    returns: Literal["log(close / previous close) over one candle"] = "log(close / previous close) over one candle"
    lags: tuple[int, ...]
    network: Network | None = None
    learning: Learning | None = None
    loss: str
    method: str
    training: Training | None
    metrics: dict[str, dict[str, int | float | None]]
    calibration: Calibration | None = None
    versions: dict[str, str]
    weights_hash: Hash
    golden: tuple[Golden, ...]
    gates: dict[str, Gate]
    verdict: Verdict
    reason: str
    trials: int
    evidence: dict[str, JsonValue] | None = None
    created: AwareDatetime
    expires: AwareDatetime

    def to_bytes(self) -> bytes:
        """Write the card: indented JSON with sorted keys and the hash of the rest under `card_hash`."""
        content = self.model_dump(mode="json")
        if self.network is None:
            del content["network"], content["learning"]  # as in cards written before there were others
        return _text({**content, "card_hash": _hash(content)})

    @model_validator(mode="after")
    def _of_one_kind(self) -> Self:
        recurrent = self.kind == "gru"
        if {self.network is not None, self.learning is not None, not self.lags} != {recurrent}:
            raise ValueError(
                f"of the kind {self.kind}: a linear model (ar) has lags, a recurrent one (gru) network and learning"
            )
        return self

    @classmethod
    def from_bytes(cls, data: bytes) -> "Card":
        """Read a card back.

        Raises:
            ModelError: one bit of it is not as it was written, or it is of another version.
        """
        try:
            document = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise ModelError(f"The model's card is not JSON any more; {_WRITE_AGAIN}.") from error
        if not isinstance(document, dict):
            raise ModelError(f"The model's card is no JSON object; {_WRITE_AGAIN}.")
        stated = document.pop("card_hash", None)
        # Rendering again catches what the hash does not see, such as a changed space.
        if stated != _hash(document) or data != _text({**document, "card_hash": stated}):
            raise ModelError(f"The model's card was altered after it was written; {_WRITE_AGAIN}.")
        try:
            card = cls.model_validate_json(json.dumps(document))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ModelError(
                f"The model's card cannot be used ({where}: {first['msg']}); train the model again with this version."
            ) from error
        if card.to_bytes() != data:
            raise ModelError("The model's card is of another version; train the model again with this version.")
        return card


def _hash(content: dict[str, Any]) -> str:
    compact = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(compact.encode()).hexdigest()


def _text(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, sort_keys=True, indent=2, ensure_ascii=True) + "\n").encode()
