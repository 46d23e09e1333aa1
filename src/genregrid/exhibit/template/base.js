"use strict";

const root = document.documentElement;
root.classList.add("js");

/** Values that survive a reload. Some browsers give a page from a file no storage; then nothing is stored. */
const storage = {
  get(key) {
    try {
      return JSON.parse(localStorage.getItem(key));
    } catch {
      return null;
    }
  },
  set(key, value) {
    try {
      localStorage.setItem(key, JSON.stringify(value));
    } catch {
      // no storage
    }
  },
};

// set before the page is drawn, so that it does not flash in the other colours
const savedTheme = storage.get("genregrid-theme");
if (savedTheme) root.dataset.theme = savedTheme;

/** Make an element with attributes, a click handler or null, and children. */
function make(tag, attributes, click, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (click) element.addEventListener("click", click);
  element.append(...children);
  return element;
}

/** Put an apostrophe in front of a text that a spreadsheet would run as a formula, as genregrid.exhibit.spreadsheet does. */
const guarded = (text) =>
  /^'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/.test(text) && !/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\**$/i.test(text) ? `'${text}` : text;

/** Download rows as a CSV (RFC 4180). */
function download(name, rows) {
  const quoted = (value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  const lines = rows.map((row) => row.map((value) => quoted(guarded(String(value ?? "")))).join(",") + "\r\n");
  const url = URL.createObjectURL(new Blob(lines, { type: "text/csv" }));
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

// ---------------------------------------------------------------------------------------------------- light and dark

function setUpTheme() {
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  const show = () => button.setAttribute("aria-pressed", isDark());
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    storage.set("genregrid-theme", root.dataset.theme);
    show();
  });
  system.addEventListener("change", show);
  show();
}

const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

/** Normalise text for the filter: no case, no accents, and the keyboard's minus sign. */
const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").replaceAll("\u2212", "-").toLowerCase();
