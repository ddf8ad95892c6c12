// One interface in the chart: what it received above the line, what it sent below, and from above what is
// missing: lost packets, what was not seen, and time without data.

import { svg } from "./dom.js";
import { bits } from "./format.js";
import { linear, niceStep } from "./scale.js";

const WHY = {
  before_the_first: "nothing is stored before",
  not_running: "the agent was not running",
  after_the_last: "nothing is stored since",
};
/** Dots that a lack has at least, however small it is. */
const LEAST = { height: 5, width: 2 };

/** The lanes of an answer, with their times in milliseconds. */
export function lanesOf(series, time) {
  const { interfaces: reports, outages } = series.completeness;
  const found = series.interfaces.map((lane) => ({ ...lane, points: pointsOf(lane.points, time) }));
  const has = (report) => found.some((lane) => isOf(lane, report));
  // Interfaces without any data, unless there are more than are shown anyway.
  const silent = series.left_out > 0 ? [] : reports.filter((report) => !has(report));
  const lanes = [...found, ...silent.map(({ host, iface }) => ({ host, iface, points: [] }))];
  const hosts = new Set(lanes.map((lane) => lane.host).filter((host) => host));
  return lanes.map((lane) => {
    const report = reports.find((report) => isOf(lane, report)) ?? {};
    const outage = outages.filter((it) => it.host === lane.host || !lane.host);
    return {
      ...lane,
      name: hosts.size > 1 && lane.host ? `${lane.host}/${lane.iface}` : lane.iface,
      holes: [...outage, ...(report.holes ?? [])].map((it) => ({ ...bounds(it), why: WHY[it.why] })),
      blind: (report.blind ?? []).map((it) => ({ ...bounds(it), seen: seen(it) })),
    };
  });
}

const isOf = (lane, other) => lane.iface === other.iface && lane.host === other.host;
const bounds = ({ since, until }) => ({ since: Date.parse(since), until: Date.parse(until) });

function seen({ coverage_rcvd: rcvd, coverage_sent: sent }) {
  const shares = [rcvd, sent].filter((share) => share !== null);
  return shares.length > 0 ? Math.min(...shares) : null;
}

function pointsOf(points, { since, until, part }) {
  const starts = points.map((point) => Date.parse(point.time));
  return points.map((point, place) => ({
    start: Math.max(since, starts[place]),
    end: Math.min(starts[place] + part, starts[place + 1] ?? Infinity, until),
    rcvd: point.bits_rcvd_per_second,
    sent: point.bits_sent_per_second,
    seen: point.seen,
    missed: point.missed,
  })).filter((point) => point.end > point.start);
}

export const pointAt = (lane, time) => lane.points.find((point) => time >= point.start && time < point.end);

/** The drawing of a lane. */
export function drawing(lane, place, ticks) {
  const { width, height, left, right } = place;
  const most = (name) => lane.points.reduce((most, point) => Math.max(most, point[name]), 0);
  const [up, down] = [most("rcvd"), most("sent")];
  const total = up + down || 1;
  // The smaller direction stays visible.
  const top = Math.max(up, total * 0.15);
  const bottom = Math.max(down, total * 0.15);
  const y = linear([top * 1.06, -bottom * 1.06], [0, height]);
  const parts = [
    svg("rect", { class: "ground", x: left, y: 0, width: right - left, height }),
    ...ticks.map(({ time, isDay }) => line(place.x(time), 0, place.x(time), height, isDay ? "grid day" : "grid")),
    ...(lane.points.length > 0 ? labels(y, up, down, place) : []),
    area(lane.points, place, y, "rcvd", 1),
    area(lane.points, place, y, "sent", -1),
    line(left, y(0), right, y(0), "zero"),
    ...lane.blind.map((it) => curtain("blind", it, 1 - (it.seen ?? 1), place)),
    ...lane.points.filter((it) => it.missed > 0).map((it) =>
      curtain("lost", { since: it.start, until: it.end }, it.missed / Math.max(it.seen, it.missed), place)),
    ...lane.holes.map((it) => curtain("hole", it, 1, place)),
  ];
  return svg("svg", { class: "plot", width, height, "aria-hidden": "true" }, pattern(), ...parts);
}

const line = (x1, y1, x2, y2, name) => svg("line", { x1, y1, x2, y2, class: name });

function labels(y, up, down, { left, right, height }) {
  const step = niceStep(Math.max(up, down, 1), 3);
  const values = [0];
  for (let value = step; value <= up; value += step) {
    values.push(value);
  }
  for (let value = step; value <= down; value += step) {
    values.push(-value);
  }
  let last = Infinity;
  const sorted = values.sort((a, b) => a - b).filter((value) => {
    const at = y(value);
    const isFree = value === 0 || (last - at >= 16 && Math.abs(at - y(0)) >= 14);
    last = isFree ? at : last;
    return isFree;
  });
  return sorted.flatMap((value) => {
    const at = y(value);
    const base = Math.min(Math.max(at + 4, 10), height - 1);
    const text = value === 0 ? "0" : bits(Math.abs(value)).replace(".0 ", " ");
    return [
      ...(value === 0 ? [] : [line(left, at, right, at, "grid")]),
      svg("text", { x: left - 8, y: base, "text-anchor": "end" }, text),
    ];
  });
}

/** Steps from part to part, down to the line where there is none. */
function area(points, { x }, y, name, sign) {
  const zero = y(0).toFixed(1);
  let path = "";
  let end = null;
  for (const point of points) {
    const at = y(sign * point[name]).toFixed(1);
    const from = x(point.start).toFixed(1);
    path += point.start === end ? `V${at}` : `${end === null ? "" : `V${zero}Z`}M${from},${zero}V${at}`;
    path += `H${x(point.end).toFixed(1)}`;
    end = point.end;
  }
  return svg("path", { class: `area ${name}`, d: path ? `${path}V${zero}Z` : "" });
}

/** Hangs from above, by the share that is missing; its time is tinted down to the ground. */
function curtain(kind, { since, until }, share, { x, left, right, height }) {
  const from = Math.max(left, x(since));
  const width = Math.max(Math.min(right, x(until)) - from, LEAST.width);
  const group = svg("g", { class: `curtain ${kind}`, "data-share": share.toFixed(4) });
  group.append(svg("rect", { class: "tint", x: from, y: 0, width, height }));
  const tall = Math.max(height * Math.min(share, 1), LEAST.height);
  group.append(svg("rect", { class: "cloth", x: from, y: 0, width, height: tall }));
  return group;
}

/** The hatching of time without data. All lanes define the same. */
function pattern() {
  const hatch = svg("pattern", {
    id: "hatch", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)",
  }, svg("rect", { class: "hatch-ground", width: 6, height: 6 }), line(0, 0, 0, 6, "hatch-line"));
  return svg("defs", {}, hatch);
}
