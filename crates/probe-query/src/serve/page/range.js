// Choosing a time in the chart: by dragging, and by the keys of a slider.

import { choose, current, geometry, tell } from "./chart.js";
import { announce, byId } from "./dom.js";
import { span } from "./format.js";

/** Dots that are a click and no choice. */
const CLICK = 5;
const KEYS = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity };

let drag = null;
let cursor = null;
let anchor = null;

/** Whether a time is being chosen right now: the chart must stay as it is. */
export const isChoosing = () => drag !== null || anchor !== null;

/** `chosen(since, until)` gets the time in milliseconds, `zoom(factor)` a wish for more or less of it. */
export function install({ chosen, zoom }) {
  const chart = byId("chart");

  const timeAt = (event) => {
    const { x, left, right } = geometry();
    const at = event.clientX - chart.getBoundingClientRect().left;
    return x.invert(Math.min(Math.max(at, left), right));
  };
  const sorted = (a, b) => (a < b ? [a, b] : [b, a]);
  const letGo = () => {
    drag = anchor = null;
    choose(null);
  };
  const finish = (range) => {
    letGo();
    cursor = null;
    chosen(Math.round(range[0] / 1000) * 1000, Math.round(range[1] / 1000) * 1000);
  };

  chart.addEventListener("pointerdown", (event) => {
    if (current() && event.button === 0) {
      drag = { from: event.clientX, time: timeAt(event) };
      chart.setPointerCapture(event.pointerId);
    }
  });
  chart.addEventListener("pointermove", (event) => {
    if (!current()) {
      return;
    }
    tell(timeAt(event));
    if (drag && Math.abs(event.clientX - drag.from) > CLICK) {
      choose(sorted(drag.time, timeAt(event)));
    }
  });
  chart.addEventListener("pointerup", (event) => {
    const isChoice = drag && Math.abs(event.clientX - drag.from) > CLICK;
    if (isChoice) {
      finish(sorted(drag.time, timeAt(event)));
    } else {
      letGo();
    }
  });
  chart.addEventListener("pointercancel", letGo);
  chart.addEventListener("pointerleave", () => !drag && current() && tell(null));
  chart.addEventListener("blur", () => {
    cursor = null;
    letGo();
    if (current()) {
      tell(null);
    }
  });

  const parts = () => Math.max(1, Math.round((current().until - current().since) / current().part));
  const startOf = (place) => current().since + place * ((current().until - current().since) / parts());

  const move = (step, isChoice) => {
    const last = parts() - 1;
    const before = cursor ?? (step > 0 ? -1 : last + 1);
    cursor = Math.min(Math.max(before + step, 0), last);
    const words = tell((startOf(cursor) + startOf(cursor + 1)) / 2);
    chart.setAttribute("aria-valuenow", cursor);
    chart.setAttribute("aria-valuetext", words);
    if (isChoice) {
      anchor ??= Math.min(Math.max(before, 0), last);
      const [first, end] = sorted(anchor, cursor);
      choose([startOf(first), startOf(end + 1)]);
      announce(`chosen: ${span(startOf(first), startOf(end + 1), current().utc)}`);
    } else {
      anchor = null;
      choose(null);
    }
  };

  chart.addEventListener("keydown", (event) => {
    if (!current() || event.ctrlKey || event.altKey || event.metaKey) {
      return;
    }
    if (event.key in KEYS) {
      move(KEYS[event.key], event.shiftKey);
    } else if (event.key === "Enter" && anchor !== null) {
      const [first, end] = sorted(anchor, cursor);
      finish([startOf(first), startOf(end + 1)]);
    } else if (event.key === "Escape") {
      letGo();
    } else if (event.key === "+" || event.key === "-") {
      zoom(event.key === "+" ? 0.5 : 2);
    } else {
      return;
    }
    event.preventDefault();
  });
}
