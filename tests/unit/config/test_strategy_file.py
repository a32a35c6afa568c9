from decimal import Decimal

import pytest

from trader.config import StrategyFile
from trader.errors import ConfigError

LEAST = """
name = "ada-ar-16h"
kind = "ar"
symbol = "ADAUSDT"
interval = "16h"
model = "../models/ada-ar-16h"
"""


def test_a_strategy_needs_only_its_name_market_and_model() -> None:
    strategy = StrategyFile.parse(LEAST, "ada.toml")
    assert (strategy.symbol, strategy.interval, strategy.model) == ("ADAUSDT", "16h", "../models/ada-ar-16h")
    assert (strategy.allocation.exposure, strategy.allocation.leverage) == (Decimal("0.5"), 2)
    assert (strategy.allocation.band, strategy.allocation.rebalance) == (0.25, "drift")
    assert strategy.policy.threshold == 0.0
    assert strategy.risk.max_drawdown is None


def test_every_key_is_read_exactly() -> None:
    strategy = StrategyFile.parse(
        LEAST
        + """
[policy]
threshold = 0.0015
[allocation]
exposure = 0.1
leverage = 3
margin_mode = "cross"
rebalance = "every_close"
band = 0.1
sizing = "constant"
capital = 250.5
cap = 0.05
[risk]
max_drawdown = 0.3
max_leverage = 2
max_notional = 5000
max_position = 12.5
max_delay = 120
""",
        "ada.toml",
    )
    assert strategy.policy.threshold == 0.0015
    assert strategy.allocation.exposure == Decimal("0.1")
    assert strategy.allocation.margin_mode == "cross"
    assert (strategy.allocation.rebalance, strategy.allocation.sizing) == ("every_close", "constant")
    assert (strategy.allocation.capital, strategy.allocation.cap) == (Decimal("250.5"), Decimal("0.05"))
    assert strategy.risk.max_drawdown == Decimal("0.3")
    assert strategy.risk.max_position == Decimal("12.5")
    assert strategy.risk.max_delay == 120.0


def test_an_interval_has_one_spelling() -> None:
    assert StrategyFile.parse(LEAST.replace("16h", "24h"), "ada.toml").interval == "1d"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name = \nkind", r"ada\.toml is not valid TOML: .*line 1.*; correct that place\."),
        ('name = "a"', r"ada\.toml cannot be used: kind is missing; add it \(and 3 more\)\."),
        (LEAST + "levrage = 2", r"levrage is no setting; allocation\.leverage may be meant\."),
        (LEAST + "[risk]\nmax_drawdon = 0.3", r"risk\.max_drawdon is no setting; risk\.max_drawdown may be meant\."),
        (
            LEAST + "[risk]\nmax_drawdown = 30",
            r"risk\.max_drawdown is refused: input should be less than or equal to 1",
        ),
        (LEAST.replace('"ar"', '"magic"'), r"kind is refused: input should be 'ar'"),
        (LEAST.replace('"16h"', '"soon"'), r"interval is refused: .*'soon' is not a positive whole number"),
        (LEAST.replace('"16h"', "16"), r"interval is refused"),
        (LEAST.replace("ada-ar-16h", "../../etc"), r"name is refused"),
        (LEAST + "[allocation]\nexposure = 2", r"allocation is refused: leverage \(2\) must be greater than exposure"),
        (LEAST + "[allocation]\nexposure = nan", r"allocation\.exposure is refused"),
        (LEAST + "[allocation]\nleverage = 2.5", r"allocation\.leverage is refused"),
        (LEAST + '[allocation]\nrebalance = "hourly"', r"allocation\.rebalance is refused"),
        (LEAST + '[allocation]\nsizing = "constant"', r"allocation is refused: constant sizing needs a capital"),
        (LEAST + "[allocation]\ncapital = 100", r"allocation is refused: a capital is for constant sizing only"),
        (LEAST + "[allocation]\ncap = 0", r"allocation\.cap is refused"),
        (LEAST + "[allocation]\nband = -1", r"allocation\.band is refused"),
    ],
)
def test_a_strategy_that_cannot_be_traded_is_refused_with_the_key(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        StrategyFile.parse(text, "ada.toml")


def test_exposures_above_one_are_for_whoever_sets_the_leverage_higher() -> None:
    strategy = StrategyFile.parse(LEAST + "[allocation]\nexposure = 5\nleverage = 6", "ada.toml")
    assert strategy.allocation.exposure == 5
