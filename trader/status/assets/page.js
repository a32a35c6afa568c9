// Keep the page as true as the daemon: take over what changed, count down to the next close, draw the figures.
// Everything is asked of the daemon that served the page and of nobody else.
const PERIOD = 5000;
const SOON = 1500;
const own = document.querySelector("script[data-vega]");
let heard = Date.now();
let drawn = "";
const views = {};

const DATES =
  "utchours(datum.value) || utcminutes(datum.value) ? utcFormat(datum.value, '%H:%M')" +
  " : utcdate(datum.value) > 1 ? utcFormat(datum.value, '%-d %b')" +
  " : utcmonth(datum.value) ? utcFormat(datum.value, '%b') : utcFormat(datum.value, '%Y')";

const x = {
  field: "close", type: "temporal", title: null, scale: { type: "utc" },
  axis: { labelExpr: DATES, labelOverlap: "greedy", labelSeparation: 10, tickCount: 6, grid: false },
};
const when = { field: "close", type: "temporal", title: "close", timeUnit: "utcyearmonthdatehoursminutes", format: "%Y-%m-%d %H:%M" };

function reader(field, title, format) {
  // one invisible rule a close, that tells its numbers to a pointer
  return { mark: { type: "rule", opacity: 0, strokeWidth: 4 }, encoding: { x, tooltip: [when, { field, type: "quantitative", title, format }] } };
}

const FIGURES = {
  equity: {
    height: 240,
    layer: [
      { mark: { type: "line", color: "var(--gain)", strokeWidth: 1.8 }, encoding: { x, y: { field: "equity", type: "quantitative", title: null, scale: { zero: false, nice: true } } } },
      reader("equity", "equity", ",.2f"),
    ],
  },
  drawdown: {
    height: 110,
    layer: [
      { mark: { type: "area", color: "var(--loss)", opacity: 0.28, line: { color: "var(--loss)", strokeWidth: 1.2 } }, encoding: { x, y: { field: "drawdown", type: "quantitative", title: null } } },
      reader("drawdown", "drawdown, %", ".2f"),
    ],
  },
  position: {
    height: 110,
    layer: [
      { mark: { type: "area", interpolate: "step-after", color: "var(--gain)", opacity: 0.75 }, encoding: { x, y: { field: "long", type: "quantitative", title: null, axis: { format: "~s" } } } },
      { mark: { type: "area", interpolate: "step-after", color: "var(--loss)", opacity: 0.75 }, encoding: { x, y: { field: "short", type: "quantitative", title: null } } },
      reader("position", "position", ",~g"),
    ],
  },
};
const text = { labelColor: "var(--muted)", titleColor: "var(--muted)", labelFontSize: 11 };
const CONFIG = {
  font: "system-ui, -apple-system, 'Segoe UI', 'Noto Sans', 'DejaVu Sans', sans-serif",
  background: "transparent",
  view: { stroke: null },
  axis: { ...text, gridColor: "var(--line)", domainColor: "var(--line)", tickColor: "var(--line)", labelPadding: 6, tickSize: 4 },
  axisY: { domain: false, ticks: false, tickCount: 5, minExtent: 52 },
};

function rows(series) {
  return series.close.map((close, i) => ({
    close, equity: series.equity[i], drawdown: -100 * series.drawdown[i], position: series.position[i],
    long: Math.max(0, series.position[i]), short: Math.min(0, series.position[i]),
  }));
}

async function draw() {
  if (!window.vegaEmbed) await import(own.dataset.vega);
  const answer = await fetch("/equity.json", { cache: "no-store" });
  if (!answer.ok) return;
  const values = rows(await answer.json());
  for (const place of document.querySelectorAll("[data-figure]")) {
    const name = place.dataset.figure;
    if (views[name]) {
      await views[name].data("closes", values).runAsync();
    } else {
      const spec = { ...FIGURES[name], width: "container", autosize: { type: "fit-x", contains: "padding" }, data: { name: "closes", values }, config: CONFIG };
      // an interpreter instead of evaluated text, so that the page's policy need not allow evaluation
      const options = { mode: "vega-lite", renderer: "svg", actions: false, ast: true, defaultStyle: false, tooltip: { disableDefaultStyle: true } };
      views[name] = (await window.vegaEmbed(place, spec, options)).view;
    }
    place.dataset.drawn = values.length;
  }
}

async function figures() {
  const close = document.querySelector("#decisions td")?.textContent ?? "";
  if (close === drawn && Object.keys(views).length) return;
  drawn = close;
  try {
    await draw();
  } catch (error) {
    for (const place of document.querySelectorAll("[data-figure]:not([data-drawn])")) {
      place.dataset.drawn = "no";
      place.textContent = "This figure cannot be drawn: " + error;
    }
  }
}

function countDown() {
  for (const place of document.querySelectorAll("[data-until]")) {
    const left = Math.round((Date.parse(place.dataset.until) - Date.now()) / 1000);
    const [d, h, m] = [Math.floor(left / 86400), Math.floor(left / 3600) % 24, Math.floor(left / 60) % 60];
    place.textContent = left <= 0 ? "now" : "in " + (d ? `${d} d ${h} h` : h ? `${h} h ${m} min` : m ? `${m} min ${left % 60} s` : `${left} s`);
  }
  const silence = document.getElementById("silence");
  const silent = Math.round((Date.now() - heard) / 1000);
  silence.hidden = silent < 3 * PERIOD / 1000;
  if (!silence.hidden) silence.textContent = `The daemon has not answered for ${silent} s; what is shown is old.`;
}

async function takeOver() {
  const answer = await fetch("/", { cache: "no-store" });
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  heard = Date.now();
  document.title = fresh.title;
  for (const place of document.querySelectorAll("[data-live]")) {
    const now = fresh.getElementById(place.id);
    if (now && now.innerHTML !== place.innerHTML) place.innerHTML = now.innerHTML;
  }
  countDown();
  await figures();
}

async function watch() {
  while (true) {
    const until = Date.parse(document.querySelector("[data-until]")?.dataset.until ?? "") - Date.now();
    const pause = until > 0 && until + SOON < PERIOD ? until + SOON : PERIOD;
    await new Promise((go) => setTimeout(go, pause));
    if (!document.hidden) await takeOver().catch(() => {});
  }
}

countDown();
setInterval(countDown, 1000);
figures();
watch();
document.addEventListener("visibilitychange", () => { if (!document.hidden) takeOver().catch(() => {}); });
