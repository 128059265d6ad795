/** Signing in with a token, and what is wrong with one that was refused. */

import { h, icon, write } from "../dom.js";
import { explainToken } from "../session.js";

export class SignIn {
  /** @param {(token: string, keep: boolean) => void} done */
  constructor(done) {
    this.title = "Sign in";
    this.token = h("textarea", {
      id: "token",
      rows: 4,
      required: true,
      spellcheck: "false",
      autocomplete: "off",
      autocapitalize: "off",
      placeholder: "eyJ…",
      "aria-describedby": "token-fault token-hint",
    });
    this.keep = h("input", { type: "checkbox", id: "keep" });
    this.fault = h("p", { class: "fault", id: "token-fault", role: "alert", hidden: true });
    this.button = h("button", { type: "submit", class: "button primary" }, "Sign in");
    const submit = (/** @type {Event} */ event) => {
      event.preventDefault();
      const token = this.token.value.trim();
      if (!token) {
        this.refuse("A token is needed.", "");
        return;
      }
      this.fault.hidden = true;
      this.busy(true);
      done(token, this.keep.checked);
    };
    this.token.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey) submit(event);
    });
    this.element = h(
      "div",
      { class: "sign-in" },
      h(
        "form",
        { class: "panel", onsubmit: submit },
        icon("mark"),
        h("h1", {}, "Sign in"),
        h("p", {}, "This server shows its data to those who have a token."),
        h("label", { for: "token" }, "Token"),
        this.token,
        this.fault,
        h("label", { class: "check" }, this.keep, "Keep it in this tab over a reload"),
        this.button,
        h(
          "details",
          { id: "token-hint" },
          h("summary", {}, "Where do I get a token?"),
          h(
            "p",
            {},
            "The server prints one when it makes up its own secret. With a configured secret, whoever has it makes one:",
          ),
          h("pre", {}, h("code", {}, "valtronics-fast token --sub me --monitor --expires 8h")),
          h(
            "p",
            {},
            "“--monitor” permits the server's own figures. The token never becomes part of an address and is sent to this server alone.",
          ),
        ),
      ),
    );
  }

  enter() {
    this.busy(false);
    this.token.focus();
  }

  leave() {}

  repaint() {}

  update() {}

  /** @param {boolean} busy */
  busy(busy) {
    this.button.disabled = busy;
    write(this.button, busy ? "Signing in…" : "Sign in");
  }

  /**
   * @param {string} why the server's words
   * @param {string} token
   */
  refuse(why, token) {
    const hint = token && explainToken(token);
    const sentence = `${why.charAt(0).toUpperCase()}${why.slice(1).replace(/\.?$/, ".")}`;
    write(this.fault, `${sentence} ${hint}`.trim());
    this.fault.hidden = false;
    this.busy(false);
    this.token.setAttribute("aria-invalid", "true");
    this.token.focus();
    this.token.select();
  }
}
