"""What an allocator may never do, whatever it is asked and whatever is held."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.perpetuals_at_hand import allocator, names
from trader.portfolio.inverse_volatility import InverseVolatilityAllocator, Wish

SLACK = 1e-12

allocators = st.builds(
    allocator,
    target_volatility=st.floats(0.05, 2),
    cap=st.floats(0.01, 0.6),
    gross=st.floats(0.1, 3),
    net=st.one_of(st.none(), st.floats(0, 1)),
    turnover=st.floats(0, 2),
    patience=st.floats(0, 1),
    risk_aversion=st.floats(0.1, 10),
)
some_wishes = st.dictionaries(
    st.sampled_from(names(30)),
    st.builds(Wish, st.floats(-1, 1), st.floats(0.001, 0.5), st.floats(0, 0.2)),
    max_size=25,
)
books = st.dictionaries(st.sampled_from(names(30)), st.floats(-1, 1).map(lambda weight: round(weight, 4)), max_size=25)


def reached(held: dict[str, float], weights: dict[str, float]) -> dict[str, float]:
    return {**held, **weights}


def traded(held: dict[str, float], weights: dict[str, float]) -> float:
    return sum(abs(weight - held.get(symbol, 0.0)) for symbol, weight in weights.items())


def within(made: InverseVolatilityAllocator, held: dict[str, float]) -> dict[str, float]:
    if not held:
        return {}
    found = made.within(np.array(list(held.values())))
    return dict(zip(held, found.tolist(), strict=True))


@given(allocators, some_wishes, books, st.sets(st.sampled_from(names(30)), max_size=3))
def test_no_limit_on_what_is_held_is_ever_passed(
    made: InverseVolatilityAllocator, wishes: dict[str, Wish], held: dict[str, float], gone: set[str]
) -> None:
    after = reached(held, made.weights(wishes, held, gone))
    assert all(abs(weight) <= made.cap + SLACK for weight in after.values())
    assert sum(map(abs, after.values())) <= made.gross + SLACK
    assert made.net is None or abs(sum(after.values())) <= made.net + SLACK
    assert all(after[symbol] == 0.0 for symbol in gone if symbol in held)


@given(allocators, some_wishes, books)
def test_the_turnover_is_never_passed_by_choice(
    made: InverseVolatilityAllocator, wishes: dict[str, Wish], held: dict[str, float]
) -> None:
    start = within(made, held)
    assert traded(start, made.weights(wishes, start)) <= made.turnover + SLACK


@given(allocators, some_wishes, books, st.sets(st.sampled_from(names(30)), max_size=3))
def test_beyond_the_turnover_only_what_the_other_limits_ask_for_is_traded(
    made: InverseVolatilityAllocator, wishes: dict[str, Wish], held: dict[str, float], gone: set[str]
) -> None:
    must = within(made, {symbol: 0.0 if symbol in gone else weight for symbol, weight in held.items()})
    forced = traded(held, must)
    assert traded(held, made.weights(wishes, held, gone)) <= max(made.turnover, forced) + SLACK


@given(allocators, some_wishes, books, st.randoms(use_true_random=False))
def test_the_order_of_symbols_changes_no_weight(
    made: InverseVolatilityAllocator, wishes: dict[str, Wish], held: dict[str, float], chance: object
) -> None:
    shuffled, other = list(wishes), list(held)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    chance.shuffle(other)  # type: ignore[attr-defined]
    again = made.weights({name: wishes[name] for name in shuffled}, {name: held[name] for name in other})
    assert again == made.weights(wishes, held)


@given(allocators, some_wishes, books)
def test_what_left_the_universe_is_flat_after_as_many_closes_as_the_turnover_needs(
    made: InverseVolatilityAllocator, wishes: dict[str, Wish], held: dict[str, float]
) -> None:
    start = within(made, held)
    leavers = {symbol for symbol, weight in start.items() if weight and symbol not in wishes}
    after = reached(start, made.weights(wishes, start))
    emptied = reached(start, dict.fromkeys(leavers, 0.0))
    need = traded(start, within(made, emptied))
    if need <= made.turnover:
        assert all(after[symbol] == 0.0 for symbol in leavers)


@given(allocators, some_wishes)
def test_a_book_that_is_wished_for_is_left_alone(made: InverseVolatilityAllocator, wishes: dict[str, Wish]) -> None:
    patient = allocator(
        target_volatility=made.target_volatility, cap=made.cap, gross=made.gross, net=made.net, turnover=10.0
    )
    there = patient.weights(wishes, {})
    again = patient.weights(wishes, there)
    assert traded(there, again) <= 1e-9
