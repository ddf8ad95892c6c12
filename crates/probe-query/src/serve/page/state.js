// What is asked, as it stands behind the # of the address: a link shows the same.

const DEFAULTS = {
  filter: "", since: "-24h", until: "", by: "talk_conv", limit: "25", sort: "", order: "", utc: "", live: "",
};

export function read() {
  const given = new URLSearchParams(location.hash.slice(1));
  const state = { ...DEFAULTS };
  for (const name of Object.keys(DEFAULTS)) {
    const value = given.get(name);
    if (value !== null) {
      state[name] = value;
    }
  }
  return state;
}

/** The state as the text behind #, without what is as ever. */
export function written(state) {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(state)) {
    if (value !== DEFAULTS[name]) {
      given.set(name, value);
    }
  }
  return given.toString();
}

/** A step forward in the history of the browser. */
export function push(state) {
  const hash = written(state);
  if (hash !== location.hash.slice(1)) {
    history.pushState(null, "", hash ? `#${hash}` : location.pathname + location.search);
  }
}

export const zone = (state) => (state.utc ? "UTC" : Intl.DateTimeFormat().resolvedOptions().timeZone);

/** Parameters of a question: those named, where they say anything. */
export function parameters(state, names) {
  const query = new URLSearchParams();
  for (const name of names) {
    if (state[name]) {
      query.set(name, state[name]);
    }
  }
  query.set("zone", zone(state));
  return query;
}
