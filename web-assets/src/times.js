// <time data-relative datetime="…">: words that keep up with the clock; the title is the exact time, here and in UTC.

const SCALE = [
  [60, 1, "s"],
  [3600, 60, "min"],
  [86_400, 3600, "h"],
  [86_400 * 60, 86_400, "d"],
  [Infinity, 86_400 * 30, "mo"],
];

export function refreshTimes(root) {
  for (const element of root.querySelectorAll?.("time[data-relative]") ?? []) {
    const moment = new Date(element.dateTime);
    element.textContent = relative((Date.now() - moment) / 1000);
    element.title = `${moment.toLocaleString()} (${moment.toISOString()})`;
  }
}

function relative(seconds) {
  const size = Math.abs(seconds);
  if (size < 2) return "now";
  const [, unit, word] = SCALE.find(([below]) => size < below);
  const text = `${Math.floor(size / unit)} ${word}`;
  return seconds < 0 ? `in ${text}` : `${text} ago`;
}
