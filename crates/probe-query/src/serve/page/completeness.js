// What the answer lacks: a line that is always there, and a list.

import { byId, el, visible } from "./dom.js";

/** Lacks that are shown before anybody asks for all of them. */
const FEW = 4;

let showsAll = false;
let last = "";

export function show(report, text) {
  const now = JSON.stringify(text);
  if (now === last) {
    return;
  }
  last = now;
  const line = byId("completeness");
  line.hidden = false;
  line.dataset.complete = String(report.complete);
  byId("completeness-head").textContent = visible(text.head);
  const more = byId("completeness-more");
  const list = byId("completeness-list");
  const fill = () => {
    const lines = showsAll ? text.details : text.details.slice(0, FEW);
    list.replaceChildren(...lines.map((detail) => el("li", {}, visible(detail))));
    list.hidden = lines.length === 0;
    more.hidden = text.details.length <= FEW;
    more.textContent = showsAll ? "Fewer" : `All ${text.details.length}`;
    more.setAttribute("aria-expanded", String(showsAll));
  };
  more.onclick = () => {
    showsAll = !showsAll;
    fill();
  };
  fill();
}

export function hide() {
  last = "";
  byId("completeness").hidden = true;
  byId("completeness-list").hidden = true;
}
