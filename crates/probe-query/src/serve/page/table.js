// Tables of any length, a page at a time.

import { el } from "./dom.js";

/** Rows of a page: what a browser lays out at once without being felt. */
const PAGE = 100;

/** A table in a container. */
export class PagedTable {
  #container;
  #page = 0;
  #shown = null;

  constructor(container) {
    this.#container = container;
  }

  /**
   * Shows rows. A column has a `label`, a `cell(row)` that gives text or an element, `number` if it is
   * one, and `sort` if its heading sorts; `sorted` is `ascending` or `descending`.
   */
  show({ caption, columns, rows, empty, onSort }) {
    this.#page = Math.min(this.#page, Math.max(0, Math.ceil(rows.length / PAGE) - 1));
    this.#shown = { caption, columns, rows, empty, onSort };
    this.#draw();
  }

  /** The next rows that are shown are others. */
  first() {
    this.#page = 0;
  }

  #draw() {
    const { rows, empty } = this.#shown;
    const focus = this.#focus();
    if (rows.length === 0) {
      this.#container.replaceChildren(el("p", { class: "empty" }, empty));
      return;
    }
    const begin = this.#page * PAGE;
    const part = rows.slice(begin, begin + PAGE);
    const pager = rows.length > PAGE ? this.#pager(begin, part.length) : null;
    this.#container.replaceChildren(...[pager, this.#table(part)].filter((it) => it));
    focus?.();
  }

  /** Gives the focus back to the same place of another table. */
  #focus() {
    const active = document.activeElement;
    if (!this.#container.contains(active)) {
      return null;
    }
    const all = () => [...this.#container.querySelectorAll("button")];
    const { place } = active.dataset;
    const number = all().indexOf(active);
    return () => {
      const same = all().find((it) => place && it.dataset.place === place && !it.disabled);
      (same ?? all()[number])?.focus();
    };
  }

  #pager(begin, length) {
    const total = this.#shown.rows.length;
    const turn = (label, step, place) => {
      const button = el("button", { type: "button", "data-place": place }, label);
      const page = this.#page + step;
      button.disabled = page < 0 || page * PAGE >= total;
      button.addEventListener("click", () => {
        this.#page = page;
        this.#draw();
      });
      return button;
    };
    return el("nav", { class: "pager", "aria-label": "Pages of the table" },
      turn("Previous", -1, "previous"),
      el("span", { role: "status" }, `${begin + 1} – ${begin + length} of ${total.toLocaleString("en")}`),
      turn("Next", 1, "next"));
  }

  #table(part) {
    const { caption, columns, onSort } = this.#shown;
    const head = el("tr", {}, ...columns.map((column) => heading(column, onSort)));
    const body = part.map((row) => el("tr", {}, ...columns.map((column) => {
      const name = [column.number ? "number" : "key", column.name].filter((it) => it).join(" ");
      return el("td", { class: name, "data-label": column.label }, column.cell(row));
    })));
    const table = el("table", {}, el("caption", { class: "unseen" }, caption),
      el("thead", {}, head), el("tbody", {}, ...body));
    return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, table);
  }
}

function heading({ label, number, name, sort, sorted }, onSort) {
  const attributes = {
    scope: "col", class: [number ? "number" : "key", name].filter((it) => it).join(" "), "aria-sort": sorted,
  };
  if (!sort) {
    return el("th", attributes, label);
  }
  const button = el("button", { type: "button", "data-place": `sort ${sort}` }, label);
  button.addEventListener("click", () => onSort(sort, sorted));
  return el("th", attributes, button);
}
