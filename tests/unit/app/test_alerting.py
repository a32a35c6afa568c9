"""Who is told, and what of their addresses may be seen."""

from pathlib import Path

import pytest

from tests.unit.notify.servers import hearing
from trader.app.alerting import Alerting, _last_words, listing, look_at_addresses, wishes
from trader.app.current import home
from trader.config import Settings
from trader.errors import ConfigError, JournalError
from trader.log import MASK, redact
from trader.notify.outbox import FILE, Outbox


def settings(urls: str, ping: str | None = None) -> Settings:
    return Settings(alerts={"urls": urls, "ping": ping}, _env_file=None)  # type: ignore[arg-type, call-arg]


@pytest.mark.parametrize(
    "url", ["tgram://[open-sesame", "https://open\u2100sesame.example/x", "open-sesame", "://", "json:///"]
)
def test_an_address_that_is_none_is_refused_by_its_number_and_never_shown(url: str) -> None:
    with pytest.raises(ConfigError, match="Address 1") as refused:
        look_at_addresses(settings(url))
    assert "sesame" not in str(refused.value)


def test_an_address_that_is_none_does_not_keep_a_daemon_from_starting() -> None:
    with Alerting(settings("tgram://[open-sesame", "http://[open-sesame")) as begun:
        assert isinstance(begun, Alerting)


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general", "TIiajkdnlazkcOXrIdevi7FQ"),
        ("slack://TokenOfMine/A1BRTD4JD/abc", "TokenOfMine"),
        ("tgram://123456789:AABBccddEEff/987", "AABBccddEEff"),
        ("mailto://me:pass.word.of.mine@example.com", "pass.word.of.mine"),
        ("mailto://me:pass%21word%21of%21mine@example.com", "pass!word!of!mine"),
        ("https://example.com/hook?key=AbCdEfGhIj&x=1", "AbCdEfGhIj"),
        ("https://example.com/a.dotted.token", "a.dotted.token"),
    ],
)
def test_a_key_within_an_address_is_taken_out_wherever_it_appears_alone(url: str, key: str) -> None:
    wishes(settings(url))
    assert redact(f"refused <{key}>") == f"refused <{MASK}>"


def test_the_name_of_a_host_is_public() -> None:
    wishes(settings("json://alerts.example.com:8080/secret-path"))
    assert redact("alerts.example.com") == "alerts.example.com"


def test_another_reason_of_an_end_is_other_news_and_the_same_is_not() -> None:
    keys = [_last_words(JournalError(why)).key for why in ("disk full", "disk full", "key refused")]
    assert keys[0] == keys[1] != keys[2]


def refused(settings: Settings) -> None:
    with pytest.raises(JournalError, match="disk full"), Alerting(settings):
        raise JournalError("disk full")


def test_why_a_start_was_refused_waits_for_an_address_that_does_not_take_it(tmp_path: Path) -> None:
    with hearing() as good, hearing() as bad:
        bad.status = 503
        both = f"json://{good.url}/ json://{bad.url}/"
        asked = Settings(venue="testnet", data_dir=tmp_path, alerts={"urls": both}, _env_file=None)  # type: ignore[arg-type, call-arg]
        refused(asked)
        assert good.titles() == bad.titles() == ["trader: The daemon has ended"]
        assert listing(asked, 5) == []
        home(asked).mkdir(parents=True)
        refused(asked)
        refused(asked)
    (kept,) = listing(asked, 5)
    assert (kept["title"], kept["status"], kept["repeats"]) == ("The daemon has ended", "waiting", 1)
    with Outbox.open(home(asked) / FILE) as box:
        assert box.newest(1)[0].told == {1}
