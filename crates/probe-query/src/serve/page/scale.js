// Where numbers and times lie, and which of them stand at an axis.

import { clock, day, parts } from "./format.js";

const MINUTE = 60e3;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const STEPS = [MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR,
  6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY, 30 * DAY, 91 * DAY, 365 * DAY];

/** A linear scale between two ranges. */
export function linear([from, to], [low, high]) {
  const slope = to === from ? 0 : (high - low) / (to - from);
  const scale = (value) => low + (value - from) * slope;
  scale.invert = (at) => (slope === 0 ? from : from + (at - low) / slope);
  return scale;
}

/** The largest of 1, 2, 5, 10, 20 … that gives about so many steps below a number. */
export function niceStep(most, steps) {
  const rough = most / steps;
  const power = 10 ** Math.floor(Math.log10(rough));
  const factor = [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999) ?? 10;
  return factor * power;
}

/** Times of an axis, at most about `most`, on the full hours and days of the clock. */
export function timeTicks(since, until, most, utc) {
  const step = STEPS.find((step) => (until - since) / step <= most) ?? STEPS.at(-1);
  const ticks = [];
  let midnight = startOfDay(since, utc);
  const days = Math.max(1, Math.round(step / DAY));
  while (midnight <= until && ticks.length < 200) {
    const tomorrow = startOfDay(midnight + days * DAY + 12 * HOUR, utc);
    for (let time = midnight; time < tomorrow && time <= until; time += step) {
      if (time >= since) {
        ticks.push({ time, label: label(time, utc), isDay: isMidnight(time, utc) });
      }
    }
    midnight = tomorrow;
  }
  return ticks;
}

function startOfDay(time, utc) {
  const date = new Date(time);
  if (utc) {
    date.setUTCHours(0, 0, 0, 0);
  } else {
    date.setHours(0, 0, 0, 0);
  }
  return date.getTime();
}

function isMidnight(time, utc) {
  const at = parts(time, utc);
  return at.hour === 0 && at.minute === 0;
}

const label = (time, utc) => (isMidnight(time, utc) ? day(time, utc) : clock(time, utc));
