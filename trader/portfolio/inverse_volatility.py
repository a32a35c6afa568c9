"""From targets to fractions of equity: the less a symbol moves the more of it is held, within limits that bind."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from trader.forecast.section import Places, total
from trader.market.panel import Array, Mask

_sum = np.add.reduce


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
    no more, goes at once and in full, and counts first. `lean` is the net weight held beside all this, of what cannot
    be traded now: the net limit is that of both together, as far as what can be traded reaches.
    """

    per_year: float
    target_volatility: float = 0.4
    cap: float = 0.2
    gross: float = 2.0
    net: float | None = None
    turnover: float = 0.3
    patience: float = 0.3
    risk_aversion: float = 2.0
    lean: float = 0.0

    def beside(self, weights: Iterable[float]) -> "InverseVolatilityAllocator":
        """Return the allocator of the rest, where these weights are held and cannot be traded now."""
        kept = list(weights)
        if not kept:
            return self
        return replace(self, gross=max(0.0, self.gross - sum(map(abs, kept))), lean=sum(kept))

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
        member = np.array([wish is not None for wish in known])
        rows = np.array([(w.target, w.volatility, w.spread) if w else (0.0, 1.0, 0.0) for w in known]).T
        targets, volatility, spread = rows[:, np.newaxis, :]
        before = np.array([held.get(name, 0.0) for name in names])
        lost = np.array([name in gone for name in names])
        wished = self.wished(targets, volatility, member[np.newaxis])[0]
        buffer = self.buffer(volatility, spread)[0]
        after, _ = self.rebalanced(before, wished, wished - buffer, wished + buffer, member, lost)
        return {
            name: float(after[place])
            for place, name in enumerate(names)
            if after[place] != before[place] or (lost[place] and before[place])
        }

    def wished(self, targets: Array, volatility: Array, member: Mask) -> Array:
        """Return the weights that would be held without costs, within the limits; (closes, symbols), 0 where no member.

        `volatility` is a standard deviation a candle, positive where there is a member.
        """
        places = Places.of(member)
        volatility = places.push(volatility, 1.0)
        raw = places.push(targets, 0.0) / volatility
        gross = total(np.abs(raw))
        share = raw / np.where(gross > 0, gross, 1.0)
        risk = share * volatility
        deviation = np.sqrt(total(risk * risk) * self.per_year)
        share *= self.target_volatility / np.where(deviation > 0, deviation, np.inf)
        return self.within(places.spread(share, 0.0))

    def buffer(self, volatility: Array, spread: Array) -> Array:
        """Return how far from its wish a held weight may be before it is traded; of any shape."""
        return np.asarray(self.patience * spread / (self.risk_aversion * self.per_year * volatility * volatility))

    def within(self, weights: Array) -> Array:
        """Bring weights within cap, gross and net, enlarging none; of one close, or (closes, symbols) each by itself.

        What is within already comes back the same, exactly.
        """
        if weights.ndim > 1:
            # the cap is each weight's own, and a row is added up as one close is: along its symbols
            capped = np.minimum(np.maximum(weights, -self.cap), self.cap)
            sizes = np.abs(capped)
            beyond = _sum(sizes, axis=1) > self.gross
            if self.net is not None:
                beyond |= np.abs(_sum(capped, axis=1) + self.lean) > self.net
            for row in np.flatnonzero(beyond):
                capped[row] = self._summed(capped[row], sizes[row])
            return capped
        sizes = np.abs(weights)
        if len(sizes) and sizes[sizes.argmax()] > self.cap:
            weights = np.minimum(np.maximum(weights, -self.cap), self.cap)
            sizes = np.abs(weights)
        return self._summed(weights, sizes)

    def _summed(self, weights: Array, sizes: Array) -> Array:
        """Bring weights of one close, whose sizes are given, within gross and net."""
        gross = float(_sum(sizes))
        if gross > self.gross:
            weights = weights * (self.gross / gross)
        return self._levelled(weights)

    def _levelled(self, weights: Array) -> Array:
        """Bring weights of one close within net."""
        net = float(_sum(weights)) + self.lean
        if self.net is None or abs(net) <= self.net:
            return weights
        # what the heavier side leads by too much is taken from it
        heavy = weights > 0 if net > 0 else weights < 0
        side = abs(float(_sum(weights[heavy])))
        if side == 0:
            return weights
        return np.where(heavy, weights * (max(0.0, side - abs(net) + self.net) / side), weights)

    def rebalanced(
        self, held: Array, wished: Array, low: Array, high: Array, member: Mask, gone: Mask | None = None
    ) -> tuple[Array, float]:
        """Return the weights after one close and what was traded for them; all arguments (symbols,).

        Args:
            held: before it.
            wished: as `wished` says.
            low: the wish less its buffer, below which a held weight is bought up to it.
            high: the wish and its buffer, above which a held weight is sold down to it.
            member: who is wished at all; what is held and no member has left.
            gone: what can be traded no more and is given up in full.
        """
        after = self.within(held if gone is None else np.where(gone, 0.0, held))
        left = self.turnover
        forced = 0.0
        if after is not held:
            forced = float(_sum(np.abs(after - held)))
            left -= forced
        new = after == 0.0
        leaving = np.count_nonzero(new | member) < len(new)
        if leaving:
            # what is within cap and gross stays so when a part of it goes
            after, spent = _towards(after, self._levelled(np.where(member, after, 0.0)), left)
            forced, left = forced + spent, left - spent
            new = after == 0.0
        aim = np.maximum(after, low)
        np.minimum(aim, high, out=aim)
        np.putmask(aim, new, wished)
        if leaving:
            # what is not sold yet is sold first at the next close, and nothing else is done to it
            aim = np.where(member, aim, after)
        if gone is not None:
            aim = np.where(gone, 0.0, aim)
        # no weight is beyond the cap: a held one is brought nearer to its wish, and both are within it
        after, spent = _towards(after, self._summed(aim, np.abs(aim)), left)
        return after, forced + spent


def _towards(start: Array, end: Array, left: float) -> tuple[Array, float]:
    """Go from one book to another as far as the turnover that is left reaches; return where, and what it took.

    Both ends are within the limits, and so is every book on the straight way between them.
    """
    change = end - start
    distance = float(_sum(np.abs(change)))
    if distance <= left:
        return end, distance
    if left <= 0.0:
        return start, 0.0
    change *= left / distance
    change += start
    return change, left
