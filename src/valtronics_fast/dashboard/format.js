/** Numbers, times and names as people read them. */

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const medium = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const fine = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** @param {unknown} value */
export function number(value) {
  if (typeof value !== "number") return value === null || value === undefined ? "–" : String(value);
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size >= 100_000) return compact.format(value);
  return size >= 1000 ? medium.format(value) : fine.format(value);
}

/** @param {number | undefined} value events a second */
export function rate(value) {
  if (value === undefined || !Number.isFinite(value)) return "–";
  return value >= 10_000
    ? compact.format(value)
    : value >= 10
      ? whole.format(value)
      : String(Math.round(value * 10) / 10);
}

/** @param {number | undefined} value */
export function bytes(value) {
  if (value === undefined || !Number.isFinite(value)) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let size = value;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${size >= 100 || unit === 0 ? whole.format(size) : (Math.round(size * 10) / 10).toString()} ${units[unit]}`;
}

/** @param {number | undefined} seconds */
export function duration(seconds) {
  if (seconds === undefined || !Number.isFinite(seconds)) return "–";
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`;
}

/** @param {number | undefined} seconds */
export function milliseconds(seconds) {
  if (seconds === undefined || !Number.isFinite(seconds)) return "–";
  const ms = seconds * 1000;
  return ms >= 10 ? whole.format(ms) : String(Math.round(ms * 10) / 10);
}

/** @param {number} time Unix milliseconds */
export function time(time) {
  return Number.isFinite(time) ? clock.format(time) : "–";
}

/**
 * @param {number} time Unix milliseconds
 * @param {number} now
 */
export function ago(time, now) {
  const seconds = (now - time) / 1000;
  if (!Number.isFinite(seconds)) return "";
  if (seconds < 5) return "now";
  if (seconds < 60) return `${Math.floor(seconds / 5) * 5} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  return `${Math.floor(seconds / 3600)} h ago`;
}

/** @param {string} name for example air_quality */
export function title(name) {
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}
