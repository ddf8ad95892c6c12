// The rows of an answer as a table: columns that flows are added up by, then sums.

import { el, visible } from "./dom.js";
import { count, exact, moment, octets } from "./format.js";

const LABELS = {
  src_addr: "source", src_port: "source port", dst_addr: "destination", dst_port: "port", iface: "interface",
  ip_protocol: "protocol", host: "captured by", time: "time",
};
const SUMS = ["packets_rcvd", "packets_sent", "bytes_rcvd", "bytes_sent", "flows"];
/** Columns whose values a filter may ask for. */
const FILTERED = ["iface", "ip_version", "ip_protocol", "src_addr", "src_port", "dst_addr", "dst_port",
  "direction_evidence", "direction_confidence"];

/** The columns of the table. `sort` and `order` are those of the question. */
export function columnsOf(rows, { state, protocols, narrow }) {
  const keys = Object.keys(rows[0] ?? {}).filter((name) => !SUMS.includes(name));
  const most = rows.reduce((most, row) => Math.max(most, bytes(row)), 1);
  const sorted = (word, isKey) => {
    const isSorted = state.sort ? state.sort === word : isKey ? word === "time" : word === "bytes" && !keys.includes("time");
    const isUp = state.order ? state.order === "asc" : isKey;
    return isSorted ? (isUp ? "ascending" : "descending") : null;
  };
  const key = (name) => ({
    name, label: LABELS[name] ?? name.replaceAll("_", " "), sort: name, sorted: sorted(name, true),
    cell: (row) => keyCell(name, row[name], { state, protocols, narrow }),
  });
  const sum = (label, name, value, shown, sort) => ({
    label, name, number: true, sort, sorted: sort ? sorted(sort, false) : null,
    cell: (row) => el("span", { title: exact(value(row)) }, shown(value(row))),
  });
  return [
    ...keys.map(key),
    sum("received", "rcvd", (row) => row.bytes_rcvd, octets),
    sum("sent", "sent", (row) => row.bytes_sent, octets),
    { ...sum("bytes", "bytes", bytes, octets, "bytes"), cell: (row) => bar(row, most) },
    sum("packets", "packets", (row) => row.packets_rcvd + row.packets_sent, count, "packets"),
    sum("flows", "flows", (row) => row.flows, count, "flows"),
  ];
}

const bytes = (row) => row.bytes_rcvd + row.bytes_sent;

/** The sum, and below it what was received and sent of it, beside the largest. */
function bar(row, most) {
  const part = (name, value) => {
    const piece = el("i", { class: name });
    piece.style.width = `${(100 * value) / most}%`;
    return piece;
  };
  return el("span", { title: `${exact(bytes(row))} octets: ${exact(row.bytes_rcvd)} received, ${exact(row.bytes_sent)} sent` },
    octets(bytes(row)),
    el("span", { class: "bar", "aria-hidden": "true" }, part("rcvd", row.bytes_rcvd), part("sent", row.bytes_sent)));
}

function keyCell(name, value, { state, protocols, narrow }) {
  if (name === "time") {
    return moment(Date.parse(value), state.utc);
  }
  const text = name === "ip_protocol" ? protocols[value] ?? String(value) : visible(value);
  if (!FILTERED.includes(name)) {
    return text;
  }
  const button = el("button", { type: "button", class: "link code", title: `Only ${name} ${text}` }, text);
  button.addEventListener("click", () => narrow(narrowed(state.filter, name, value)));
  return button;
}

/** The filter, and this value. */
export function narrowed(filter, name, value) {
  const before = filter.replace(/(^|\s)#.*$/, "").trim();
  const wanted = name === "iface" ? `"${String(value).replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"` : value;
  const test = `${name} = ${wanted}`;
  if (!before) {
    return test;
  }
  return /\bor\b|\|/.test(before) ? `(${before}) and ${test}` : `${before} and ${test}`;
}
