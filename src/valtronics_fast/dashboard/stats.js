/** The server's own figures, asked for every two seconds while somebody looks; rates are made of their differences. */

import { Series } from "./series.js";

const EVERY = 2000;
const KEPT = 180;

/**
 * @typedef {Record<string, any>} Figures
 * @typedef {"connections" | "input" | "matched" | "output" | "bytes" | "behind" | "queued" | "lag"} Rate
 */

export class Stats {
  /** @param {() => string} token */
  constructor(token) {
    this.token = token;
    /** @type {Figures | null} */
    this.latest = null;
    this.version = 0;
    /** Why there are none; "" when there are. */
    this.problem = "";
    /** @type {Record<Rate, Series>} */
    this.series = {
      connections: new Series(KEPT),
      input: new Series(KEPT),
      matched: new Series(KEPT),
      output: new Series(KEPT),
      bytes: new Series(KEPT),
      behind: new Series(KEPT),
      queued: new Series(KEPT),
      lag: new Series(KEPT),
    };
    this.at = 0;
    this.timer = 0;
    this.running = false;
  }

  start() {
    if (this.running) return;
    this.running = true;
    void this.poll();
  }

  stop() {
    this.running = false;
    clearTimeout(this.timer);
  }

  async poll() {
    clearTimeout(this.timer);
    if (document.visibilityState === "visible") await this.fetch();
    if (this.running) this.timer = setTimeout(() => void this.poll(), EVERY);
  }

  async fetch() {
    try {
      const answer = await fetch("api/v1/stats", {
        headers: { Authorization: `Bearer ${this.token()}` },
        cache: "no-store",
      });
      if (answer.ok) {
        this.take(await answer.json());
        this.problem = "";
      } else if (answer.status === 403) {
        this.problem = "This token may not read the server's figures: they need the claim “monitor”.";
        this.stop();
      } else {
        this.problem = `The server's figures are not there (HTTP ${answer.status}).`;
      }
    } catch {
      this.problem = "The HTTP port does not answer.";
    }
    this.version += 1;
  }

  /** @param {Figures} figures */
  take(figures) {
    const [before, now] = [this.latest, performance.now()];
    const seconds = (now - this.at) / 1000;
    this.latest = figures;
    this.at = now;
    const time = Date.now();
    this.series.connections.push(time, figures["active_connections"]);
    this.series.behind.push(time, figures["slow_readers"].behind);
    this.series.queued.push(time, figures["slow_readers"].queued_bytes);
    this.series.lag.push(time, (figures["event_loop"]?.lag ?? 0) * 1000);
    // A server that was started anew counts from the beginning, and a page that slept has no rates to tell.
    if (before === null || figures["uptime"] < before["uptime"] || seconds > 5 * (EVERY / 1000)) return;
    const grown = (/** @type {(figures: Figures) => number} */ total) => (total(figures) - total(before)) / seconds;
    this.series.input.push(
      time,
      grown((all) => over(all, "publications")),
    );
    this.series.matched.push(
      time,
      grown((all) => over(all, "matched")),
    );
    this.series.output.push(
      time,
      grown((all) => all["messages_sent"]),
    );
    this.series.bytes.push(
      time,
      grown((all) => all["bytes_sent"]),
    );
  }

  /**
   * @param {Rate} name
   * @returns {number | undefined}
   */
  last(name) {
    const series = this.series[name];
    return series.length ? series.value(series.length - 1) : undefined;
  }
}

/**
 * @param {Figures} figures
 * @param {string} name
 */
function over(figures, name) {
  let sum = 0;
  for (const channel of Object.values(figures["channels"])) sum += channel[name];
  return sum;
}
