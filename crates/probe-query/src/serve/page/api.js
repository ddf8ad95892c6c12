// Questions to the server. One that is asked anew ends the one before.

import { byId } from "./dom.js";

/** What the server says is wrong. */
export class Refusal extends Error {
  constructor(problem) {
    super(problem.detail ?? "The server gave no answer.");
    this.title = problem.title ?? "No answer";
    this.status = problem.status;
    this.column = problem.column;
    this.parameter = problem.parameter;
  }
}

const running = new Map();

/** The answer as text. Throws `Refusal`, and `AbortError` where it is not wanted any more. */
export async function ask(path, query = "") {
  running.get(path)?.abort();
  const abort = new AbortController();
  running.set(path, abort);
  try {
    return await answer(`${path}?${query}`, abort.signal);
  } finally {
    if (running.get(path) === abort) {
      running.delete(path);
    }
  }
}

async function answer(url, signal) {
  for (;;) {
    const response = await send(url, signal);
    if (response.ok) {
      return response.text();
    }
    if (response.status === 401) {
      byId("key-refused").hidden = !sessionStorage.getItem("key");
      await askForKey(signal);
      continue;
    }
    const problem = await response.json().catch(() => ({}));
    throw new Refusal({ status: response.status, ...problem });
  }
}

async function send(url, signal) {
  const key = sessionStorage.getItem("key");
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  try {
    return await fetch(url, { headers, signal, credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") {
      throw error;
    }
    throw new Refusal({ title: "No connection", detail: "The server cannot be reached: is it still running?" });
  }
}

let asked = null;

/** Waits for the key; several questions wait for the same. */
function askForKey(signal) {
  asked ??= new Promise((resolve) => {
    const dialog = byId("key-dialog");
    byId("key").value = "";
    dialog.showModal();
    dialog.addEventListener("close", () => {
      sessionStorage.setItem("key", byId("key").value.trim());
      asked = null;
      resolve();
    }, { once: true });
  });
  return Promise.race([asked, new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  })]);
}
