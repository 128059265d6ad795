/**
 * All devices as cards, of which only those exist that can be seen: a thousand cost no more than twenty.
 *
 * Places are computed from the width and the number of columns; while values change nothing is measured.
 */

import { h, icon, write } from "../dom.js";
import { number, title } from "../format.js";
import { drawSpark, makeSpark } from "../spark.js";
import { STATES, sortDevices } from "../store.js";
import { empty, stateMark } from "./parts.js";

const NARROWEST = 330;
const HEIGHT = 184;
const GAP = 14;
const SHOWN_METRICS = 6;
const OVERSCAN = 1;
const SORT_EVERY = 1500;

/** @typedef {import("../store.js").Device} Device */
/** @typedef {ReturnType<typeof makeCard>} Card */

export class Devices {
  /** @param {import("../app.js").Context} context */
  constructor(context) {
    this.context = context;
    this.title = "Devices";
    this.wanted = "";
    /** @type {import("../store.js").State | ""} */
    this.state = "";
    /** @type {"trouble" | "id"} */
    this.order = "trouble";
    /** @type {Device[]} */
    this.list = [];
    /** @type {Map<string, Card>} */
    this.cards = new Map();
    this.columns = 1;
    this.width = 0;
    this.top = 0;
    this.focused = 0;
    this.seen = -1;
    this.sortedAt = 0;
    this.dirty = true;
    this.count = h("p", { class: "headline", role: "status" });
    const type = (/** @type {Event} */ event) => {
      this.wanted = /** @type {HTMLInputElement} */ (event.target).value.trim().toLowerCase();
      this.sort();
    };
    this.filter = h("input", {
      type: "search",
      id: "filter",
      placeholder: "Filter: id, state, metric",
      autocomplete: "off",
      spellcheck: "false",
      oninput: type,
    });
    this.chips = h("div", { class: "chips", role: "group", "aria-label": "Show only" });
    const order = h(
      "select",
      {
        id: "order",
        onchange: () => {
          this.order = order.value === "id" ? "id" : "trouble";
          this.sort();
        },
      },
      h("option", { value: "trouble" }, "Trouble first"),
      h("option", { value: "id" }, "By id"),
    );
    this.grid = h("ul", {
      class: "grid",
      "aria-label": "Devices",
      onkeydown: (/** @type {Event} */ event) => this.key(/** @type {KeyboardEvent} */ (event)),
    });
    this.nothing = empty("No device is like that.");
    this.element = h(
      "div",
      { class: "view devices" },
      h("h1", {}, "Devices"),
      this.count,
      h(
        "div",
        { class: "toolbar" },
        h("label", { class: "search" }, icon("search"), h("span", { class: "hidden" }, "Filter devices"), this.filter),
        this.chips,
        h("label", { class: "pick" }, h("span", { class: "hidden" }, "Order"), order),
      ),
      this.grid,
      this.nothing,
    );
    this.observer = new ResizeObserver(() => this.measure());
    this.scrolled = () => {
      this.dirty = true;
      context.redraw();
    };
  }

  enter() {
    this.observer.observe(this.grid);
    addEventListener("scroll", this.scrolled, { passive: true });
    this.sort();
    this.measure();
  }

  leave() {
    this.observer.disconnect();
    removeEventListener("scroll", this.scrolled);
  }

  repaint() {}

  /** Take the measures that only change with the window. */
  measure() {
    const width = this.grid.clientWidth;
    if (!width) return;
    this.top = this.grid.getBoundingClientRect().top + scrollY;
    if (width !== this.width) {
      this.width = width;
      this.columns = Math.max(1, Math.floor((width + GAP) / (NARROWEST + GAP)));
      this.clear();
    }
    this.dirty = true;
    this.context.redraw();
  }

  clear() {
    for (const card of this.cards.values()) card.element.remove();
    this.cards.clear();
  }

  sort() {
    const { store } = this.context;
    this.seen = store.membership;
    this.sortedAt = performance.now();
    const words = this.wanted.split(/\s+/).filter(Boolean);
    const like = (/** @type {Device} */ device) =>
      (!this.state || device.state === this.state) &&
      words.every(
        (word) =>
          device.key.toLowerCase().includes(word) ||
          device.state.includes(word) ||
          device.status.toLowerCase().includes(word) ||
          [...device.metrics.keys()].some((name) => name.includes(word)),
      );
    this.list = sortDevices([...store.devices.values()].filter(like), this.order);
    const total = store.devices.size;
    const shown =
      this.list.length === total
        ? `${number(total)} devices`
        : `${number(this.list.length)} of ${number(total)} devices`;
    write(this.count, store.untold ? `${shown}; there are more than this page keeps` : shown);
    this.nothing.hidden = this.list.length > 0 || total === 0;
    this.drawChips();
    const rows = Math.ceil(this.list.length / this.columns);
    this.grid.style.height = `${Math.max(0, rows * (HEIGHT + GAP) - GAP)}px`;
    this.dirty = true;
    this.context.redraw();
  }

  drawChips() {
    const counts = this.context.store.counts();
    const names = STATES.filter((state) => counts[state] || state === this.state);
    const key = names.join();
    if (this.chips.dataset["key"] !== key) {
      this.chips.dataset["key"] = key;
      this.chips.replaceChildren(
        ...names.map((state) =>
          h(
            "button",
            {
              type: "button",
              class: "chip",
              "data-state": state,
              "aria-pressed": "false",
              onclick: () => {
                this.state = this.state === state ? "" : state;
                this.sort();
              },
            },
            stateMark(state),
            h("b", {}),
          ),
        ),
      );
    }
    for (const chip of this.chips.children) {
      const state = /** @type {import("../store.js").State} */ (chip.getAttribute("data-state"));
      chip.setAttribute("aria-pressed", String(state === this.state));
      if (chip.lastElementChild) write(chip.lastElementChild, number(counts[state]));
    }
  }

  /** @param {number} _ */
  update(_) {
    const now = performance.now();
    if (this.seen !== this.context.store.membership && now - this.sortedAt > SORT_EVERY) this.sort();
    if (this.dirty) this.place();
    for (const card of this.cards.values()) card.update();
  }

  /** Have the cards that can be seen, and no others. */
  place() {
    this.dirty = false;
    const step = HEIGHT + GAP;
    const first = Math.max(0, Math.floor((scrollY - this.top) / step) - OVERSCAN) * this.columns;
    const last = Math.min(
      this.list.length,
      (Math.floor((scrollY - this.top + innerHeight) / step) + 1 + OVERSCAN) * this.columns,
    );
    const wide = (this.width - GAP * (this.columns - 1)) / this.columns;
    const gone = new Set(this.cards.keys());
    for (let i = first; i < last; i += 1) {
      const device = /** @type {Device} */ (this.list[i]);
      gone.delete(device.key);
      let card = this.cards.get(device.key);
      if (card === undefined) {
        card = makeCard(device);
        card.element.style.width = `${wide}px`;
        this.cards.set(device.key, card);
        this.grid.append(card.element);
      }
      const place = `translate(${(i % this.columns) * (wide + GAP)}px, ${Math.floor(i / this.columns) * step}px)`;
      if (card.place !== place) {
        card.place = place;
        card.element.style.transform = place;
      }
      card.element.setAttribute("aria-posinset", String(i + 1));
      card.element.setAttribute("aria-setsize", String(this.list.length));
      card.link.tabIndex =
        i === this.focused || (i === first && (this.focused < first || this.focused >= last)) ? 0 : -1;
    }
    this.inOrder(first, last);
    for (const key of gone) {
      const card = this.cards.get(key);
      if (card && !card.element.contains(document.activeElement)) {
        card.element.remove();
        this.cards.delete(key);
      }
    }
  }

  /**
   * Have the cards in the document as they are on the screen, for those who read it from top to bottom.
   * @param {number} first
   * @param {number} last
   */
  inOrder(first, last) {
    /** @type {Element | null} */
    let next = null;
    for (let i = last - 1; i >= first; i -= 1) {
      const element = this.cards.get(this.list[i]?.key ?? "")?.element;
      if (element === undefined) continue;
      // What has the focus stays where it is: it would lose it.
      if (element.nextElementSibling !== next && !element.contains(document.activeElement))
        this.grid.insertBefore(element, next);
      next = element;
    }
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const at = this.list.findIndex((device) => this.cards.get(device.key)?.link === document.activeElement);
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.columns, ArrowUp: -this.columns };
    const step = steps[/** @type {keyof typeof steps} */ (event.key)];
    const to =
      event.key === "Home"
        ? 0
        : event.key === "End"
          ? this.list.length - 1
          : step === undefined || at < 0
            ? -1
            : at + step;
    if (to < 0 || to >= this.list.length) return;
    event.preventDefault();
    this.focus(to);
  }

  /** @param {number} index */
  focus(index) {
    this.focused = index;
    const top = this.top + Math.floor(index / this.columns) * (HEIGHT + GAP);
    const room = 150;
    if (top < scrollY + room) scrollTo(0, top - room);
    else if (top + HEIGHT > scrollY + innerHeight - room / 2) scrollTo(0, top + HEIGHT - innerHeight + room / 2);
    this.place();
    this.cards.get(this.list[index]?.key ?? "")?.link.focus({ preventScroll: true });
    this.place();
  }
}

/** @param {Device} device */
function makeCard(device) {
  const state = h("span", { class: "card-state" });
  const link = h(
    "a",
    { class: "card-link", href: `#devices/${encodeURIComponent(device.key)}` },
    `Device ${device.key}`,
  );
  const metrics = h("dl", { class: "card-metrics" });
  const more = h("p", { class: "card-more" });
  const element = h("li", { class: "card" }, h("div", { class: "card-head" }, link, state), metrics, more);
  /** @type {{ metric: import("../store.js").Metric, value: HTMLElement, cell: HTMLElement, spark: ReturnType<typeof makeSpark> }[]} */
  const cells = [];
  let version = -1;
  let shownState = "";
  const update = () => {
    if (version === device.version) return;
    version = device.version;
    if (shownState !== device.state) {
      shownState = device.state;
      element.dataset["state"] = device.state;
      state.replaceChildren(stateMark(device.state));
    }
    if (cells.length < Math.min(device.metrics.size, SHOWN_METRICS)) {
      for (const metric of [...device.metrics.values()].slice(cells.length, SHOWN_METRICS)) {
        const [value, spark] = [h("span", { class: "value" }), makeSpark()];
        const cell = h(
          "div",
          { class: "cell" },
          h("dt", {}, title(metric.name)),
          h("dd", {}, value, h("span", { class: "unit" }, metric.unit)),
          spark.element,
        );
        cells.push({ metric, value, cell, spark });
        metrics.append(cell);
      }
      write(more, device.metrics.size > SHOWN_METRICS ? `and ${device.metrics.size - SHOWN_METRICS} more` : "");
    }
    for (const each of cells) {
      write(each.value, number(each.metric.value));
      drawSpark(each.spark, each.metric.series);
    }
  };
  update();
  return { element, link, update, place: "" };
}
