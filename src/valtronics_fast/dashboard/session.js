/** Who has signed in. The token is kept in memory, and in this tab alone if that is wanted; never in a URL. */

const KEY = "valtronics.token";

export class Session {
  constructor() {
    /** @type {{ websocket: string, demo: boolean, charts: boolean }} */
    this.config = { websocket: "ws", demo: false, charts: false };
    this.token = "";
    this.user = "";
    this.expiresAt = 0;
    /** Whether the page gets its tokens by itself. */
    this.demo = false;
  }

  /** Ask where things are. */
  async load() {
    const answer = await fetch("dashboard/config.json", { cache: "no-store" });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    this.config = await answer.json();
    this.token = sessionStorage.getItem(KEY) ?? "";
  }

  /** The URL of the WebSocket, which may stand as a path of this host. */
  get websocket() {
    const url = new URL(this.config.websocket, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    return url.href;
  }

  /**
   * @param {string} token
   * @param {boolean} keep over a reload of this tab
   */
  use(token, keep) {
    this.token = token;
    this.demo = false;
    if (keep) sessionStorage.setItem(KEY, token);
    else sessionStorage.removeItem(KEY);
  }

  /** Whether it is kept over a reload. */
  get kept() {
    return sessionStorage.getItem(KEY) !== null;
  }

  forget() {
    sessionStorage.removeItem(KEY);
    this.token = this.user = "";
    this.demo = false;
  }

  /** Have the demo give us a token. */
  async demoToken() {
    const answer = await fetch("dashboard/demo-token", { method: "POST", cache: "no-store" });
    if (!answer.ok) throw new Error(`The demo gave no token (HTTP ${answer.status}).`);
    this.token = (await answer.json()).token;
    this.demo = true;
    return this.token;
  }

  /** Return the token for the next connection; in a demo a new one, for the last may be from before a restart. */
  async current() {
    return this.demo ? this.demoToken() : this.token;
  }

  /** @param {Record<string, any>} answer to `auth` */
  signedIn(answer) {
    this.user = String(answer["user"] ?? "");
    this.expiresAt = Date.parse(answer["expires_at"]) || 0;
  }
}

/**
 * Say what can be seen of a token without its key. The server judges; this tells people what to look at.
 * @param {string} token
 * @returns {string} "" when nothing is to be seen
 */
export function explainToken(token) {
  const parts = token.split(".");
  if (parts.length !== 3) return "A token has three parts with dots between them. Was all of it copied?";
  /** @type {Record<string, unknown>} */
  let claims;
  try {
    const text = atob((parts[1] ?? "").replaceAll("-", "+").replaceAll("_", "/"));
    claims = JSON.parse(new TextDecoder().decode(Uint8Array.from(text, (letter) => letter.charCodeAt(0))));
  } catch {
    return "The middle part of this token can't be read. Was all of it copied?";
  }
  const now = Date.now() / 1000;
  if (typeof claims["exp"] !== "number") return "This token has no end (“exp”), and the server asks for one.";
  if (claims["exp"] < now) return `This token expired on ${new Date(claims["exp"] * 1000).toLocaleString()}.`;
  if (typeof claims["nbf"] === "number" && claims["nbf"] > now) return "This token is not valid yet.";
  if (claims["sub"] === undefined) return "This token names no user (“sub”).";
  return "It may be signed with another key, or for another audience or issuer than this server's.";
}
