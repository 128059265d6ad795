/**
 * A console for the protocol: commands by form or by hand, and every frame as it was. It has a connection of its own,
 * so that what comes is the answer to what was sent here, and nothing of the rest of the page.
 */

import { Connection } from "../connection.js";
import { h, write } from "../dom.js";
import { bytes, number } from "../format.js";

const KEPT = 400;
const CHANNELS = ["telemetry", "alerts", "devices", "system"];

/** @typedef {{ direction: "in" | "out", text: string, at: number }} Frame */

export class Console {
  /** @param {import("../app.js").Context} context */
  constructor(context) {
    this.context = context;
    this.title = "Console";
    /** @type {Frame[]} */
    this.frames = [];
    /** @type {Frame[]} */
    this.fresh = [];
    this.paused = false;
    this.total = 0;
    this.size = 0;
    this.held = 0;
    /** @type {Connection | null} */
    this.connection = null;
    this.state = h(
      "p",
      { class: "headline", role: "status" },
      "A connection of its own: what you see is what was sent and what came.",
    );
    const input = (/** @type {Record<string, unknown>} */ properties) =>
      h("input", { autocomplete: "off", spellcheck: "false", oninput: () => this.compose(), ...properties });
    const choose = (/** @type {string} */ id, /** @type {string[]} */ options) =>
      h("select", { id, onchange: () => this.compose() }, ...options.map((option) => h("option", {}, option)));
    this.command = choose("command", ["subscribe", "unsubscribe", "ping"]);
    this.channel = choose("channel", CHANNELS);
    this.devices = input({ id: "devices", placeholder: "all" });
    this.metrics = input({ id: "metrics", placeholder: "all" });
    this.frequency = input({ id: "frequency", placeholder: "real-time", list: "frequencies" });
    this.snapshot = input({ id: "snapshot", type: "checkbox", checked: true });
    this.text = h("textarea", { id: "command-text", rows: 4, spellcheck: "false", autocomplete: "off" });
    const field = (/** @type {string} */ name, /** @type {HTMLElement} */ control) =>
      h("label", { class: "field" }, h("span", {}, name), control);
    this.fields = {
      channel: field("Channel", this.channel),
      devices: field("Devices", this.devices),
      metrics: field("Metrics", this.metrics),
      frequency: field("Frequency", this.frequency),
      snapshot: h("label", { class: "check" }, this.snapshot, "Snapshot first"),
    };
    const send = (/** @type {Event} */ event) => {
      event.preventDefault();
      this.send();
    };
    this.error = h("p", { class: "fault", role: "alert", hidden: true });
    this.log = h("ol", { class: "frames", tabindex: "0", "aria-label": "Frames, the newest last" });
    this.pause = h(
      "button",
      { type: "button", class: "button", "aria-pressed": "false", onclick: () => this.toggle() },
      "Pause",
    );
    this.count = h("p", { class: "frame-count" });
    this.copied = h("button", { type: "button", class: "button", onclick: () => void this.copy() }, "Copy all");
    this.element = h(
      "div",
      { class: "view console" },
      h("h1", {}, "Console"),
      this.state,
      h(
        "form",
        { class: "panel command", onsubmit: send },
        h("div", { class: "fields" }, field("Command", this.command), ...Object.values(this.fields)),
        h(
          "datalist",
          { id: "frequencies" },
          ...["real-time", "500ms", "1s", "10s", "1m"].map((value) => h("option", { value })),
        ),
        h("label", { class: "field wide" }, h("span", {}, "Message"), this.text),
        this.error,
        h(
          "div",
          { class: "actions" },
          h("button", { type: "submit", class: "button primary" }, "Send"),
          h("span", { class: "hint" }, "Ctrl+Enter sends, too"),
        ),
      ),
      h(
        "section",
        { class: "panel", "aria-label": "Frames" },
        h(
          "div",
          { class: "frames-head" },
          h("h2", {}, "Frames"),
          this.count,
          h(
            "div",
            { class: "actions" },
            this.pause,
            h("button", { type: "button", class: "button", onclick: () => this.clear() }, "Clear"),
            this.copied,
          ),
        ),
        this.log,
      ),
    );
    this.text.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) send(event);
    });
    this.compose();
  }

  enter() {
    if (this.connection === null) this.connect();
  }

  leave() {}

  repaint() {}

  /** End the connection, when its user signs out. */
  close() {
    this.connection?.stop();
    this.connection = null;
    this.clear();
  }

  connect() {
    const { session } = this.context;
    this.connection = new Connection(session.websocket, {
      token: () => session.current(),
      ready: () => {
        this.error.hidden = true;
      },
      message: () => undefined,
      state: (state, reason) => {
        const words = {
          idle: "Closed.",
          connecting: "Connecting.",
          open: "Connected, with a connection of its own.",
          waiting: "Lost; coming back.",
          refused: "Refused.",
        };
        write(this.state, `${words[state]} ${reason}`.trim());
      },
      frame: (direction, text) => this.take(direction, text),
    });
    this.connection.start();
  }

  /**
   * @param {"in" | "out"} direction
   * @param {string} text
   */
  take(direction, text) {
    const auth = direction === "out" && text.includes('"type":"auth"');
    if (text.includes('"type":"ping"') && direction === "out" && !text.includes("timestamp")) return; // our own signs of life
    if (text.startsWith('{"type":"pong"') && !text.includes("client_timestamp")) return;
    this.total += 1;
    this.size += text.length;
    const shown = auth ? text.replace(/"token":"[^"]*"/, '"token":"…"') : text;
    this.fresh.push({ direction, text: shown, at: Date.now() });
    if (this.fresh.length > KEPT) this.fresh.splice(0, this.fresh.length - KEPT);
  }

  /** Write the command of the form into the text. */
  compose() {
    const type = this.command.value;
    for (const field of Object.values(this.fields)) field.hidden = type === "ping";
    this.fields.metrics.hidden = type !== "subscribe" || !["telemetry", "system"].includes(this.channel.value);
    this.fields.frequency.hidden = this.fields.metrics.hidden;
    this.fields.snapshot.hidden = type !== "subscribe" || this.channel.value === "alerts";
    this.fields.devices.hidden = type === "ping" || this.channel.value === "system";
    /** @type {Record<string, unknown>} */
    const message = { type };
    const list = (/** @type {string} */ text) => text.split(/[\s,]+/).filter(Boolean);
    const devices = list(this.devices.value).map((id) => (/^-?\d{1,15}$/.test(id) ? Number(id) : id));
    const metrics = list(this.metrics.value);
    if (type === "ping") message["timestamp"] = new Date().toISOString();
    else message["channel"] = this.channel.value;
    if (devices.length && !this.fields.devices.hidden)
      message["device_id"] = devices.length === 1 ? devices[0] : devices;
    if (metrics.length && !this.fields.metrics.hidden) message["metrics"] = metrics;
    if (this.frequency.value.trim() && !this.fields.frequency.hidden)
      message["frequency"] = this.frequency.value.trim();
    if (this.snapshot.checked && !this.fields.snapshot.hidden) message["snapshot"] = true;
    if (type !== "ping") message["id"] = "console";
    this.text.value = JSON.stringify(message, null, 1).replace(/\n\s*/g, " ").replace(/^\{ /, "{").replace(/ \}$/, "}");
  }

  send() {
    /** @type {unknown} */
    let message;
    let fault = "";
    try {
      message = JSON.parse(this.text.value);
      if (message === null || typeof message !== "object") fault = "A message is an object.";
    } catch (error) {
      fault = `This is no JSON: ${error instanceof Error ? error.message : error}`;
    }
    if (!fault && !this.connection?.send(/** @type {Record<string, unknown>} */ (message)))
      fault = "There is no connection at the moment.";
    this.error.hidden = !fault;
    write(this.error, fault);
  }

  toggle() {
    this.paused = !this.paused;
    this.pause.setAttribute("aria-pressed", String(this.paused));
    write(this.pause, this.paused ? "Go on" : "Pause");
  }

  clear() {
    this.frames = [];
    this.fresh = [];
    this.total = 0;
    this.size = 0;
    this.log.replaceChildren();
  }

  async copy() {
    const text = this.frames.map((frame) => `${frame.direction === "in" ? "<" : ">"} ${frame.text}`).join("\n");
    try {
      await navigator.clipboard.writeText(text);
      write(this.copied, "Copied");
    } catch {
      write(this.copied, "The browser forbids it");
    }
    setTimeout(() => write(this.copied, "Copy all"), 2000);
  }

  update() {
    write(
      this.count,
      `${number(this.total)} frames, ${bytes(this.size)}${this.paused ? `; ${number(this.fresh.length)} held back` : ""}`,
    );
    if (this.paused || !this.fresh.length) return;
    const atEnd = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 60;
    const fresh = this.fresh;
    this.fresh = [];
    this.frames.push(...fresh);
    this.log.append(
      ...fresh.map((frame) =>
        h(
          "li",
          { class: `frame frame-${frame.direction}` },
          h(
            "span",
            { class: "frame-way", title: frame.direction === "in" ? "received" : "sent" },
            frame.direction === "in" ? "←" : "→",
          ),
          h("time", {}, new Date(frame.at).toISOString().slice(11, 23)),
          h("code", {}, frame.text),
        ),
      ),
    );
    const over = this.frames.length - KEPT;
    if (over > 0) {
      this.frames.splice(0, over);
      for (let i = 0; i < over; i += 1) this.log.firstElementChild?.remove();
    }
    if (atEnd) this.log.scrollTop = this.log.scrollHeight;
  }
}
