import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.scenarios.processes import COMMAND
from tests.unit.report.stories import shapes, shortfall, story
from trader.research.report.page import number, percent, pictures, render, render_shapes

EVERY_FIGURE = [
    "equity", "drawdown", "price", "changes", "forecast", "position", "learning", "entropy", "balance", "returns",
    "trades", "costs", "folds", "calibration",
]  # fmt: skip
OF_A_LIVE_ACCOUNT = ["expected", "behind", "shortfall", "fills"]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Told by the page itself at the end: what it asked anybody for, and what went wrong.
WITNESS = """<script>
window.wrong = [];
window.addEventListener("error", (event) => window.wrong.push(String(event.message)));
window.addEventListener("unhandledrejection", (event) => window.wrong.push(String(event.reason)));
window.addEventListener("securitypolicyviolation", (event) => window.wrong.push(event.blockedURI));
</script>"""
VERDICT = """<script type="module">
const wait = () => document.querySelectorAll("[data-figure]:not([data-drawn])").length;
for (let turn = 0; turn < 400 && wait(); turn += 1) await new Promise((go) => setTimeout(go, 25));
document.body.dataset.asked = performance.getEntriesByType("resource").length;
document.body.dataset.wrong = JSON.stringify(window.wrong);
document.body.dataset.wide = document.documentElement.scrollWidth > window.innerWidth;
</script></body>"""


class Loads(HTMLParser):
    """Every address that an element of a page would load by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [f"{tag} {name}={value}" for name, value in attrs if name in {"src", "srcset", "href", "data"}]


@pytest.fixture(scope="module")
def page() -> str:
    return render(story(), "Made by hand.")


def test_the_page_holds_no_address_that_anything_would_be_loaded_from(page: str) -> None:
    loads = Loads()
    loads.feed(page)
    assert loads.found == ["link href=data:,"]
    style = page[page.index("<style>") : page.index("</style>")]
    assert re.findall(r"https?://|url\(|@import", style) == []
    own = page[page.rindex("const draw = async") :]
    assert re.findall(r"https?://", own) == []
    assert "default-src 'none'" in page
    assert len(page) < 5_000_000


def test_every_text_is_escaped(page: str) -> None:
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "It is &lt;refused&gt;." in page
    assert "&lt;p&gt; below" in page
    assert "&lt;b&gt;resumed&lt;/b&gt;" in page


def test_the_verdict_stands_before_any_figure_and_every_section_is_there(page: str) -> None:
    places = [page.index(f'data-figure="{name}"') for name in EVERY_FIGURE]
    assert places == sorted(places)
    assert page.index('<span class="badge">NO-GO</span>') < places[0]
    for words in ("2024", "+4.8 %", "426", "this model", "0.070", "Slippage", "−1.10", "The newest 1 of 1"):
        assert words in page


def test_what_is_not_known_is_said_to_be_absent() -> None:
    text = render(story(judged=False), "")
    assert 'data-figure="folds"' not in text
    for words in ("Nobody has judged this model yet", "It was not walked forward", "Nobody has measured"):
        assert words in text


def test_the_data_of_a_figure_cannot_end_its_element(page: str) -> None:
    specs = re.findall(r'<script type="application/json" id="spec-(\w+)">(.*?)</script>', page, re.DOTALL)
    assert [name for name, _ in specs] == EVERY_FIGURE
    assert all(json.loads(text)["width"] == "container" for _, text in specs)


def test_a_live_account_is_set_beside_what_it_should_have_earned() -> None:
    text = render(replace(story(), shortfall=shortfall()), "")
    places = [text.index(f'data-figure="{name}"') for name in (*OF_A_LIVE_ACCOUNT, *EVERY_FIGURE)]
    assert places == sorted(places)
    for words in ("not awake", "REDUCING by drift", "0.5001", "12 bp", "−30.0 %", "2.50×", "1 close was not"):
        assert words in text
    assert "Against what it should have earned" not in render(story(), "")


def test_a_linear_model_shows_no_training(page: str) -> None:
    assert "How it was trained" in page
    assert "How much likelier the next candle" in page
    linear = render(replace(story(), judged=replace(story().judged, learning=None)), "")
    assert "How it was trained" not in linear
    assert "The log return of the next candle" in linear


def test_networks_trained_side_by_side_stand_in_one_table_with_both_curves() -> None:
    text = render_shapes(shapes(), "Made by hand.")
    specs = re.findall(r'<script type="application/json" id="spec-(\w+)">(.*?)</script>', text, re.DOTALL)
    assert [name for name, _ in specs] == ["training", "validation"]
    for _, drawn in specs:
        assert set(re.findall(r'"shape":"(\w+)"', drawn)) == {"3x16", "1x8"}
    assert text.index("<td>3 × 16</td>") < text.index("<td>1 × 8</td>")
    for words in ("7 fits are recorded", "0.69250", "53.4 %", "−13.30", "<td>2 of 3</td>"):
        assert words in text


def test_every_figure_is_written_as_a_picture() -> None:
    drawn = pictures(story())
    assert list(drawn) == EVERY_FIGURE
    assert all(picture.startswith(b"\x89PNG") for picture in drawn.values())


@pytest.mark.parametrize(
    ("said", "text"),
    [(percent(0.1234), "+12.3 %"), (percent(-0.5), "−50.0 %"), (percent(0.0), "0.0 %"), (percent(None), "–"),
     (number(426.0), "426"), (number(-1.5), "−1.50"), (number(None), "–")],
)  # fmt: skip
def test_numbers_are_written_for_people(said: str, text: str) -> None:
    assert said == text


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
@pytest.mark.parametrize(("width", "live"), [(1200, False), (500, True)])
def test_a_browser_draws_every_figure_and_asks_nobody_for_anything(
    page: str, tmp_path: Path, width: int, live: bool
) -> None:
    assert CHROMIUM is not None
    wanted = [*OF_A_LIVE_ACCOUNT, *EVERY_FIGURE] if live else EVERY_FIGURE
    page = render(replace(story(), shortfall=shortfall()), "") if live else page
    file = tmp_path / "report.html"
    before, _, after = page.replace("<head>", f"<head>{WITNESS}", 1).rpartition("</body>")
    file.write_text(before + VERDICT + after)
    flags = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path / 'profile'}",
        f"--window-size={width},900", "--virtual-time-budget=20000", "--enable-logging=stderr", "--dump-dom",
    ]  # fmt: skip
    done = subprocess.run([CHROMIUM, *flags, file.as_uri()], capture_output=True, text=True, check=False, timeout=120)
    assert re.findall(r'data-drawn="(\w+)"', done.stdout) == ["yes"] * len(wanted), done.stderr
    assert len(re.findall(r'<svg[^>]*class="marks"', done.stdout)) == len(wanted)
    body = re.findall(r"<body data[^>]*>", done.stdout)[0]
    assert 'data-asked="0"' in body
    assert 'data-wrong="[]"' in body
    assert 'data-wide="false"' in body
    assert "CONSOLE" not in done.stderr


def test_the_command_writes_a_page_of_the_same_backtest(tmp_path: Path) -> None:
    words = ["report", "backtest", "--cycles", "40", "--out", "mine.html", "--json"]
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["closes"], told["verdict"], told["pictures"]) == (40, "NO-GO", [])
    assert "Backtest on a generated market" in (tmp_path / "mine.html").read_text()
    done = subprocess.run(
        [*COMMAND, *words[:4], "--out", "no/such/page.html"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 78
    assert "choose another --out or --png" in done.stderr
