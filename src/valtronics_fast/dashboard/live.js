/**
 * What the page is subscribed to, on its one connection.
 *
 * Telemetry comes once a second and device, however often the devices send, and before that what the server's history
 * has of the last minute, so that no sparkline begins empty. The device that somebody looks at comes in real time.
 * Alerts and status changes are recovered after a lost connection: none is missed.
 */

const RATE = "1s";
const RATE_WHEN_HIDDEN = "15s";
const BACKFILL = 3000;
const REPLAY_TIME = 4000;
const LOOK_BACK = [Infinity, 256, 64, 16, 4];

/** @typedef {{ epoch: string, offset: number }} Position */

export class Live {
  /**
   * @param {import("./connection.js").Connection} connection
   * @param {import("./store.js").Store} store
   */
  constructor(connection, store) {
    this.connection = connection;
    this.store = store;
    /** @type {string[]} */
    this.channels = [];
    /** @type {Map<string, Position>} */
    this.positions = new Map();
    /** @type {string | null} */
    this.focus = null;
    this.filled = false;
    document.addEventListener("visibilitychange", () => {
      if (this.filled && connection.state === "open") void this.telemetry().catch(() => undefined);
    });
  }

  /**
   * Subscribe to all that the token permits; what fails for a lost connection is done again after it.
   * @param {string[]} channels
   */
  async begin(channels) {
    this.channels = channels;
    this.filled = false;
    const tasks = { system: () => this.system(), devices: () => this.devices(), alerts: () => this.alerts() };
    try {
      for (const [channel, task] of Object.entries(tasks)) if (channels.includes(channel)) await task();
      if (channels.includes("telemetry")) await this.backfill();
    } catch (error) {
      if (this.connection.state === "open") throw error;
    }
  }

  /** @param {Record<string, any>} message */
  take(message) {
    const position = this.positions.get(message["channel"]);
    if (position && typeof message["offset"] === "number") position.offset = message["offset"];
    this.store.take(message);
  }

  system() {
    return this.connection.ask({ type: "subscribe", channel: "system", snapshot: true });
  }

  async devices() {
    const since = this.positions.get("devices");
    const more = since ? { since } : { snapshot: true, recover: true };
    this.note("devices", await this.connection.ask({ type: "subscribe", channel: "devices", ...more }));
  }

  /** Ask for what was missed; at first, for as much of the history as there is. */
  async alerts() {
    const since = this.positions.get("alerts");
    const command = { type: "subscribe", channel: "alerts" };
    if (since && (await this.connection.ask({ ...command, since }))["recovered"]) return;
    const { position } = await this.connection.ask({ ...command, recover: true });
    if (!position) return;
    this.positions.set("alerts", position);
    for (const back of LOOK_BACK) {
      const offset = Math.max(0, position.offset - back);
      const answer = await this.connection.ask({ ...command, since: { epoch: position.epoch, offset } });
      if (answer["recovered"]) return;
    }
  }

  /** Have the last minute come again, then the newest values at our rate. */
  async backfill() {
    const command = { type: "subscribe", channel: "telemetry" };
    const { position } = await this.connection.ask({ ...command, recover: true });
    if (position) {
      this.positions.set("telemetry", { ...position });
      const since = { epoch: position.epoch, offset: Math.max(0, position.offset - BACKFILL) };
      const answer = await this.connection.ask({ ...command, since });
      const end = performance.now() + REPLAY_TIME;
      const replayed = () => (this.positions.get("telemetry")?.offset ?? 0) >= position.offset;
      this.positions.set("telemetry", { ...since });
      while (answer["recovered"] && !replayed() && performance.now() < end) await sleep(50);
      this.positions.delete("telemetry"); // at a frequency there are no offsets
    }
    await this.telemetry();
    this.filled = true;
    if (this.focus !== null) this.look(this.focus);
  }

  telemetry() {
    const frequency = document.visibilityState === "hidden" ? RATE_WHEN_HIDDEN : RATE;
    return this.connection.ask({ type: "subscribe", channel: "telemetry", snapshot: true, frequency });
  }

  /**
   * Have one device in real time, beside all the others; null: none.
   * @param {string | null} key
   */
  look(key) {
    const id = (/** @type {string} */ text) => (/^-?\d{1,15}$/.test(text) ? Number(text) : text);
    if (this.focus !== null && this.focus !== key) {
      this.connection.send({ type: "unsubscribe", channel: "telemetry", device_id: id(this.focus) });
    }
    this.focus = key;
    if (key !== null && this.filled && this.channels.includes("telemetry")) {
      this.connection.send({ type: "subscribe", channel: "telemetry", device_id: id(key) });
    }
  }

  /**
   * @param {string} channel
   * @param {Record<string, any>} answer
   */
  note(channel, answer) {
    if (answer["position"]) this.positions.set(channel, answer["position"]);
  }
}

/** @param {number} milliseconds */
function sleep(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
