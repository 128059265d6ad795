/** What several views are made of. */

import { h, icon, svg } from "../dom.js";
import { ago, time, title } from "../format.js";

/**
 * A state or severity: its shape, and its word.
 * @param {string} name
 * @param {string} [word]
 */
export function stateMark(name, word = title(name)) {
  const known = ["critical", "warning", "offline", "maintenance", "online", "unknown", "info"].includes(name);
  return h(
    "span",
    { class: `mark mark-${known ? name : "unknown"}` },
    icon(known ? name : "unknown"),
    h("span", {}, word),
  );
}

/**
 * @param {string} heading
 * @param {...(Node | string | null | false)} children
 */
export function panel(heading, ...children) {
  return h("section", { class: "panel", "aria-label": heading }, h("h2", {}, heading), ...children);
}

/**
 * A number with its name; `note` is a line below it.
 * @param {string} name
 * @param {string} unit
 * @param {Element} [drawing]
 */
export function tile(name, unit, drawing) {
  const value = h("span", { class: "tile-value" }, "–");
  const note = h("p", { class: "tile-note" });
  const figure = h("p", { class: "tile-figure" }, value, unit && h("span", { class: "unit" }, unit));
  return { element: h("div", { class: "tile" }, h("h3", {}, name), figure, note, drawing), value, note };
}

/** A bar from 0 to 100. */
export function makeMeter() {
  const bar = svg("rect", { class: "meter-bar", height: 6, rx: 3, width: 0 });
  const back = svg("rect", { class: "meter-back", height: 6, rx: 3, width: 100 });
  const element = svg(
    "svg",
    { class: "meter", viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" },
    back,
    bar,
  );
  return {
    element,
    /** @param {number} value */
    set(value) {
      bar.setAttribute("width", String(Math.min(Math.max(value, 0), 100)));
      element.setAttribute("data-level", value >= 90 ? "critical" : value >= 75 ? "warning" : "ok");
    },
  };
}

/**
 * A line of the list of alerts.
 * @param {import("../store.js").Alert} alert
 * @param {boolean} brief
 */
export function alertLine(alert, brief = false) {
  const link =
    alert.device !== null && h("a", { href: `#devices/${encodeURIComponent(alert.device)}` }, `Device ${alert.device}`);
  const stamp = { datetime: new Date(alert.time).toISOString(), "data-time": alert.time, class: "alert-time" };
  return h(
    "li",
    { class: `alert alert-${alert.severity}` },
    stateMark(alert.severity),
    h("div", { class: "alert-words" }, h("strong", {}, alert.title), !brief && alert.text && h("p", {}, alert.text)),
    h("span", { class: "alert-device" }, link || "Platform"),
    h("time", stamp, brief ? ago(alert.time, Date.now()) : time(alert.time)),
  );
}

/**
 * Let the ages in a part of the page go on.
 * @param {Element} root
 * @param {number} now
 */
export function renewAges(root, now) {
  for (const each of root.querySelectorAll("[data-time]")) {
    const text = ago(Number(each.getAttribute("data-time")), now);
    if (each.textContent !== text) each.textContent = text;
  }
}

/**
 * @param {string} text
 * @param {...(Node | string)} more
 */
export function empty(text, ...more) {
  return h("p", { class: "empty" }, text, ...more);
}
