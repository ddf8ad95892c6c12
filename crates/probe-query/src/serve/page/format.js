// Numbers and times as people read them, by the units of the command line: octets by 1024, rates and
// counts by 1000, rounded down.

const UNITS = ["", "k", "M", "G", "T", "P", "E"];

function scaled(number, base) {
  let unit = 0;
  while (number >= base && unit + 1 < UNITS.length) {
    number /= base;
    unit += 1;
  }
  const text = (unit === 0 && Number.isInteger(number)) || number >= 100
    ? String(Math.floor(number))
    : (Math.floor(number * 10) / 10).toFixed(1);
  return [text, UNITS[unit]];
}

export function count(number) {
  const [text, unit] = scaled(number, 1000);
  return unit ? `${text} ${unit}` : text;
}

export function octets(number) {
  const [text, unit] = scaled(number, 1024);
  return unit ? `${text} ${unit === "k" ? "K" : unit}iB` : `${text} B`;
}

export function bits(number) {
  const [text, unit] = scaled(number, 1000);
  return `${text} ${unit}bit/s`;
}

/** A whole number with its digits in groups. */
export const exact = (number) => Number(number).toLocaleString("en");

/** Rounded down: nearly all is not all. */
export const percent = (share) => `${(Math.floor(share * 1000) / 10).toFixed(1)} %`;

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const two = (number) => String(number).padStart(2, "0");

/** The parts of a time (milliseconds) by the clock of this browser, or in UTC. */
export function parts(time, utc) {
  const date = new Date(time);
  const get = (name) => date[`get${utc ? "UTC" : ""}${name}`]();
  return {
    year: get("FullYear"), month: get("Month"), day: get("Date"), weekday: get("Day"),
    hour: get("Hours"), minute: get("Minutes"), second: get("Seconds"),
  };
}

/** `2026-11-27 14:05`, with seconds where there are any. */
export function moment(time, utc) {
  const at = parts(time, utc);
  const day = `${at.year}-${two(at.month + 1)}-${two(at.day)}`;
  return `${day} ${clock(time, utc)}`;
}

export function clock(time, utc) {
  const at = parts(time, utc);
  const short = `${two(at.hour)}:${two(at.minute)}`;
  return at.second ? `${short}:${two(at.second)}` : short;
}

/** `5 minutes`, `1 hour`. */
export function length(milliseconds) {
  const units = [["day", 86400e3], ["hour", 3600e3], ["minute", 60e3], ["second", 1e3]];
  const [name, unit] = units.find(([, unit]) => milliseconds >= unit * 0.999) ?? units.at(-1);
  const number = Math.round((milliseconds / unit) * 10) / 10;
  return `${number} ${name}${number === 1 ? "" : "s"}`;
}

/** `Fri 27 Nov`. */
export function day(time, utc) {
  const at = parts(time, utc);
  return `${DAYS[at.weekday]} ${at.day} ${MONTHS[at.month]}`;
}

/** `2026-11-27 14:05 – 15:10`: the day once, where it is the same. */
export function span(since, until, utc) {
  const [first, last] = [parts(since, utc), parts(until, utc)];
  const isSameDay = first.year === last.year && first.month === last.month && first.day === last.day;
  return `${moment(since, utc)} – ${isSameDay ? clock(until, utc) : moment(until, utc)}`;
}
