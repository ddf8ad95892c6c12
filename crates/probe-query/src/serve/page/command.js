// The same question for the command line.

const OPTIONS = ["by", "since", "until", "sort"];

/** A word as a POSIX shell reads it. */
export const quoted = (word) =>
  /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;

export function command(state, stores) {
  const words = ["probe-query"];
  for (const store of stores) {
    if (stores.length > 1 || store !== "/var/lib/probe/flows") {
      words.push("--store", quoted(store));
    }
  }
  for (const name of OPTIONS) {
    if (state[name] && !(name === "by" && state.by === "talk_conv") && !(name === "since" && state.since === "-24h")) {
      words.push(`--${name}`, quoted(state[name]));
    }
  }
  if (state.order) {
    words.push(`--${state.order}`);
  }
  if (state.utc) {
    words.push("--utc");
  }
  if (state.limit !== "25") {
    words.push("-n", state.limit);
  }
  if (state.filter) {
    words.push("-f", quoted(state.filter));
  }
  return words.join(" ");
}
