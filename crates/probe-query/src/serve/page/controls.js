// Fields and buttons: from the state to what they show, and back.

import { byId, el } from "./dom.js";
import { moment } from "./format.js";

const OTHER = "other";
const NAMES = {
  talk_conv: "conversation", talk_src: "source", talk_dst: "destination", apps_port: "port and protocol",
  agg_talk_port: "conversation and port", raw: "flow and interval",
};
let lists = [];

/** `change(parts)` is called with what of the state is another. */
export function install({ state, change, zoom }) {
  byId("question").addEventListener("submit", (event) => {
    event.preventDefault();
    change(typed(state()), true);
  });
  for (const name of ["since", "until"]) {
    byId(name).addEventListener("change", () => change(typed(state())));
  }
  for (const button of document.querySelectorAll("[data-since]")) {
    button.addEventListener("click", () => change({ ...typed(state()), since: button.dataset.since, until: "" }));
  }
  byId("by").addEventListener("change", ({ target }) => {
    const isOther = target.value === OTHER;
    byId("columns").hidden = !isOther;
    if (isOther) {
      const list = lists.find((list) => list.name === state().by);
      byId("columns").value = list?.columns ?? state().by;
      byId("columns").focus();
    } else {
      change({ by: target.value, sort: "", order: "" });
    }
  });
  byId("columns").addEventListener("change", ({ target }) => change({ by: target.value.trim(), sort: "", order: "" }));
  byId("limit").addEventListener("change", ({ target }) => change({ limit: target.value }));
  for (const name of ["utc", "live"]) {
    byId(name).addEventListener("click", () => change({ [name]: state()[name] ? "" : "1" }));
  }
  byId("zoom-out").addEventListener("click", () => zoom(2));
  byId("copy").addEventListener("click", async ({ target }) => {
    const isCopied = await navigator.clipboard?.writeText(byId("command").textContent).then(() => true, () => false);
    target.textContent = isCopied ? "Copied" : "Select and copy it yourself";
    setTimeout(() => (target.textContent = "Copy"), 2000);
  });
  byId("skip").addEventListener("click", (event) => {
    event.preventDefault();
    byId("talkers").focus();
  });
}

/** What stands in the fields. A time that nobody has touched stays as exact as it was. */
function typed(state) {
  const time = (name) => {
    const text = byId(name).value.trim();
    return text === shown(state[name], state.utc) ? state[name] : text;
  };
  return { filter: byId("filter").value.trim(), since: time("since") || "-24h", until: time("until") };
}

/** Times of the chart are exact and in UTC: here they stand as people read them. */
function shown(time, utc) {
  return /^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(time) ? moment(Date.parse(time), utc) : time;
}

export function offer(words) {
  lists = words.lists;
  byId("by").replaceChildren(
    ...lists.map(({ name, columns }) => el("option", { value: name, title: columns }, NAMES[name] ?? name)),
    el("option", { value: OTHER }, "other columns …"),
  );
  byId("column-words").replaceChildren(...words.columns.map((word) => el("option", { value: word })));
  byId("stores").textContent = words.stores.join(", ");
  byId("stores").title = `probe-query ${words.version}`;
}

/** Shows the state in all fields. */
export function show(state) {
  byId("filter").value = state.filter;
  byId("since").value = shown(state.since, state.utc);
  byId("until").value = shown(state.until, state.utc);
  const isList = lists.some((list) => list.name === state.by);
  byId("by").value = isList ? state.by : OTHER;
  byId("columns").hidden = isList;
  byId("columns").value = state.by;
  const limits = [...byId("limit").options].map((option) => option.value);
  if (!limits.includes(state.limit)) {
    byId("limit").append(el("option", {}, state.limit));
  }
  byId("limit").value = state.limit;
  for (const name of ["utc", "live"]) {
    byId(name).setAttribute("aria-pressed", String(Boolean(state[name])));
  }
  for (const button of document.querySelectorAll("[data-since]")) {
    const isIt = state.since === button.dataset.since && !state.until;
    button.setAttribute("aria-pressed", String(isIt));
  }
}

/** What is wrong in a field, and where. */
export function showError(refusal, state) {
  const field = byId({ filter: "filter", since: "since", until: "until", by: "columns" }[refusal?.parameter] ?? "");
  for (const name of ["filter", "since", "until", "columns"]) {
    byId(name).toggleAttribute("aria-invalid", byId(name) === field);
  }
  const box = byId("filter-error");
  box.hidden = !field;
  if (!field) {
    return false;
  }
  const [message, ...place] = refusal.message.replace(/^(the filter cannot be read|--\w+): /, "").split("\n");
  box.replaceChildren(el("p", {}, message));
  if (place.length > 0) {
    box.append(el("pre", { class: "code" }, place.join("\n")));
  }
  if (refusal.column) {
    const before = [...state.filter].slice(0, refusal.column - 1).join("").length;
    byId("filter").setSelectionRange(before, before);
    byId("filter").dataset.column = refusal.column;
  }
  return true;
}
