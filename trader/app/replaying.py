"""Decide again what the journal says was decided."""

from datetime import datetime
from typing import Any

from trader.app.assembly import strategy_key
from trader.app.current import journal_path
from trader.app.strategies import Loaded, compose, compose_portfolio
from trader.config import PortfolioFile, Settings, StrategyFile, kind_of
from trader.domain.wording import stamp
from trader.errors import JournalError, ModelError
from trader.journal.queries import Reader
from trader.journal.rows import StoredModel
from trader.live.record import Inputs, decode_inputs, encode_decision, recompute


def replay(settings: Settings, close: datetime | None) -> dict[str, Any]:
    """Recompute one decision or all of them from journalled inputs, strategy and model.

    Returns:
        How many were recomputed, and every close whose decision differs, with both texts.

    Raises:
        JournalError: there is no decision at that close, or the journal has lost what it was made with.
    """
    differences: list[dict[str, str]] = []
    count = 0
    known: dict[tuple[str, str], Loaded] = {}
    with Reader.read(journal_path(settings)) as journal:
        for transcript in journal.transcripts(since=close, until=close):
            inputs = decode_inputs(transcript.inputs, journal.texts(transcript))
            again = encode_decision(recompute(made_with(journal, inputs, known).strategy, inputs))
            count += 1
            if again != transcript.output:
                differences.append({"close": stamp(inputs.close), "journal": transcript.output, "replay": again})
    if close is not None and not count:
        raise JournalError(f"The journal has no decision at {stamp(close)}; `trader status` names the last one.")
    return {"replayed": count, "differences": differences}


def made_with(journal: Reader, inputs: Inputs, known: dict[tuple[str, str], Loaded]) -> Loaded:
    """Return strategy and model of a decision, from `known` where they are there already.

    Raises:
        JournalError: the journal has lost them.
        ModelError: the model was altered in the journal.
    """
    key = (inputs.strategy, inputs.model)
    if key not in known:
        known[key] = _load(journal, inputs)
    return known[key]


def _composed(text: str, model: StoredModel) -> Loaded:
    if kind_of(text) == "carry":
        return compose_portfolio(text, PortfolioFile.parse(text, "the journal"))
    return compose(text, StrategyFile.parse(text, "the journal"), model.card.encode(), model.weights)


def _load(journal: Reader, inputs: Inputs) -> Loaded:
    model = journal.load_model(inputs.model)
    text = journal.get(strategy_key(inputs.strategy))
    if model is None or text is None:
        raise JournalError(
            f"The journal has lost the strategy or model of the close {stamp(inputs.close)}; restore it from a backup."
        )
    loaded = _composed(text, model)
    if loaded.worth.hash != inputs.model or loaded.hash != inputs.strategy:
        raise ModelError(f"The model of the close {stamp(inputs.close)} was altered in the journal; restore a backup.")
    return loaded
