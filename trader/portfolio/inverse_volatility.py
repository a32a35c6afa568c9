"""From targets to fractions of equity: the less a symbol moves the more of it is held, within limits that bind."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from trader.forecast.section import total
from trader.market.panel import Array, Mask


@dataclass(frozen=True, slots=True)
class Wish:
    """What a policy wishes of a symbol, and what is known of it.

    `target` is signed and only compared with the other targets, `volatility` a standard deviation a candle, `spread` a
    fraction of the price.
    """

    target: float
    volatility: float
    spread: float


@dataclass(frozen=True, slots=True)
class InverseVolatilityAllocator:
    """Weigh targets by inverse volatility, aim at a volatility, and trade only where it is worth its cost.

    `target_volatility` is a standard deviation a year, symbols taken as independent; `per_year` counts candles. `cap`
    bounds the weight of one symbol, `gross` the sum of all without their signs, `net` the sum with them (None: any),
    `turnover` what one close may trade, all as fractions of equity. A held symbol is traded only as far as to
    `patience` * spread / (`risk_aversion` * variance a year) from its wish; what is new is opened in full.

    The limits hold after every close, whatever was held before it. `turnover` bounds all that is done by choice, what
    left the universe first; what the other limits ask of a book that has drifted beyond them, and what can be traded
    no more, goes at once and in full, and counts first.
    """

    per_year: float
    target_volatility: float = 0.4
    cap: float = 0.2
    gross: float = 2.0
    net: float | None = None
    turnover: float = 0.3
    patience: float = 0.3
    risk_aversion: float = 2.0

    def weights(
        self, wishes: Mapping[str, Wish], held: Mapping[str, float], gone: Collection[str] = ()
    ) -> dict[str, float]:
        """Return the weights to reach, by symbol, of everything that is to be traded; what is left alone is absent.

        Args:
            wishes: of the universe.
            held: signed fractions of equity; what is held without a wish is sold.
            gone: held symbols that are traded no more.
        """
        names = sorted({*wishes, *(name for name, weight in held.items() if weight)})
        if not names:
            return {}
        known = [wishes.get(name) for name in names]
        member = np.array([[wish is not None for wish in known]])
        rows = np.array([[(w.target, w.volatility, w.spread) if w else (0.0, np.nan, np.nan) for w in known]])
        before = np.array([[held.get(name, 0.0) for name in names]])
        lost = np.array([[name in gone for name in names]])
        wished = self.wished(rows[..., 0], rows[..., 1], member)
        after = self.rebalanced(before, wished, self.buffer(rows[..., 1], rows[..., 2], member), member, lost)[0]
        return {
            name: float(after[place])
            for place, name in enumerate(names)
            if after[place] != before[0, place] or (lost[0, place] and before[0, place])
        }

    def wished(self, targets: Array, volatility: Array, member: Mask) -> Array:
        """Return the weights that would be held without costs; matrices (closes, symbols), 0 where not a member."""
        raw = np.where(member, targets / volatility, 0.0)
        gross = total(np.abs(raw), member)
        share = np.divide(raw, gross, out=np.zeros(raw.shape), where=gross > 0)
        risk = np.where(member, share * volatility, 0.0)
        deviation = np.sqrt(total(risk * risk, member) * self.per_year)
        scale = np.divide(self.target_volatility, deviation, out=np.zeros(deviation.shape), where=deviation > 0)
        return self.within(share * scale)

    def forecast_volatility(self, weights: Array, volatility: Array, member: Mask) -> Array:
        """Return the volatility a year that weights are expected to have, symbols taken as independent; (closes, 1)."""
        risk = np.where(member, weights * volatility, 0.0)
        return np.sqrt(total(risk * risk, member) * self.per_year)

    def buffer(self, volatility: Array, spread: Array, member: Mask) -> Array:
        """Return how far from its wish a held weight may be before it is traded; 0 where not a member."""
        variance = volatility * volatility * self.per_year
        return np.where(member, self.patience * spread / (self.risk_aversion * variance), 0.0)

    def within(self, weights: Array) -> Array:
        """Bring weights within cap, gross and net, never enlarging one; what is within already is the same, exactly."""
        everywhere = np.ones(weights.shape, dtype=bool)
        capped = np.clip(weights, -self.cap, self.cap)
        capped = capped * _share(self.gross, total(np.abs(capped), everywhere))
        if self.net is None:
            return capped
        longs, shorts = total(capped, capped > 0), -total(capped, capped < 0)
        long_share, short_share = _share(shorts + self.net, longs), _share(longs + self.net, shorts)
        return capped * np.where(capped > 0, long_share, short_share)

    def rebalanced(self, held: Array, wished: Array, buffer: Array, member: Mask, gone: Mask) -> Array:
        """Return the weights after one close, from those held when it was decided; all (1, symbols) or (symbols,).

        Args:
            held: before it.
            wished: as `wished` says; read where `member`.
            buffer: as `buffer` says.
            member: who is wished at all; what is held and no member is left.
            gone: what can be traded no more and is given up in full.
        """
        before = np.atleast_2d(held)
        must = self.within(np.where(gone, 0.0, before))
        left = self.turnover - np.abs(must - before).sum()
        after, left = _towards(must, self.within(np.where(member, must, 0.0)), left)
        apart = np.where(member & ~np.asarray(gone), wished - after, 0.0)
        beyond = np.where(after == 0.0, apart, np.sign(apart) * np.maximum(np.abs(apart) - buffer, 0.0))
        after, _ = _towards(after, self.within(after + beyond), left)
        return after.reshape(np.shape(held))


def _share(most: float | Array, amount: Array) -> Array:
    """Return what an amount is to be multiplied by so that it is at most `most`: 1 exactly where it is."""
    return np.where(amount > most, most / np.where(amount > 0, amount, 1.0), 1.0)


def _towards(start: Array, end: Array, left: float) -> tuple[Array, float]:
    """Go from one book to another as far as the turnover that is left reaches; return where, and what is left then.

    Both ends are within the limits, and so is every book on the straight way between them.
    """
    distance = float(np.abs(end - start).sum())
    if distance == 0.0 or left <= 0.0:
        return start, max(left, 0.0)
    if distance <= left:
        return end, left - distance
    return start + (end - start) * (left / distance), 0.0
