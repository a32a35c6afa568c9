"""Every code the embedded exchange can refuse with is told in the real one's shape and understood by the client."""

import ast
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from trader.errors import NotSent, OutcomeUnknown, RateLimited, Rejected
from trader.exchange.outcome import Answer, order_failure
from trader.sim.errors import Refusal
from trader.sim.wire import refusal

SIM = Path(__file__).resolve().parents[2] / "trader" / "sim"
NOW = datetime(2024, 1, 1, tzinfo=UTC)
# what is answered to other requests than an order's, or to a path that does not exist
NEVER_AN_ORDER = {-1131, -2011, -2013, -4167, -4170, -4171, -5000}
OTHERWISE = {-1003: RateLimited, -1015: RateLimited, -1021: NotSent, -4116: OutcomeUnknown}


def codes() -> list[int]:
    """Return the numbers of all refusals written in the exchange's source."""
    found = set()
    for path in SIM.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Refusal" and node.args:
                number = node.args[0]
                if isinstance(number, ast.UnaryOp) and isinstance(number.operand, ast.Constant):
                    found.add(-int(str(number.operand.value)))
    return sorted(found)


class AnsweredError(Exception):
    """A failed request with the answer attached, as the client raises it."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


def test_the_source_names_its_codes() -> None:
    assert len(codes()) > 60
    assert {-2019, -2022, -4164, -4509} <= set(codes())


@pytest.mark.fault(77)
@pytest.mark.parametrize("code", [code for code in codes() if code not in NEVER_AN_ORDER])
def test_a_code_the_exchange_may_answer_to_an_order_means_what_it_says(code: int) -> None:
    status = 429 if OTHERWISE.get(code) is RateLimited else 400
    error = order_failure(AnsweredError(Answer(status, code, "no", None)), "POST /fapi/v1/order", NOW)
    assert type(error) is OTHERWISE.get(code, Rejected)
    assert error.code == code


@pytest.mark.parametrize("code", codes())
def test_a_refusal_is_a_number_and_a_sentence_and_nothing_else(code: int) -> None:
    answer = refusal(Refusal(code, "Words.", 429, 3))
    document = json.loads(answer.body)
    assert document == {"code": code, "msg": "Words."}
    assert (type(document["code"]), type(document["msg"])) == (int, str)
    assert answer.status == 429
    assert answer.headers["Retry-After"] == "3"
