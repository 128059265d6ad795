/** Dialogs: help with the keys, and a new token for one that expires. */

import { byId, fill, h } from "../dom.js";

const KEYS = [
  ["1 … 5", "Overview, Devices, Alerts, System, Console"],
  ["/", "Filter"],
  ["← ↑ → ↓", "Between devices; Enter opens one"],
  ["Esc", "Back to the list; leave a field"],
  ["t", "Light or dark"],
  ["?", "This help"],
];

/** @returns {HTMLDialogElement} */
function dialog() {
  return /** @type {HTMLDialogElement} */ (byId("dialog"));
}

/**
 * @param {boolean} on whether single keys do something
 * @param {(on: boolean) => void} change
 */
export function showHelp(on, change) {
  const keys = h("input", { type: "checkbox", checked: on, onchange: () => change(keys.checked) });
  const rows = KEYS.map(([key, text]) =>
    h("div", {}, h("dt", {}, ...(key ?? "").split(" ").map((part) => h("kbd", {}, part))), h("dd", {}, text)),
  );
  const states = h(
    "p",
    {},
    "States differ by colour and by shape: a filled circle is online, a triangle a warning, an octagon critical, a struck ring offline, a square maintenance.",
  );
  fill(
    dialog(),
    h("h2", { id: "dialog-title" }, "Keyboard"),
    h("dl", { class: "keys" }, ...rows),
    states,
    h("label", { class: "check" }, keys, "Use these keys"),
    close("Close"),
  );
  dialog().showModal();
}

/**
 * @param {string} text
 * @param {(token: string) => Promise<string>} renew returns what is wrong, or ""
 */
export function askToken(text, renew) {
  const token = h("textarea", { id: "new-token", rows: 4, required: true, spellcheck: "false", autocomplete: "off" });
  const fault = h("p", { class: "fault", role: "alert", hidden: true });
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    const why = await renew(token.value.trim());
    fault.hidden = !why;
    fault.textContent = why;
    if (!why) dialog().close();
  };
  fill(
    dialog(),
    h("h2", { id: "dialog-title" }, "A new token"),
    h(
      "form",
      { onsubmit: (/** @type {Event} */ event) => void submit(event) },
      h("label", { for: "new-token" }, text),
      token,
      fault,
      h("div", { class: "actions" }, h("button", { type: "submit", class: "button primary" }, "Renew"), close("Later")),
    ),
  );
  dialog().showModal();
}

/** @param {string} word */
function close(word) {
  return h("button", { type: "button", class: "button", onclick: () => dialog().close() }, word);
}
