// Draws what [data-graphs="address"] holds: a figure for each [data-graph], of the series that it names. The numbers come
// from the address, anew each minute; colours from the tokens, so that both themes have their own.
import uPlot from "../vendor/uplot/uPlot.esm.js";

const EVERY_MS = 60000;
const HEIGHT = 160;

for (const root of document.querySelectorAll("[data-graphs]")) start(root);

function start(root) {
  const state = { span: "hour", data: null, plots: [] };
  const draw = () => state.data && drawAll(root, state);
  root.addEventListener("click", (event) => {
    const button = event.target.closest("[data-span]");
    if (!button) return;
    for (const each of root.querySelectorAll("[data-span]")) each.setAttribute("aria-pressed", String(each === button));
    state.span = button.dataset.span;
    load(root, state).then(draw);
  });
  new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  new ResizeObserver(() => resize(state)).observe(root);
  setInterval(() => document.visibilityState === "visible" && load(root, state).then(draw), EVERY_MS);
  load(root, state).then(draw);
}

async function load(root, state) {
  const span = state.span;
  const response = await fetch(`${root.dataset.graphs}?span=${span}`, { redirect: "manual" }).catch(() => null);
  const note = root.querySelector("[data-graphs-note]");
  if (!response?.ok) {
    note.textContent = "The numbers cannot be had at the moment.";
    return;
  }
  const data = await response.json();
  if (span !== state.span) return;
  state.data = data;
  note.textContent = data.at.length ? "" : "Nothing was measured in this time. The first numbers come two minutes after the start.";
}

function drawAll(root, state) {
  for (const plot of state.plots) plot.destroy();
  state.plots = [...root.querySelectorAll("[data-graph]")].map((figure) => drawOne(figure, state.data));
}

function resize(state) {
  for (const plot of state.plots) {
    const width = plot.root.parentElement.clientWidth;
    if (width && width !== plot.width) plot.setSize({ width, height: HEIGHT });
  }
}

function drawOne(figure, data) {
  const names = figure.dataset.series.split(",");
  const words = figure.dataset.words.split(",");
  const write = WRITERS[figure.dataset.unit];
  const place = figure.querySelector("[data-graph-plot]");
  const style = getComputedStyle(figure);
  const colour = (name) => resolved(place, style.getPropertyValue(name));
  const axis = { stroke: colour("--text-muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 }, font: "12px Inter, system-ui, sans-serif" };
  const series = names.map((_, number) => ({ label: words[number], stroke: colour(`--graph-${number + 1}`), width: 2, spanGaps: false, points: { show: data.at.length < 3 }, value: (_plot, value) => (value === null ? "–" : write(value)) }));
  figure.querySelector("[data-graph-words]").textContent = summary(names, words, data, write);
  const options = {
    tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
    width: Math.max(place.clientWidth, 200),
    height: HEIGHT,
    cursor: { drag: { x: false, y: false } },
    scales: { x: { min: data.from, max: data.to }, y: { range: (_plot, _low, high) => [0, Math.max(high * 1.1, LEAST[figure.dataset.unit])] } },
    axes: [{ ...axis, values: TIMES }, { ...axis, size: 76, incrs: figure.dataset.unit === "percent" ? undefined : BINARY, values: (_plot, values) => values.map(write) }],
    series: [{ label: "at", value: (_plot, at) => (at === null ? "–" : moment(at)) }, ...series],
  };
  const plot = new uPlot(options, [data.at, ...names.map((name) => data[name])], place);
  plot.root.querySelector("canvas").setAttribute("aria-hidden", "true");
  return plot;
}

// What a canvas shows, in words: the latest value and the highest of each line.
function summary(names, words, data, write) {
  return names
    .map((name, number) => {
      const known = data[name].filter((value) => value !== null);
      if (!known.length) return "";
      const high = known.reduce((most, value) => Math.max(most, value), 0);
      return `${words[number]} ${write(known.at(-1))}, at most ${write(high)}`;
    })
    .filter(Boolean)
    .join(" · ");
}

// Tokens are light-dark() pairs, which a canvas does not know; the browser says which of both holds.
function resolved(element, value) {
  const probe = document.createElement("span");
  probe.style.color = value;
  element.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}

// As everywhere in the portal: by UTC, 2026-11-30 14:05.
function moment(at) {
  return `${new Date(at * 1000).toISOString().slice(0, 16).replace("T", " ")} UTC`;
}

// uPlot's rows: from how many seconds between two ticks on, their words, and what is added where a year or a day begins.
const TIMES = [
  [86400 * 365, "{YYYY}", null, null, null, null, null, null, 1],
  [86400 * 28, "{YYYY}-{MM}", null, null, null, null, null, null, 1],
  [86400, "{MM}-{DD}", "\n{YYYY}", null, null, null, null, null, 1],
  [60, "{HH}:{mm}", "\n{YYYY}-{MM}-{DD}", null, "\n{MM}-{DD}", null, null, null, 1],
  [1, "{HH}:{mm}:{ss}", "\n{YYYY}-{MM}-{DD}", null, "\n{MM}-{DD}", null, null, null, 1],
];
const BINARY = Array.from({ length: 50 }, (_, power) => 2 ** power);
const LEAST = { percent: 10, mib: 64, bytes: 1024 };
const WRITERS = {
  percent: (value) => `${short(value)} %`,
  mib: (value) => (value < 1024 ? `${short(value)} MiB` : `${short(value / 1024)} GiB`),
  bytes: (value) => {
    const units = ["B/s", "KiB/s", "MiB/s", "GiB/s"];
    const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log2(Math.max(value, 1)) / 10)));
    return `${short(value / 1024 ** power)} ${units[power]}`;
  },
};

function short(value) {
  return value >= 100 ? String(Math.round(value)) : String(Math.round(value * 10) / 10);
}
