// A client of the WebSocket API in the shape that JavaScript clients of it have, run by test_javascript_client.py.
//
// What makes the shape: it authenticates in `onopen` and sends its subscriptions right behind, without waiting for
// the answer; filters stand at the top level of a subscription; a message that is sent while the socket is not open
// is lost; subscriptions are known by their channel alone; a lost connection is made anew after a growing delay.
//
// The test writes one order a line to the standard input, [method, ...arguments], and reads what happened, one
// [event, ...details] a line, from the standard output. The end of the input is the end of the program.
// VALTRONICS_URL and VALTRONICS_TOKEN say where to connect and with what.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const WebSocket = createRequire(import.meta.url)("ws"); // a Debian package, found through NODE_PATH

const DATA_TYPES = ["telemetry_update", "alert", "device_status_update", "system_status_update"];
const MAX_ATTEMPTS = 5;
const FIRST_DELAY = 50; // milliseconds

const tell = (...event) => process.stdout.write(`${JSON.stringify(event)}\n`);

class DashboardClient {
  #url;
  #token;
  #socket = null;
  #filters = new Map(); // by channel
  #attempts = 0;

  constructor(url, token) {
    this.#url = url;
    this.#token = token;
  }

  connect() {
    const socket = new WebSocket(this.#url);
    socket.onopen = () => {
      tell("open");
      this.#attempts = 0;
      this.send({ type: "auth", token: this.#token });
      for (const [channel, filters] of this.#filters) {
        this.send({ type: "subscribe", channel, ...filters });
      }
    };
    socket.onmessage = (event) => this.#receive(JSON.parse(event.data));
    socket.onclose = (event) => {
      tell("close", event.code);
      if (this.#socket === socket) this.#reconnect();
    };
    socket.onerror = () => {}; // a close follows, which tells the same
    this.#socket = socket;
  }

  subscribe(channel, filters = {}) {
    this.#filters.set(channel, filters);
    this.send({ type: "subscribe", channel, ...filters });
  }

  unsubscribe(channel) {
    this.#filters.delete(channel);
    this.send({ type: "unsubscribe", channel });
  }

  ping(timestamp) {
    this.send({ type: "ping", timestamp });
  }

  batch(messages) {
    this.send({ type: "batch", messages });
  }

  disconnect() {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) {
      this.#socket.send(JSON.stringify(message));
    } else {
      tell("lost", message.type);
    }
  }

  #receive(message) {
    if (message.type === "auth_response") {
      tell("auth", message);
    } else if (DATA_TYPES.includes(message.type)) {
      tell("data", message);
    } else {
      tell(message.type === "pong" ? "pong" : "unknown", message);
    }
  }

  #reconnect() {
    if (this.#attempts < MAX_ATTEMPTS) {
      this.#attempts += 1;
      setTimeout(() => this.connect(), FIRST_DELAY * this.#attempts);
    }
  }
}

const client = new DashboardClient(process.env.VALTRONICS_URL, process.env.VALTRONICS_TOKEN);
const orders = createInterface({ input: process.stdin });
orders.on("line", (line) => {
  const [method, ...details] = JSON.parse(line);
  client[method](...details);
});
orders.on("close", () => client.disconnect());
