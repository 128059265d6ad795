// Not a module: it runs before the first paint, so that a dark page never flashes white.
"use strict";
(() => {
  const choice = localStorage.getItem("valtronics.theme");
  if (choice === "light" || choice === "dark") document.documentElement.dataset["theme"] = choice;
})();
