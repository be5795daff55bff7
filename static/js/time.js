// <time data-ago datetime="..."> keeps counting; the words are those of portal/web/presentation.py.
const UNITS = [
  [86400, "day"],
  [3600, "h"],
  [60, "min"],
];

export function age(moment, now = Date.now()) {
  const seconds = Math.max(0, (now - moment) / 1000);
  if (seconds < 5) return "just now";
  if (seconds > 30 * 86400) return null;
  for (const [length, unit] of UNITS) {
    if (seconds >= length) {
      const count = Math.floor(seconds / length);
      return `${count} ${unit}${unit === "day" && count > 1 ? "s" : ""} ago`;
    }
  }
  return seconds < 10 ? `${seconds.toFixed(1)} s ago` : `${Math.floor(seconds)} s ago`;
}

setInterval(() => {
  for (const element of document.querySelectorAll("time[data-ago]")) {
    const words = age(Date.parse(element.dateTime));
    if (words && element.textContent !== words) element.textContent = words;
  }
}, 1000);
