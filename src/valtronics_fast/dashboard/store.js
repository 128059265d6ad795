/** What is known of devices, alerts and the host. Views look at it when they draw; nothing here touches the page. */

import { Series } from "./series.js";

export const MAX_DEVICES = 5000;
export const MAX_METRICS = 32;
export const MAX_ALERTS = 500;
const MAX_STATUSES = 50;

/** States of a device, the worst first; each has a shape and a colour of its own. */
export const STATES = /** @type {const} */ (["critical", "warning", "offline", "maintenance", "online", "unknown"]);

/**
 * @typedef {(typeof STATES)[number]} State
 * @typedef {Record<string, any>} Message
 * @typedef {{ name: string, value: unknown, unit: string, time: number, series: Series }} Metric
 * @typedef {object} Device
 * @property {string} key
 * @property {number} number for sorting: the id, where it is a number
 * @property {string} status as it was said
 * @property {State} state what is shown of it
 * @property {Map<string, Metric>} metrics
 * @property {Map<string, string>} troubles the severity of each kind of alert that is not resolved
 * @property {{ time: number, from: string, to: string, reason: string }[]} statuses the newest first
 * @property {number} heard when it was heard of last
 * @property {number} version changes with everything that is shown
 */

/**
 * @typedef {object} Alert
 * @property {string} id
 * @property {string | null} device
 * @property {string} severity
 * @property {string} type
 * @property {string} title
 * @property {string} text
 * @property {number} time
 * @property {boolean} fresh it came while the page was watching, and is not from the history
 */

/** Times are mostly the same text for all metrics of a message. */
let lastText = "";
let lastTime = 0;

/** @param {unknown} text */
function timeOf(text) {
  if (typeof text !== "string") return Date.now();
  if (text !== lastText) {
    lastText = text;
    lastTime = Date.parse(text) || Date.now();
  }
  return lastTime;
}

export class Store {
  constructor() {
    /** @type {Map<string, Device>} */
    this.devices = new Map();
    /** Changes when a device comes, or its state changes: lists are sorted anew then. */
    this.membership = 0;
    /** Devices that found no room. */
    this.untold = 0;
    /** The newest first. @type {Alert[]} */
    this.alerts = [];
    this.alertsVersion = 0;
    this.unseen = 0;
    /** @type {Set<string>} */
    this.known = new Set();
    /** @type {Map<string, Metric>} */
    this.system = new Map();
    this.systemVersion = 0;
    this.updates = 0;
    this.conflated = 0;
  }

  /** @param {Message} message */
  take(message) {
    switch (message["type"]) {
      case "telemetry_update":
        this.telemetry(message);
        break;
      case "alert":
        this.alert(message);
        break;
      case "device_status_update":
        this.status(message);
        break;
      case "system_status_update":
        this.figures(message);
        break;
      case "notice":
        this.conflated += Number(message["count"]) || 0;
        break;
    }
  }

  /**
   * @param {unknown} id
   * @returns {Device | undefined}
   */
  device(id) {
    const key = String(id);
    let device = this.devices.get(key);
    if (device === undefined) {
      if (this.devices.size >= MAX_DEVICES) {
        this.untold += 1;
        return undefined;
      }
      const number = typeof id === "number" ? id : Number.POSITIVE_INFINITY;
      const blank = { status: "unknown", state: /** @type {State} */ ("unknown"), heard: 0, version: 0 };
      device = { key, number, metrics: new Map(), troubles: new Map(), statuses: [], ...blank };
      this.devices.set(key, device);
      this.membership += 1;
    }
    return device;
  }

  /** @param {Message} message */
  telemetry(message) {
    const device = this.device(message["device_id"]);
    if (device === undefined) return;
    this.updates += 1;
    for (const [name, metric] of Object.entries(message["telemetry"])) {
      record(device.metrics, name, metric?.value, metric?.unit, timeOf(metric?.timestamp));
    }
    if (device.status === "unknown" && device.state === "unknown") this.judge(device, "online");
    device.heard = Date.now();
    device.version += 1;
  }

  /** @param {Message} message */
  status(message) {
    const device = this.device(message["device_id"]);
    if (device === undefined) return;
    device.status = String(message["new_status"]);
    const [from, reason] = [String(message["old_status"] ?? ""), String(message["reason"] ?? "")];
    const time = timeOf(message["timestamp"]);
    if (!(device.statuses[0] && device.statuses[0].time >= time)) {
      device.statuses.unshift({ time, from, to: device.status, reason });
      device.statuses.length = Math.min(device.statuses.length, MAX_STATUSES);
    }
    device.heard = Date.now();
    this.judge(device);
  }

  /** @param {Message} message */
  alert(message) {
    const id = String(message["alert_id"]);
    if (this.known.has(id)) return;
    const device =
      message["device_id"] === null || message["device_id"] === undefined ? null : String(message["device_id"]);
    const time = timeOf(message["timestamp"]);
    /** @type {Alert} */
    const alert = {
      id,
      device,
      severity: String(message["severity"]),
      type: String(message["alert_type"] ?? message["title"]),
      title: String(message["title"] ?? ""),
      text: String(message["message"] ?? ""),
      time,
      fresh: Date.now() - time < 10_000,
    };
    this.known.add(id);
    this.alerts.unshift(alert);
    for (const old of this.alerts.splice(MAX_ALERTS)) this.known.delete(old.id);
    this.alertsVersion += 1;
    this.unseen += 1;
    const owner = device === null ? undefined : this.device(message["device_id"]);
    if (owner === undefined) return;
    if (alert.severity === "info") {
      owner.troubles.delete(alert.type);
    } else {
      owner.troubles.set(alert.type, alert.severity);
      if (owner.troubles.size > MAX_METRICS) owner.troubles.delete(owner.troubles.keys().next().value ?? "");
    }
    this.judge(owner);
  }

  /** @param {Message} message */
  figures(message) {
    const time = timeOf(message["timestamp"]);
    for (const [name, value] of Object.entries(message["metrics"])) record(this.system, name, value, "", time);
    this.systemVersion += 1;
  }

  /**
   * Find out what is shown of a device: its status, and worse than that its unresolved alerts.
   * @param {Device} device
   * @param {string} [status]
   */
  judge(device, status = device.status) {
    const told = STATES.find((state) => state === status.toLowerCase());
    const severities = [...device.troubles.values()];
    /** @type {State} */
    let state = told ?? (status === "error" ? "critical" : status === "unknown" ? "unknown" : "online");
    if (state === "online" || state === "warning") {
      if (severities.includes("critical")) state = "critical";
      else if (severities.length) state = "warning";
    }
    if (state !== device.state) {
      device.state = state;
      this.membership += 1;
    }
    device.version += 1;
  }

  /** Count the devices by state. */
  counts() {
    const counts = Object.fromEntries(STATES.map((state) => [state, 0]));
    for (const device of this.devices.values()) counts[device.state] = (counts[device.state] ?? 0) + 1;
    return /** @type {Record<State, number>} */ (counts);
  }
}

/**
 * @param {Map<string, Metric>} metrics
 * @param {string} name
 * @param {unknown} value
 * @param {unknown} unit
 * @param {number} time
 */
function record(metrics, name, value, unit, time) {
  let metric = metrics.get(name);
  if (metric === undefined) {
    if (metrics.size >= MAX_METRICS) return;
    metric = { name, value, unit: "", time: -Infinity, series: new Series() };
    metrics.set(name, metric);
  }
  if (time < metric.time) return; // older than what is shown
  metric.value = value;
  metric.time = time;
  if (typeof unit === "string") metric.unit = unit;
  if (typeof value === "number") metric.series.push(time, value);
}

/**
 * Order devices: by id, or those in trouble first.
 * @param {Device[]} devices
 * @param {"trouble" | "id"} order
 */
export function sortDevices(devices, order) {
  const byId = (/** @type {Device} */ a, /** @type {Device} */ b) =>
    a.number - b.number || a.key.localeCompare(b.key, "en", { numeric: true });
  const worst = (/** @type {Device} */ device) => STATES.indexOf(device.state);
  return devices.sort(order === "id" ? byId : (a, b) => worst(a) - worst(b) || byId(a, b));
}
