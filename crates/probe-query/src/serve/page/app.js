// Asks what the address says, and shows the answers.

import { ask, Refusal } from "./api.js";
import * as chart from "./chart.js";
import { command } from "./command.js";
import * as completeness from "./completeness.js";
import * as controls from "./controls.js";
import { announce, byId, visible } from "./dom.js";
import { bits, count, exact, length, moment, octets } from "./format.js";
import * as range from "./range.js";
import * as address from "./state.js";
import { PagedTable } from "./table.js";
import { columnsOf } from "./talkers.js";

/** Milliseconds between two questions of the live page. */
const EVERY = 5000;
const CHART = ["since", "until", "filter"];
const TABLE = [...CHART, "by", "limit", "sort", "order"];

/** What went wrong, in the words of who asks. */
const TITLES = { 400: "The question is wrong", 422: "Too much is asked", 500: "The store gives no answer", 503: "Not now" };

const talkers = new PagedTable(byId("table"));
const chartTable = new PagedTable(byId("chart-table").querySelector(".rows"));
let state = address.read();
let words = { stores: [], lists: [], columns: [], protocols: {} };
let shown = {};
let loads = 0;

/** Another question, as a step of the history. */
function change(parts, isAnew = false) {
  const before = address.written(state);
  state = { ...state, ...parts };
  if (address.written(state) === before && !isAnew) {
    return;
  }
  address.push(state);
  talkers.first();
  chartTable.first();
  show();
}

function show() {
  controls.show(state);
  byId("command").textContent = command(state, words.stores);
  return load();
}

/** Asks both; shows each answer when it comes. Quietly where nobody has asked just now. */
async function load(isQuiet = false) {
  loads += 1;
  const failures = await Promise.all([
    section("throughput", "api/v1/query/series", address.parameters(state, CHART), showSeries, isQuiet),
    section("talkers", "api/v1/query", address.parameters(state, TABLE), showRows, isQuiet),
  ]);
  loads -= 1;
  if (failures.includes("stale")) {
    return;
  }
  // That of a wrong column is of the table alone.
  const failure = failures.find((failure) => failure);
  if (failure?.parameter === "zone" && !state.utc) {
    // The server has no table of time zones, or another one.
    change({ utc: "1" });
    return;
  }
  const isOfField = controls.showError(failure, state);
  byId("failure").hidden = !failure || isOfField;
  if (failure && !isOfField) {
    byId("failure-title").textContent = TITLES[failure.status] ?? visible(failure.title);
    byId("failure-detail").textContent = visible(failure.message);
  }
  if (failure) {
    completeness.hide();
  }
}

/** Fills a section by an answer. Gives what went wrong, `stale` where another question came. */
async function section(id, path, query, fill, isQuiet) {
  const busy = byId(id);
  if (!isQuiet) {
    busy.setAttribute("aria-busy", "true");
  }
  try {
    const text = await ask(path, query);
    const key = `${query}\n${text}`;
    if (shown[id] !== key) {
      shown[id] = key;
      fill(JSON.parse(text));
    }
  } catch (error) {
    if (error.name === "AbortError") {
      return "stale";
    }
    delete shown[id];
    const refusal = error instanceof Refusal ? error : new Refusal({ title: "The page failed", detail: String(error) });
    (id === "throughput" ? clearSeries : clearRows)("No answer.");
    busy.setAttribute("aria-busy", "false");
    return refusal;
  }
  busy.setAttribute("aria-busy", "false");
  return null;
}

function showSeries(series) {
  completeness.show(series.completeness, series.text);
  const model = chart.modelOf(series, Boolean(state.utc));
  if (series.completeness.stored_until === null) {
    clearSeries("Nothing is stored of this time.");
    return;
  }
  chart.draw(model);
  const more = model.leftOut > 0 ? `; ${model.leftOut} more interfaces: filter them by iface` : "";
  byId("chart-note").textContent = `mean of ${length(model.part)}${more}`;
  if (byId("chart-table").open) {
    showChartTable();
  }
}

function clearSeries(text) {
  chart.clear(text);
  byId("chart-note").textContent = "";
  chartTable.show({ columns: [], rows: [], empty: "No data." });
}

function showChartTable() {
  const model = chart.current();
  const rows = (model?.lanes ?? []).flatMap((lane) => lane.points.map((point) => ({ ...point, name: visible(lane.name) })));
  rows.sort((a, b) => a.start - b.start);
  chartTable.show({
    caption: "Throughput by time and interface",
    empty: "No data.",
    rows,
    columns: [
      { label: "from", cell: (row) => moment(row.start, model.utc) },
      { label: "interface", cell: (row) => row.name },
      { label: "received", number: true, cell: (row) => bits(row.rcvd) },
      { label: "sent", number: true, cell: (row) => bits(row.sent) },
      { label: "packets lost", number: true, cell: (row) => exact(row.missed) },
    ],
  });
}

function showRows({ rows, totals, completeness: report, text }) {
  completeness.show(report, text);
  const of = totals.rows > rows.length ? `the first ${exact(rows.length)} of ${exact(totals.rows)} rows` : `${exact(totals.rows)} rows`;
  const key = JSON.stringify([address.written(state), rows, totals]);
  if (shown.rows === key) {
    return;
  }
  shown.rows = key;
  talkers.show({
    caption: "Top talkers",
    empty: report.stored_until ? "No flow passes." : "Nothing is stored of this time.",
    rows,
    columns: columnsOf(rows, { state, protocols: words.protocols, narrow: (filter) => change({ filter }) }),
    onSort: (word, sorted) => change({ sort: word, order: order(word, sorted) }),
  });
  byId("totals").textContent = `${of}; in all ${octets(totals.bytes_rcvd)} received, ${octets(totals.bytes_sent)} sent, ${count(totals.flows)} flows`;
  announce(of);
}

/** The other order of a column that is sorted by already. */
function order(word, sorted) {
  const isSum = ["bytes", "packets", "flows"].includes(word);
  return sorted ? (sorted === "ascending" ? "desc" : "asc") : isSum ? "desc" : "asc";
}

function clearRows(empty) {
  delete shown.rows;
  talkers.show({ columns: [], rows: [], empty });
  byId("totals").textContent = "";
}

/** Twice or half of the time, around its middle. What ends now still does. */
function zoom(factor) {
  const model = chart.current();
  if (!model) {
    return;
  }
  const length = (model.until - model.since) * factor;
  const middle = (model.until + model.since) / 2;
  const until = state.until ? Math.min(middle + length / 2, Date.now()) : model.until;
  choose(until - length, until);
}

function choose(since, until) {
  const exactly = (time) => `${new Date(Math.round(time / 1000) * 1000).toISOString().slice(0, 19)}Z`;
  const isNow = !state.until && until >= (chart.current()?.until ?? Infinity);
  change({ since: exactly(since), until: isNow ? "" : exactly(until) });
}

async function download() {
  const query = address.parameters(state, TABLE);
  query.set("format", "csv");
  const text = await ask("api/v1/query", query).catch(() => null);
  if (text !== null) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = "flows.csv";
    link.click();
    URL.revokeObjectURL(link.href);
  }
}

controls.install({ state: () => state, change, zoom });
range.install({ chosen: choose, zoom });
byId("csv").addEventListener("click", download);
byId("chart-table").addEventListener("toggle", () => byId("chart-table").open && showChartTable());
addEventListener("popstate", () => {
  state = address.read();
  show();
});
// Never before the last answers are there: they would never come.
setInterval(() => state.live && !document.hidden && loads === 0 && !range.isChoosing() && load(true), EVERY);

try {
  words = JSON.parse(await ask("api/v1/query/words"));
  controls.offer(words);
} catch {
  // The questions say what is wrong.
}
show();
