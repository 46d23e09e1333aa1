"use strict";

const root = document.documentElement;
root.classList.add("js");

/** What outlives a reload. A page that was opened from a file may have no storage: then nothing does. */
const memory = {
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
      // as above
    }
  },
};

// here and not below: the page is not drawn yet, so it does not flash in the other colours
const remembered = memory.get("genregrid-theme");
if (remembered) root.dataset.theme = remembered;

/** An element with its attributes, what it does on a click, and its children. */
function make(tag, attributes, click, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (click) element.addEventListener("click", click);
  element.append(...children);
  return element;
}

/** Hand a CSV (RFC 4180) to the person. */
function download(name, rows) {
  const quoted = (value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  const lines = rows.map((row) => row.map((value) => quoted(String(value ?? ""))).join(",") + "\r\n");
  const url = URL.createObjectURL(new Blob(lines, { type: "text/csv" }));
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

// ---------------------------------------------------------------------------------------------------- light and dark

function offerDark() {
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  const show = () => button.setAttribute("aria-pressed", isDark());
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    memory.set("genregrid-theme", root.dataset.theme);
    show();
  });
  system.addEventListener("change", show);
  show();
}

// ------------------------------------------------------------------------------------------------------------ tables

const FOLDED_ROWS = 25;
const FEW_ROWS = 5; // nobody filters these
const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

/** Text as a filter compares it: without case, accents, and the minus sign that no keyboard has. */
const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").replaceAll("\u2212", "-").toLowerCase();

const textOf = (cell) => cell.dataset.audio ?? cell.textContent.trim();

/** Order of two cells: numbers by value before words; what is empty comes last in either direction. */
function compare(a, b, sign) {
  const [emptyA, emptyB] = [a, b].map((cell) => !cell || textOf(cell) === "");
  if (emptyA || emptyB) return emptyA - emptyB;
  const [x, y] = [a, b].map((cell) => (cell.dataset.value === undefined ? NaN : Number(cell.dataset.value)));
  if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y) || sign * collator.compare(textOf(a), textOf(b));
  return sign * (x - y || 0);
}

function wakeTable(exhibit) {
  const table = exhibit.querySelector("table");
  const body = table.tBodies[0];
  const given = [...body.rows].filter((row) => !row.classList.contains("none"));
  const heads = [...table.tHead.rows[0].cells];
  const words = new Map(given.map((row) => [row, plain(row.textContent)]));
  let [order, wanted, folded] = [given, [], true];

  const count = make("span", { role: "status" });
  const more = make("button", { type: "button", class: "more" }, () => {
    folded = !folded;
    show();
  });
  const matching = () => order.filter((row) => wanted.every((word) => words.get(row).includes(word)));

  function show() {
    const matches = matching();
    const shown = new Set(folded ? matches.slice(0, FOLDED_ROWS) : matches);
    for (const row of given) row.hidden = !shown.has(row);
    const first = shown.size < matches.length ? `, the first ${shown.size} shown` : "";
    count.textContent = `${matches.length} of ${given.length} rows${first}`;
    more.hidden = matches.length <= FOLDED_ROWS;
    more.textContent = folded ? `Show all ${matches.length} rows` : `Show ${FOLDED_ROWS} rows`;
    exhibit.classList.toggle("open", !folded && !more.hidden);
  }

  function sortBy(head, column) {
    const next = { none: "ascending", ascending: "descending", descending: "none" }[head.getAttribute("aria-sort") ?? "none"];
    for (const other of heads) other.removeAttribute("aria-sort");
    if (next !== "none") head.setAttribute("aria-sort", next);
    const sign = next === "descending" ? -1 : 1;
    order = next === "none" ? given : [...given].sort((a, b) => compare(a.cells[column], b.cells[column], sign));
    body.append(...order);
    show();
  }

  for (const [column, head] of heads.entries()) {
    if (head.classList.contains("audio")) continue;
    head.replaceChildren(make("button", { type: "button" }, () => sortBy(head, column), head.textContent));
  }

  const controls = make("div", { class: "controls scripted" });
  if (given.length > FEW_ROWS) {
    const name = `Filter the rows of ${exhibit.querySelector("h3").textContent.trim()}`;
    const filter = make("input", { type: "search", placeholder: "Filter", "aria-label": name, autocomplete: "off" });
    filter.addEventListener("input", () => {
      wanted = plain(filter.value).split(/\s+/).filter(Boolean);
      show();
    });
    controls.append(filter, count);
  }

  /** A field of the CSV for each number, with those that stand in brackets behind it. */
  const fields = (cell, head) => {
    const behind = head.dataset.more?.split(" ") ?? [];
    if (!cell) return [head.dataset.name, ...behind.map((suffix) => `${head.dataset.name}_${suffix}`)];
    const values = cell.dataset.more?.split(" ") ?? [];
    return [cell.dataset.value ?? textOf(cell), ...behind.map((_, number) => values[number])];
  };
  const save = () =>
    download(`${exhibit.id}.csv`, [null, ...matching()].map((row) => heads.flatMap((head, i) => fields(row?.cells[i], head))));
  controls.append(make("button", { type: "button", class: "quiet" }, save, "Save as CSV"));

  exhibit.querySelector(".scroll").before(controls);
  exhibit.append(more);
  show();
}

/** What scrolls sideways must be within reach of the keyboard, and what does not need not be a stop. */
function reachScrolling() {
  const fit = () => {
    for (const box of document.querySelectorAll(".scroll")) {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  };
  addEventListener("resize", fit);
  fit();
}

// ------------------------------------------------------------------------------------------------------------- sound

/** Plays stretches of recordings; loads nothing before it is asked to, and while it plays, others are silent. */
class Player {
  static #players = [];
  #armed = false;
  playing = false;
  error = false;

  /** `changed()` is called whenever it starts, stops or fails. */
  constructor(changed) {
    this.audio = new Audio();
    this.audio.preload = "none";
    this.changed = changed;
    for (const event of ["playing", "pause", "error"]) this.audio.addEventListener(event, () => this.#turn(event));
    // the fragment alone would do in most browsers, but some play on where the stop lies in a compressed frame
    this.audio.addEventListener("timeupdate", () => {
      if (!this.#armed || this.audio.currentTime < this.stop) return;
      this.#armed = false;
      this.audio.pause();
      this.audio.currentTime = this.stop; // a busy machine tells the time late, and would stand beyond the stretch
    });
    Player.#players.push(this);
  }

  #turn(event) {
    this.playing = event === "playing";
    if (event !== "pause") this.error = event === "error"; // a failure is followed by a pause
    this.changed();
  }

  /** Play from start to stop, in seconds; pause if that is what plays now. */
  toggle(url, start, stop) {
    const same = this.url === url && this.start === start && this.stop === stop && !this.error;
    if (same && this.playing) return this.audio.pause();
    for (const other of Player.#players) if (other !== this) other.silence();
    if (!same) {
      Object.assign(this, { url, start, stop, error: false });
      this.audio.src = start > 0 || stop < Infinity ? `${url}#t=${start},${stop < Infinity ? stop : ""}` : url;
    } else if (this.audio.ended || this.audio.currentTime >= stop - 0.05) {
      this.audio.currentTime = start;
    }
    this.#armed = true;
    this.audio.play().catch(() => {}); // the event `error` tells, and a pause that came first is none
  }

  silence() {
    this.error = false;
    this.audio.pause();
    this.#turn("pause"); // now, the event comes later
  }
}

const isMissing = "cannot be loaded: it is not where it was when this page was made, or this browser cannot play it.";

function wakeAudioCells() {
  const links = document.querySelectorAll("td.audio a.play");
  let [player, pressed, said] = [null, null, null];

  const show = () => {
    for (const button of document.querySelectorAll("td button.play")) {
      const plays = button === pressed && player.playing;
      button.classList.toggle("playing", plays);
      button.setAttribute("aria-label", `${plays ? "Pause" : "Play"} ${button.dataset.what}`);
    }
    if (pressed) said.textContent = player.error ? `${pressed.dataset.what} ${isMissing}` : pressed.dataset.what;
  };

  function open() {
    player = new Player(show);
    player.audio.controls = true;
    said = make("p", { role: "status" });
    const close = make("button", { type: "button" }, () => {
      player.silence();
      bar.hidden = true;
    }, "Close");
    const bar = make("aside", { class: "player", "aria-label": "Player" }, null, said, player.audio, close);
    document.body.append(bar);
    player.bar = bar;
  }

  for (const link of links) {
    const [url, start, stop] = stretch(link.getAttribute("href"));
    const cell = link.parentElement;
    cell.dataset.audio = link.getAttribute("href");
    const seconds = stop < Infinity ? `, ${start} to ${stop} s` : "";
    const what = (cell.parentElement.cells[0].textContent.trim() || "the recording") + seconds;
    const press = (event) => {
      if (!player) open();
      player.bar.hidden = false;
      pressed = event.currentTarget;
      player.toggle(url, start, stop);
      show();
    };
    const button = make("button", { type: "button", class: "play", "aria-label": `Play ${what}` }, press);
    button.dataset.what = what;
    link.replaceWith(button);
  }
}

/** A URL's media fragment, as [URL, start, stop] in seconds. */
function stretch(url) {
  const [, path, start, stop] = /^(.*?)(?:#t=([\d.]*)(?:,([\d.]*))?)?$/s.exec(url);
  return [path, Number(start || 0), Number(stop || Infinity)];
}

// --------------------------------------------------------------------------------------------------- listening test

// P and S are taken: they play and skip
const KEYS = "1234567890ABCDEFGHIJKLMNOQRTUVWXYZ";
const HEADER = ["person", "track", "start_seconds", "stop_seconds", "genre", "guess", "model", "predicted", "certainty", "seconds_taken"];

/** Numbers from 0 to 1: those of `#seed=N` in the page's address, or fresh ones (mulberry32). */
function randomNumbers() {
  const seed = /\bseed=(\d+)/.exec(location.hash);
  let state = seed ? Number(seed[1]) : crypto.getRandomValues(new Uint32Array(1))[0];
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function shuffled(list) {
  const random = randomNumbers();
  const copy = [...list];
  for (let i = copy.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [copy[i], copy[j]] = [copy[j], copy[i]];
  }
  return copy;
}

function wakeListeningTest() {
  const section = document.getElementById("listening-test");
  if (!section) return;
  const bytes = atob(document.getElementById("listening-data").textContent);
  const { genres, items } = JSON.parse(new TextDecoder().decode(Uint8Array.from(bytes, (c) => c.charCodeAt(0))));
  const [person, panel, place, hear, pass, choices, verdict, next, score, save, again] = [
    ".person", ".panel", ".place", ".hear", ".pass", ".choices", ".verdict", ".next", ".score", ".export", ".again",
  ].map((name) => section.querySelector(name));
  const key = `genregrid-listening-${section.dataset.key}`;
  const kept = memory.get(key) ?? { person: "", answers: [] };
  person.value = kept.person;
  let answers = kept.answers;
  let [queue, skipped, item, startedAt, answered] = [[], [], null, null, false];

  // the element stays out of the page: its address would tell the answer
  const player = new Player(() => {
    if (player.playing) startedAt ??= performance.now();
    hear.classList.toggle("playing", player.playing);
    hear.firstChild.data = player.playing ? "Pause " : "Play ";
    if (player.error && !answered) verdict.textContent = `This recording ${isMissing} Skip it.`;
  });

  const buttons = genres.map((genre, number) => {
    const hint = KEYS[number] ? [make("kbd", {}, null, KEYS[number])] : [];
    return make("button", { type: "button" }, () => answer(genre), make("span", {}, null, genre), ...hint);
  });
  choices.append(...buttons);

  const keep = () => memory.set(key, { person: person.value, answers });
  const percent = (right) => `${right} (${Math.round((100 * right) / answers.length)} %)`;

  function tell() {
    const models = [...new Set(items.map((slice) => slice.model))];
    const rights = (field) => answers.filter((one) => (one[field] ?? items[one.item][field]) === items[one.item].genre);
    const whose = models.length === 1 ? models[0] : "the models";
    const [mine, theirs] = [rights("guess"), rights("predicted")].map((list) => percent(list.length));
    score.textContent = answers.length
      ? `Right on ${answers.length} answered ${answers.length === 1 ? "slice" : "slices"}: you ${mine}; ${whose}: ${theirs}.`
      : "Nothing answered yet.";
    save.disabled = answers.length === 0;
  }

  function start() {
    const done = new Set(answers.map((one) => one.item));
    queue = shuffled([...items.keys()].filter((number) => !done.has(number)));
    skipped = [];
    ask(false);
    tell();
  }

  /** Show the next slice, or that there is none. */
  function ask(focus = true) {
    player.silence();
    item = queue.shift() ?? null;
    [startedAt, answered] = [null, false];
    next.hidden = true;
    verdict.replaceChildren();
    for (const button of buttons) button.className = "";
    for (const button of buttons) button.removeAttribute("aria-disabled");
    for (const element of [hear, pass, choices]) element.hidden = item === null;
    place.textContent = `Slice ${answers.length + skipped.length + 1} of ${items.length}`;
    if (item === null) {
      place.textContent = `${answers.length} of ${items.length} slices answered.`;
      verdict.textContent = skipped.length ? "You skipped the rest." : "That was the last slice. Thank you.";
      next.firstChild.data = "Hear the skipped ";
      next.hidden = skipped.length === 0;
    }
    if (focus) panel.focus({ preventScroll: true });
  }

  function answer(guess) {
    if (item === null || answered) return;
    if (startedAt === null) {
      verdict.textContent = "Play it first.";
      return;
    }
    answered = true;
    const { genre, model, predicted, certainty } = items[item];
    const seconds = (performance.now() - startedAt) / 1000;
    answers.push({ item, guess, seconds: Math.round(100 * seconds) / 100 });
    keep();
    for (const [number, button] of buttons.entries()) {
      button.setAttribute("aria-disabled", "true");
      if (genres[number] === genre) button.className = "truth";
      else if (genres[number] === guess) button.className = "missed";
    }
    const bold = (text) => make("strong", {}, null, text);
    const sure = certainty === null ? "" : `, with a certainty of ${certainty.toFixed(2)} decades`;
    verdict.replaceChildren(
      "It is ", bold(genre), guess === genre ? ", as you say. " : `, not ${guess}. `,
      `${model} says `, bold(predicted), `${sure}.`,
    );
    pass.hidden = true;
    next.firstChild.data = "Next ";
    next.hidden = false;
    tell();
    next.focus({ preventScroll: true });
  }

  const play = () => item !== null && player.toggle(items[item].audio, items[item].start_seconds, items[item].stop_seconds);
  const skip = () => {
    if (item === null || answered) return;
    skipped.push(item);
    ask();
  };
  const goOn = () => {
    if (item === null) [queue, skipped] = [skipped, []];
    ask();
  };
  hear.addEventListener("click", play);
  pass.addEventListener("click", skip);
  next.addEventListener("click", goOn);
  person.addEventListener("input", keep);
  again.addEventListener("click", () => {
    if (answers.length && !confirm(`Forget ${answers.length} answers?`)) return;
    answers = [];
    keep();
    start();
    panel.focus();
  });
  save.addEventListener("click", () => {
    const name = person.value.trim() || "listener";
    const rows = answers.map(({ item: number, guess, seconds }) => {
      const { track, start_seconds, stop_seconds, genre, model, predicted, certainty } = items[number];
      return [name, track, start_seconds, stop_seconds, genre, guess, model, predicted, certainty, seconds];
    });
    download("answers.csv", [HEADER, ...rows]);
  });
  // on the panel, not on the page: elsewhere the space bar scrolls and digits are typed
  panel.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const pressed = event.key.toUpperCase();
    const onButton = event.target.tagName === "BUTTON"; // which space and enter press anyway
    if (pressed === "P" || (pressed === " " && !onButton)) play();
    else if (pressed === "S") skip();
    else if (pressed === "ENTER" && !onButton && !next.hidden) goOn();
    else if (pressed.length === 1 && KEYS.indexOf(pressed) in genres) answer(genres[KEYS.indexOf(pressed)]);
    else return;
    event.preventDefault();
  });
  start();
}

addEventListener("DOMContentLoaded", () => {
  offerDark();
  wakeAudioCells(); // first, so that no filter finds the word on a link
  for (const table of document.querySelectorAll(".exhibit table")) wakeTable(table.closest(".exhibit"));
  reachScrolling();
  wakeListeningTest();
});
