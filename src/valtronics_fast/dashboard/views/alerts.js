/** The alerts, the newest first. */

import { arrange, h, icon, write } from "../dom.js";
import { number } from "../format.js";
import { MAX_ALERTS } from "../store.js";
import { alertLine, empty, stateMark } from "./parts.js";

const SEVERITIES = ["critical", "warning", "info"];

export class Alerts {
  /** @param {import("../app.js").Context} context */
  constructor(context) {
    this.context = context;
    this.title = "Alerts";
    this.severity = "";
    this.wanted = "";
    this.seen = -1;
    this.count = h("p", { class: "headline", role: "status" });
    /** @type {WeakMap<import("../store.js").Alert, HTMLElement>} */
    this.lines = new WeakMap();
    this.list = h("ul", { class: "rows alerts long", "aria-label": "Alerts, the newest first" });
    this.nothing = empty("No alert yet. They appear here as they come.");
    this.chips = SEVERITIES.map((severity) =>
      h(
        "button",
        {
          type: "button",
          class: "chip",
          "data-state": severity,
          "aria-pressed": "false",
          onclick: () => {
            this.severity = this.severity === severity ? "" : severity;
            this.draw();
          },
        },
        stateMark(severity),
        h("b", {}),
      ),
    );
    const type = (/** @type {Event} */ event) => {
      this.wanted = /** @type {HTMLInputElement} */ (event.target).value.trim().toLowerCase();
      this.draw();
    };
    this.filter = h("input", {
      type: "search",
      placeholder: "Filter: device, words",
      autocomplete: "off",
      spellcheck: "false",
      oninput: type,
    });
    this.element = h(
      "div",
      { class: "view" },
      h("h1", {}, "Alerts"),
      this.count,
      h(
        "div",
        { class: "toolbar" },
        h("label", { class: "search" }, icon("search"), h("span", { class: "hidden" }, "Filter alerts"), this.filter),
        h("div", { class: "chips", role: "group", "aria-label": "Show only" }, ...this.chips),
      ),
      this.nothing,
      h("section", { class: "panel" }, this.list),
    );
  }

  enter() {
    this.draw();
  }

  leave() {}

  repaint() {}

  update() {
    this.context.store.unseen = 0;
    if (this.seen !== this.context.store.alertsVersion) this.draw();
  }

  /** @param {import("../store.js").Alert} alert */
  line(alert) {
    const line = this.lines.get(alert) ?? alertLine(alert);
    this.lines.set(alert, line);
    return line;
  }

  draw() {
    const { store, live } = this.context;
    this.seen = store.alertsVersion;
    const words = this.wanted.split(/\s+/).filter(Boolean);
    const chosen = store.alerts.filter((alert) => {
      const text = `device ${alert.device} ${alert.title} ${alert.text} ${alert.severity}`.toLowerCase();
      return (!this.severity || alert.severity === this.severity) && words.every((word) => text.includes(word));
    });
    arrange(
      this.list,
      chosen.map((alert) => this.line(alert)),
    );
    this.nothing.hidden = chosen.length > 0;
    write(
      this.nothing,
      store.alerts.length
        ? "No alert is like that."
        : live.channels.length && !live.channels.includes("alerts")
          ? "This token does not permit alerts."
          : "No alert yet. They appear here as they come.",
    );
    write(
      this.count,
      store.alerts.length
        ? `${number(chosen.length)} of the last ${number(store.alerts.length)} (at most ${MAX_ALERTS} are kept here)`
        : "",
    );
    for (const chip of this.chips) {
      const state = chip.getAttribute("data-state");
      chip.setAttribute("aria-pressed", String(state === this.severity));
      if (chip.lastElementChild)
        write(chip.lastElementChild, number(store.alerts.filter((alert) => alert.severity === state).length));
    }
  }
}
