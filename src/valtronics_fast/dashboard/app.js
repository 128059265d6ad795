/** The page: signing in, the one connection, the sections, the keys, and when things are drawn. */

import { loadCharts } from "./chart.js";
import { Connection } from "./connection.js";
import { byId, fill, h, write } from "./dom.js";
import { milliseconds } from "./format.js";
import { Live } from "./live.js";
import { Session } from "./session.js";
import { Stats } from "./stats.js";
import { Store } from "./store.js";
import { Alerts } from "./views/alerts.js";
import { Console } from "./views/console.js";
import { Device } from "./views/device.js";
import { Devices } from "./views/devices.js";
import { askToken, showHelp } from "./views/dialogs.js";
import { Overview } from "./views/overview.js";
import { SignIn } from "./views/signin.js";
import { System } from "./views/system.js";

/**
 * @typedef {object} View
 * @property {HTMLElement} element
 * @property {string} title
 * @property {(argument: string) => void} enter
 * @property {() => void} leave
 * @property {(now: number) => void} update
 * @property {() => void} repaint colours have changed
 *
 * @typedef {object} Context what views may use
 * @property {Store} store
 * @property {Stats} stats
 * @property {Session} session
 * @property {Live} live
 * @property {() => void} redraw
 */

const DRAW_EVERY = 250;
const ANNOUNCE_EVERY = 3000;
const SECTIONS = ["overview", "devices", "alerts", "system", "console"];
const THEMES = ["", "light", "dark"];

class App {
  constructor() {
    this.session = new Session();
    this.main = byId("main");
    this.signIn = new SignIn((token, keep) => {
      this.session.use(token, keep);
      this.connect();
    });
    /** @type {Map<string, View>} */
    this.views = new Map();
    /** @type {View} */
    this.view = this.signIn;
    /** @type {Connection | null} */
    this.connection = null;
    this.store = new Store();
    this.stats = new Stats(() => this.session.token);
    this.requested = false;
    this.signedIn = false;
    this.keys = localStorage.getItem("valtronics.keys") !== "off";
    this.announced = 0;
    this.announcedAt = 0;
    this.wire();
  }

  wire() {
    addEventListener("hashchange", () => this.route());
    addEventListener("keydown", (event) => this.key(event));
    byId("skip").addEventListener("click", (event) => {
      event.preventDefault();
      this.main.focus();
    });
    byId("theme").addEventListener("click", () => this.nextTheme());
    byId("help").addEventListener("click", () => this.help());
    byId("leave").addEventListener("click", () => this.leave());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.view.repaint());
    setInterval(() => this.redraw(), DRAW_EVERY);
  }

  async start() {
    try {
      await this.session.load();
    } catch (error) {
      this.link("waiting", `The server does not answer (${error instanceof Error ? error.message : error}).`);
      setTimeout(() => void this.start(), 2000);
      return;
    }
    if (this.session.config.charts) await loadCharts();
    if (!this.session.token && this.session.config.demo) this.session.demo = true;
    if (this.session.token || this.session.demo) this.connect();
    else {
      this.link("idle", "");
      this.show(this.signIn, "");
    }
  }

  connect() {
    this.connection?.stop();
    this.connection = new Connection(
      this.session.websocket,
      {
        token: () => this.session.current(),
        ready: (answer) => this.ready(answer),
        message: (message) => this.take(message),
        state: (state, reason) => this.entered(state, reason),
      },
      { renew: true, notices: true, batch: true },
    );
    this.connection.start();
  }

  /** @param {Record<string, any>} answer */
  ready(answer) {
    this.session.signedIn(answer);
    const connection = /** @type {Connection} */ (this.connection);
    if (!this.signedIn) {
      this.signedIn = true;
      this.store = new Store();
      this.live = new Live(connection, this.store);
      /** @type {Context} */
      const context = {
        store: this.store,
        stats: this.stats,
        session: this.session,
        live: this.live,
        redraw: () => this.redraw(),
      };
      this.views = new Map(
        Object.entries({
          overview: new Overview(context),
          devices: new Devices(context),
          device: new Device(context),
          alerts: new Alerts(context),
          system: new System(context),
          console: new Console(context),
        }),
      );
      byId("rail").hidden = false;
      byId("leave").hidden = false;
      this.route();
    }
    write(byId("who"), this.session.demo ? "Demo" : this.session.user);
    // Not before what was asked for has come: that would be the first thing to be seen in the rates.
    void this.live?.begin(answer["channels"]).finally(() => this.signedIn && this.stats.start());
  }

  /** @param {Record<string, any>} message */
  take(message) {
    if (message["type"] === "token_expiring") void this.renew(message["expires_in"]);
    else if (message["type"] === "resync" || message["type"] === "unsubscribed")
      void this.live?.begin(this.live.channels);
    else this.live?.take(message);
  }

  /** @param {number} seconds */
  async renew(seconds) {
    if (this.session.demo) {
      await this.connection?.renew(await this.session.demoToken());
      return;
    }
    askToken(
      `The token expires in ${Math.round(seconds)} s. Paste a new one of the same user to go on.`,
      async (token) => {
        const answer = await this.connection?.renew(token).catch(() => undefined);
        if (answer?.["success"] !== true) return String(answer?.["message"] ?? "There is no connection at the moment.");
        this.session.use(token, this.session.kept);
        this.session.signedIn(answer);
        return "";
      },
    );
  }

  /**
   * @param {import("./connection.js").State} state
   * @param {string} reason
   */
  entered(state, reason) {
    this.link(state, reason);
    if (state !== "refused") return;
    const token = this.connection?.failure ? this.session.token : "";
    this.leave();
    this.signIn.refuse(reason, token);
  }

  /** Sign out, and forget all that was shown. */
  leave() {
    /** @type {HTMLDialogElement} */ (byId("dialog")).close();
    this.connection?.stop();
    this.connection = null;
    this.stats.stop();
    /** @type {Console | undefined} */ (this.views.get("console"))?.close();
    this.session.forget();
    this.signedIn = false;
    this.stats = new Stats(() => this.session.token);
    write(byId("who"), "");
    byId("rail").hidden = true;
    byId("leave").hidden = true;
    this.show(this.signIn, "");
    this.views = new Map();
  }

  /** Show the section that the address names. */
  route() {
    if (!this.signedIn) return;
    const [name = "", argument = ""] = location.hash.slice(1).split("/", 2);
    const section = SECTIONS.includes(name) ? name : "overview";
    for (const link of byId("rail").querySelectorAll("a")) {
      if (link.hash === `#${section}`) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    const view = this.views.get(section === "devices" && argument ? "device" : section);
    if (view) this.show(view, argument && safeDecode(argument));
  }

  /**
   * @param {View} view
   * @param {string} argument
   */
  show(view, argument) {
    const moved = this.view !== view;
    if (this.view.element.isConnected) this.view.leave();
    this.view = view;
    fill(this.main, view.element);
    view.enter(argument);
    view.update(Date.now());
    document.title = `${view.title} · Valtronics`;
    if (moved && view !== this.signIn) {
      scrollTo(0, 0);
      this.main.focus({ preventScroll: true });
    }
  }

  /** Draw in the next frame; what comes until then is drawn with it. */
  redraw() {
    if (this.requested || document.visibilityState === "hidden") return;
    this.requested = true;
    requestAnimationFrame(() => {
      this.requested = false;
      const now = Date.now();
      this.view.update(now);
      this.badges();
      this.announce(now);
      if (this.connection?.state === "open") this.link("open", "");
      else if (this.connection?.state === "waiting") this.link("waiting", this.connection.reason);
    });
  }

  badges() {
    const counts = this.store.counts();
    const bad = counts.critical + counts.warning + counts.offline;
    for (const [id, count] of /** @type {[string, number][]} */ ([
      ["badge-devices", bad],
      ["badge-alerts", this.store.unseen],
    ])) {
      const badge = byId(id);
      badge.hidden = count === 0;
      write(badge, count > 99 ? "99+" : String(count));
    }
  }

  /** Tell screen readers of new alerts, several of them in one sentence. @param {number} now */
  announce(now) {
    if (now - this.announcedAt < ANNOUNCE_EVERY || this.announced === this.store.alertsVersion) return;
    const fresh = this.store.alerts
      .slice(0, this.store.alertsVersion - this.announced)
      .filter((alert) => alert.fresh && alert.severity !== "info");
    this.announced = this.store.alertsVersion;
    this.announcedAt = now;
    const first = fresh[0];
    if (first === undefined) return;
    const more = fresh.length > 1 ? `, and ${fresh.length - 1} more alerts` : "";
    fill(
      byId("announcer"),
      h("span", {}, `${first.severity}: ${first.title}, device ${first.device ?? "none"}${more}`),
    );
  }

  /**
   * Tell how the connection is. What changes by the second is for the eye alone: a screen reader would never end.
   * @param {import("./connection.js").State} state
   * @param {string} reason
   */
  link(state, reason) {
    const trip = this.connection?.roundTrip;
    const wait = Math.max(0, Math.ceil(((this.connection?.retryAt ?? 0) - Date.now()) / 1000));
    const words = {
      idle: "Signed out",
      connecting: "Connecting",
      open: "Live",
      waiting: reason || "Not connected.",
      refused: "Signed out",
    };
    const element = byId("link");
    if (element.dataset["state"] !== state) element.dataset["state"] = state;
    write(byId("link-text"), words[state]);
    const more =
      state === "waiting"
        ? ` Next try in ${wait} s`
        : state === "open" && trip !== undefined
          ? ` · ${milliseconds(trip)} ms`
          : "";
    write(byId("link-more"), more);
  }

  nextTheme() {
    const root = document.documentElement;
    const theme = THEMES[(THEMES.indexOf(root.dataset["theme"] ?? "") + 1) % THEMES.length] ?? "";
    if (theme) root.dataset["theme"] = theme;
    else delete root.dataset["theme"];
    localStorage.setItem("valtronics.theme", theme);
    write(byId("theme-text"), theme ? `Light or dark, now ${theme}` : "Light or dark, now as the system");
    this.view.repaint();
  }

  help() {
    showHelp(this.keys, (on) => {
      this.keys = on;
      localStorage.setItem("valtronics.keys", on ? "on" : "off");
    });
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    const typing = target.matches("input, textarea, select");
    if (event.key === "Escape" && typing) target.blur();
    else if (event.key === "Escape" && location.hash.startsWith("#devices/") && !document.querySelector("dialog[open]"))
      location.hash = "#devices";
    if (
      !this.keys ||
      typing ||
      event.ctrlKey ||
      event.metaKey ||
      event.altKey ||
      document.querySelector("dialog[open]")
    )
      return;
    const section = SECTIONS[Number(event.key) - 1];
    if (event.key === "?") this.help();
    else if (event.key === "t") this.nextTheme();
    else if (section && this.signedIn) location.hash = `#${section}`;
    else if (event.key === "/" && this.signedIn) {
      if (!this.view.element.querySelector("input[type=search]")) location.hash = "#devices";
      requestAnimationFrame(() =>
        /** @type {HTMLInputElement | null} */ (this.main.querySelector("input[type=search]"))?.focus(),
      );
    } else return;
    event.preventDefault();
  }
}

/** @param {string} text */
function safeDecode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

void new App().start();
