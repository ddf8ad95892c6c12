// The chart: a lane for each interface over one time, a cursor, and the time that is being chosen.

import { byId, el, svg, visible } from "./dom.js";
import { bits, count, percent, span } from "./format.js";
import { drawing, lanesOf, pointAt } from "./lane.js";
import { linear, timeTicks } from "./scale.js";

const RIGHT = 1;
let model = null;

/** The chart of an answer: the time in milliseconds, and the lanes. */
export function modelOf(series, utc) {
  const { asked, stored_until: stored } = series.completeness;
  const [since, until] = [Date.parse(asked.since), Date.parse(asked.until)];
  const part = 1000 * Math.max(series.step_seconds, series.interval_seconds);
  const lanes = lanesOf(series, { since, until: Math.min(until, stored ? Date.parse(stored) : until), part });
  return { since, until, part, utc, lanes, leftOut: series.left_out, step: series.step };
}

export const current = () => model;

export function draw(next) {
  model = next;
  redraw();
  const parts = Math.max(1, Math.round((model.until - model.since) / model.part));
  byId("chart").setAttribute("aria-valuemax", parts - 1);
}

export function clear(text) {
  model = null;
  byId("chart").replaceChildren(el("p", { class: "empty" }, text));
}

/** Where the plot lies in the chart, and which moment at which place. */
export function geometry() {
  const width = byId("chart").clientWidth;
  const left = width < 480 ? 58 : 76;
  const x = linear([model.since, model.until], [left, Math.max(left + 10, width - RIGHT)]);
  return { width, left, right: width - RIGHT, x, height: width < 480 ? 84 : 104 };
}

function redraw() {
  const chart = byId("chart");
  if (!model || chart.clientWidth === 0) {
    return;
  }
  const place = geometry();
  const ticks = timeTicks(model.since, model.until, (place.right - place.left) / 76, model.utc);
  const lanes = model.lanes.map((lane) => el("div", { class: "lane", "data-iface": visible(lane.name) },
    el("div", { class: "lane-head" }, el("b", {}, visible(lane.name)), el("span", { class: "values" })),
    drawing(lane, place, ticks)));
  chart.replaceChildren(...lanes, axis(place, ticks),
    el("div", { class: "chosen", hidden: true }), el("div", { class: "cursor", hidden: true }));
  tell(null);
}

function axis(place, ticks) {
  const placed = [];
  for (const { time, label, isDay } of ticks) {
    const half = label.length * (isDay ? 3.9 : 3.4);
    const at = Math.min(Math.max(place.x(time), half), place.right - half);
    // Of two that are too near the day stays.
    while (placed.length > 0 && placed.at(-1).end + 6 > at - half && isDay && !placed.at(-1).isDay) {
      placed.pop();
    }
    if (placed.length === 0 || placed.at(-1).end + 6 <= at - half) {
      placed.push({ at, label, isDay, end: at + half });
    }
  }
  const labels = placed.map(({ at, label, isDay }) =>
    svg("text", { x: at, y: 14, "text-anchor": "middle", class: isDay ? "day" : null }, label));
  return svg("svg", { class: "axis", width: place.width, height: 20, "aria-hidden": "true" }, ...labels);
}

/** Shows the cursor at a moment, or takes it away; gives what is there in words. */
export function tell(time) {
  const chart = byId("chart");
  if (!model) {
    return "no data";
  }
  const cursor = chart.querySelector(".cursor");
  cursor.hidden = time === null;
  const words = model.lanes.map((lane, place) => {
    const text = time === null ? peaks(lane) : values(lane, time);
    chart.querySelectorAll(".lane .values")[place].textContent = text;
    return `${visible(lane.name)}: ${text}`;
  });
  if (time === null) {
    return "";
  }
  const [start, end] = partAt(time);
  cursor.style.left = `${geometry().x(time)}px`;
  cursor.dataset.time = span(start, end, model.utc);
  cursor.classList.toggle("left", time > (model.since + model.until) / 2);
  return `${span(start, end, model.utc)}. ${words.join(". ")}`;
}

/** The part of the time around a moment. */
export function partAt(time) {
  const found = model.lanes.map((lane) => pointAt(lane, time)).find((point) => point);
  if (found) {
    return [found.start, found.end];
  }
  const start = model.since + Math.floor((time - model.since) / model.part) * model.part;
  return [start, Math.min(start + model.part, model.until)];
}

const peaks = (lane) => (lane.points.length === 0 ? "no data"
  : `peak ↓ ${bits(Math.max(...lane.points.map((it) => it.rcvd)))}  ↑ ${bits(Math.max(...lane.points.map((it) => it.sent)))}`);

function values(lane, time) {
  const covers = (it) => time >= it.since && time < it.until;
  const hole = lane.holes.find(covers);
  if (hole) {
    return `no data${hole.why ? `: ${hole.why}` : ""}`;
  }
  const point = pointAt(lane, time);
  if (!point) {
    return "not yet stored";
  }
  const told = [`↓ ${bits(point.rcvd)}  ↑ ${bits(point.sent)}`];
  if (point.missed > 0) {
    told.push(`${count(point.missed)} packets lost (${share(point.missed, point.seen)})`);
  }
  const blind = lane.blind.find(covers);
  if (blind) {
    told.push(blind.seen === null ? "programs missing" : `seen ${percent(blind.seen)}`);
  }
  return told.join(" · ");
}

function share(missed, seen) {
  const share = missed / Math.max(seen, missed);
  return share < 0.001 ? "below 0.1 %" : percent(share);
}

/** Marks a time that is being chosen, or none. */
export function choose(range) {
  const chosen = byId("chart").querySelector(".chosen");
  if (!chosen) {
    return;
  }
  chosen.hidden = range === null;
  if (range) {
    const { x } = geometry();
    chosen.style.left = `${x(range[0])}px`;
    chosen.style.width = `${Math.max(1, x(range[1]) - x(range[0]))}px`;
  }
}

let frame = 0;
new ResizeObserver(() => {
  cancelAnimationFrame(frame);
  frame = requestAnimationFrame(redraw);
}).observe(byId("chart"));
