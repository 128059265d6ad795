/**
 * One WebSocket that comes back by itself (docs/protocol.md): authentication in band, answers by id, close codes.
 *
 * States: "idle", "connecting", "open" (authenticated), "waiting" (for the next attempt), "refused" (it makes no sense
 * to come back unchanged; `reason` says why).
 */

const FIRST_DELAY = 500;
const LONGEST_DELAY = 15_000;
const PING_EVERY = 5000;
const PONG_WITHIN = 10_000;

/** What the close codes mean that the server gives a reason for. */
const CLOSES = new Map([
  [1006, "The connection was lost."],
  [1012, "The server restarts."],
  [4001, "The token was refused."],
  [4002, "The server waited too long for a token."],
  [4003, "The server ended this session."],
  [4004, "The new token is somebody else's: sign out first."],
  [4005, "This user has too many connections."],
  [4010, "The token has expired."],
  [4100, "The server is full."],
  [4101, "Too many messages were sent."],
  [4102, "This page read too slowly."],
  [4103, "The connection went silent."],
  [4200, "The server moves its clients."],
]);

/**
 * @typedef {Record<string, any>} Message
 * @typedef {"idle" | "connecting" | "open" | "waiting" | "refused"} State
 * @typedef {object} Handlers
 * @property {() => Promise<string>} token returns the token to sign in with
 * @property {(answer: Message) => void} ready the session is authenticated
 * @property {(message: Message) => void} message anything that nobody waits for
 * @property {(state: State, reason: string) => void} state
 * @property {(direction: "in" | "out", text: string) => void} [frame] sees each frame
 */

export class Connection {
  /**
   * @param {string} url
   * @param {Handlers} handlers
   * @param {Message} [options] more members of `auth`
   */
  constructor(url, handlers, options = {}) {
    this.url = url;
    this.handlers = handlers;
    this.options = options;
    /** @type {State} */
    this.state = "idle";
    this.reason = "";
    /** Seconds from a ping to its pong. @type {number | undefined} */
    this.roundTrip = undefined;
    /** When the next attempt is made. */
    this.retryAt = 0;
    this.received = 0;
    /** @type {WebSocket | null} */
    this.socket = null;
    this.attempts = 0;
    this.lastId = 0;
    /** @type {Map<number, { resolve: (answer: Message) => void, reject: (error: Error) => void }>} */
    this.pending = new Map();
    this.retryTimer = 0;
    this.pingTimer = 0;
    this.pingSent = 0;
    /** @type {Message | null} */
    this.failure = null;
    this.wake = () => {
      if (this.state === "waiting") this.open();
    };
    this.seen = () => {
      if (document.visibilityState === "visible") this.wake();
    };
  }

  start() {
    addEventListener("online", this.wake);
    document.addEventListener("visibilitychange", this.seen);
    this.attempts = 0;
    void this.open();
  }

  /** End for good; `start` may follow. */
  stop() {
    removeEventListener("online", this.wake);
    document.removeEventListener("visibilitychange", this.seen);
    clearTimeout(this.retryTimer);
    this.drop();
    this.enter("idle", "");
  }

  /** @param {Message} message */
  send(message) {
    if (this.socket === null || this.socket.readyState !== WebSocket.OPEN) return false;
    const text = JSON.stringify(message);
    this.socket.send(text);
    this.handlers.frame?.("out", text);
    return true;
  }

  /**
   * Send a command and wait for its answer, which may be an error of the server's.
   * @param {Message} message
   * @returns {Promise<Message>}
   */
  ask(message) {
    const id = (this.lastId += 1);
    return new Promise((resolve, reject) => {
      this.pending.set(id, { resolve, reject });
      if (!this.send({ ...message, id })) {
        this.pending.delete(id);
        reject(new Error("there is no connection"));
      }
    });
  }

  /** @param {string} token a new one of the same user */
  renew(token) {
    return this.ask({ type: "auth", token, ...this.options });
  }

  async open() {
    clearTimeout(this.retryTimer);
    this.drop();
    this.enter("connecting", this.reason);
    let token;
    try {
      token = await this.handlers.token();
    } catch (error) {
      this.retry(error instanceof Error ? error.message : String(error));
      return;
    }
    if (this.state !== "connecting" || this.socket !== null) return; // it was stopped, or opened, meanwhile
    const socket = new WebSocket(this.url);
    this.socket = socket;
    this.failure = null;
    socket.onopen = () => {
      void this.ask({ type: "auth", token, ...this.options }).then(
        (answer) => this.judge(answer),
        () => undefined,
      );
    };
    socket.onmessage = (event) => this.take(String(event.data));
    socket.onclose = (event) => {
      if (this.socket === socket) this.closed(event.code);
    };
  }

  /** @param {Message} answer to the first `auth` */
  judge(answer) {
    if (answer["success"] !== true) {
      this.failure = answer;
      this.drop();
      this.enter("refused", String(answer["message"] ?? "The token was refused."));
      return;
    }
    this.attempts = 0;
    this.enter("open", "");
    this.pingTimer = setInterval(() => this.ping(), PING_EVERY);
    this.ping();
    this.handlers.ready(answer);
  }

  ping() {
    const now = performance.now();
    if (this.pingSent && now - this.pingSent > PONG_WITHIN) {
      this.drop();
      this.retry("The connection went silent.");
    } else if (!this.pingSent) {
      this.pingSent = now;
      this.ask({ type: "ping" }).then(
        () => {
          this.roundTrip = (performance.now() - this.pingSent) / 1000;
          this.pingSent = 0;
        },
        () => undefined,
      );
    }
  }

  /** @param {string} text */
  take(text) {
    this.received += 1;
    this.handlers.frame?.("in", text);
    /** @type {Message} */
    const message = JSON.parse(text);
    const waiting = this.pending.get(message["id"]);
    if (waiting) {
      this.pending.delete(message["id"]);
      waiting.resolve(message);
    } else if (message["type"] === "batch") {
      for (const each of message["messages"]) this.handlers.message(each);
    } else {
      this.handlers.message(message);
    }
  }

  /** @param {number} code */
  closed(code) {
    this.drop();
    const why = CLOSES.get(code) ?? `The connection was closed (${code}).`;
    if (code >= 4000 && code < 4100) {
      this.enter("refused", why);
    } else {
      this.retry(why, code === 1012 || (code >= 4200 && code < 4300));
    }
  }

  /**
   * @param {string} why
   * @param {boolean} [atOnce] the server wants it back; still not everybody in the same moment
   */
  retry(why, atOnce = false) {
    const ceiling =
      atOnce && this.attempts === 0 ? FIRST_DELAY : Math.min(FIRST_DELAY * 2 ** this.attempts, LONGEST_DELAY);
    const delay = ceiling * (0.5 + Math.random() / 2);
    this.attempts += 1;
    this.retryAt = Date.now() + delay;
    this.retryTimer = setTimeout(() => void this.open(), delay);
    this.enter("waiting", why);
  }

  /** Let go of the socket, whatever becomes of it. */
  drop() {
    clearInterval(this.pingTimer);
    this.pingSent = 0;
    this.roundTrip = undefined;
    const socket = this.socket;
    this.socket = null;
    if (socket !== null) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
    const waiting = [...this.pending.values()];
    this.pending.clear();
    for (const each of waiting) each.reject(new Error("the connection was lost"));
  }

  /**
   * @param {State} state
   * @param {string} reason
   */
  enter(state, reason) {
    this.state = state;
    this.reason = reason;
    this.handlers.state(state, reason);
  }
}
