"use strict";

// ------------------------------------------------------------------------------------------------------------ tables

const FOLDED_ROWS = 25;
const FEW_ROWS = 5; // too few to need a filter

const textOf = (cell) => cell.dataset.audio ?? cell.textContent.trim();

/** Compare two cells: numbers by value come before text; empty cells come last in either direction. */
function compare(a, b, sign) {
  const [emptyA, emptyB] = [a, b].map((cell) => !cell || textOf(cell) === "");
  if (emptyA || emptyB) return emptyA - emptyB;
  const [x, y] = [a, b].map((cell) => (cell.dataset.value === undefined ? NaN : Number(cell.dataset.value)));
  if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y) || sign * collator.compare(textOf(a), textOf(b));
  return sign * (x - y || 0);
}

function setUpTable(exhibit) {
  const table = exhibit.querySelector("table");
  const body = table.tBodies[0];
  const allRows = [...body.rows].filter((row) => !row.classList.contains("none"));
  const heads = [...table.tHead.rows[0].cells];
  const words = new Map(allRows.map((row) => [row, plain(row.textContent)]));
  let [order, filterWords, folded] = [allRows, [], true];

  const count = make("span", { role: "status" });
  const more = make("button", { type: "button", class: "more" }, () => {
    folded = !folded;
    show();
  });
  const matching = () => order.filter((row) => filterWords.every((word) => words.get(row).includes(word)));

  function show() {
    const matches = matching();
    const shown = new Set(folded ? matches.slice(0, FOLDED_ROWS) : matches);
    for (const row of allRows) row.hidden = !shown.has(row);
    const first = shown.size < matches.length ? `, the first ${shown.size} shown` : "";
    count.textContent = `${matches.length} of ${allRows.length} rows${first}`;
    more.hidden = matches.length <= FOLDED_ROWS;
    more.textContent = folded ? `Show all ${matches.length} rows` : `Show ${FOLDED_ROWS} rows`;
    exhibit.classList.toggle("open", !folded && !more.hidden);
  }

  function sortBy(head, column) {
    const next = { none: "ascending", ascending: "descending", descending: "none" }[head.getAttribute("aria-sort") ?? "none"];
    for (const other of heads) other.removeAttribute("aria-sort");
    if (next !== "none") head.setAttribute("aria-sort", next);
    const sign = next === "descending" ? -1 : 1;
    order = next === "none" ? allRows : [...allRows].sort((a, b) => compare(a.cells[column], b.cells[column], sign));
    body.append(...order);
    show();
  }

  for (const [column, head] of heads.entries()) {
    if (head.classList.contains("audio")) continue;
    head.replaceChildren(make("button", { type: "button" }, () => sortBy(head, column), head.textContent));
  }

  const controls = make("div", { class: "controls scripted" });
  if (allRows.length > FEW_ROWS) {
    const name = `Filter the rows of ${exhibit.querySelector("h3").textContent.trim()}`;
    const filter = make("input", { type: "search", placeholder: "Filter", "aria-label": name, autocomplete: "off" });
    filter.addEventListener("input", () => {
      filterWords = plain(filter.value).split(/\s+/).filter(Boolean);
      show();
    });
    controls.append(filter, count);
  }

  /** Return the CSV fields of a cell: its value, and the numbers in brackets. Without a cell, return their names. */
  const fields = (cell, head) => {
    const suffixes = head.dataset.more?.split(" ") ?? [];
    if (!cell) return [head.dataset.name, ...suffixes.map((suffix) => `${head.dataset.name}_${suffix}`)];
    const values = cell.dataset.more?.split(" ") ?? [];
    return [cell.dataset.value ?? textOf(cell), ...suffixes.map((_, number) => values[number])];
  };
  const save = () =>
    download(`${exhibit.id}.csv`, [null, ...matching()].map((row) => heads.flatMap((head, i) => fields(row?.cells[i], head))));
  controls.append(make("button", { type: "button", class: "quiet" }, save, "Save as CSV"));

  exhibit.querySelector(".scroll").before(controls);
  exhibit.append(more);
  show();
}

/** Let Tab reach the boxes that scroll sideways, and no others. */
function setUpScrolling() {
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

/** Plays parts of recordings. It loads a recording when it is first played, and pauses all other players. */
class Player {
  static #players = [];
  #armed = false;
  playing = false;
  error = false;

  /** `changed()` is called when playing starts, stops or fails. */
  constructor(changed) {
    this.audio = new Audio();
    this.audio.preload = "none";
    this.changed = changed;
    for (const event of ["playing", "pause", "error"]) this.audio.addEventListener(event, () => this.#turn(event));
    // some browsers ignore the stop of the URL's fragment inside a compressed frame
    this.audio.addEventListener("timeupdate", () => {
      if (!this.#armed || this.audio.currentTime < this.stop) return;
      this.#armed = false;
      this.audio.pause();
      this.audio.currentTime = this.stop; // a busy machine reports the time late, beyond the stop
    });
    Player.#players.push(this);
  }

  #turn(event) {
    this.playing = event === "playing";
    if (event !== "pause") this.error = event === "error"; // an error is followed by a pause
    this.changed();
  }

  /** Play from start to stop, in seconds; pause if this part is playing. */
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
    this.audio.play().catch(() => {}); // the event `error` reports failures; an early pause is not one
  }

  silence() {
    this.error = false;
    this.audio.pause();
    this.#turn("pause"); // the event comes later
  }
}

const cannotLoad = "cannot be loaded. It was moved after this page was made, or this browser cannot play it.";

function setUpAudioCells() {
  const links = document.querySelectorAll("td.audio a.play");
  let [player, pressed, status] = [null, null, null];

  const show = () => {
    for (const button of document.querySelectorAll("td button.play")) {
      const plays = button === pressed && player.playing;
      button.classList.toggle("playing", plays);
      button.setAttribute("aria-label", `${plays ? "Pause" : "Play"} ${button.dataset.what}`);
    }
    if (pressed) status.textContent = player.error ? `${pressed.dataset.what} ${cannotLoad}` : pressed.dataset.what;
  };

  function open() {
    player = new Player(show);
    player.audio.controls = true;
    status = make("p", { role: "status" });
    const close = make("button", { type: "button" }, () => {
      player.silence();
      bar.hidden = true;
    }, "Close");
    const bar = make("aside", { class: "player", "aria-label": "Player" }, null, status, player.audio, close);
    document.body.append(bar);
    player.bar = bar;
  }

  for (const link of links) {
    const [url, start, stop] = splitFragment(link.getAttribute("href"));
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

/** Split a URL with a media fragment into [URL, start, stop], in seconds. */
function splitFragment(url) {
  const [, path, start, stop] = /^(.*?)(?:#t=([\d.]*)(?:,([\d.]*))?)?$/s.exec(url);
  return [path, Number(start || 0), Number(stop || Infinity)];
}

// --------------------------------------------------------------------------------------------------- listening test

// without P and S, which play and skip
const KEYS = "1234567890ABCDEFGHIJKLMNOQRTUVWXYZ";
const HEADER = ["person", "track", "start_seconds", "stop_seconds", "genre", "guess", "model", "predicted", "certainty", "seconds_taken"];

/** Return a generator of random numbers from 0 to 1 (mulberry32). `#seed=N` in the page's address sets the seed. */
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

function setUpListeningTest() {
  const section = document.getElementById("listening-test");
  if (!section) return;
  const bytes = atob(document.getElementById("listening-data").textContent);
  const { genres, items } = JSON.parse(new TextDecoder().decode(Uint8Array.from(bytes, (c) => c.charCodeAt(0))));
  const [person, panel, progress, listen, skipButton, choices, feedback, next, score, save, restart] = [
    ".person", ".panel", ".progress", ".listen", ".skip-slice", ".choices", ".feedback", ".next", ".score", ".export", ".restart",
  ].map((name) => section.querySelector(name));
  const key = `genregrid-listening-${section.dataset.key}`;
  const stored = storage.get(key) ?? { person: "", answers: [] };
  person.value = stored.person;
  let answers = stored.answers;
  let [queue, skipped, item, startedAt, answered] = [[], [], null, null, false];

  // the audio element is not in the page, because its address contains the answer
  const player = new Player(() => {
    if (player.playing) startedAt ??= performance.now();
    listen.classList.toggle("playing", player.playing);
    listen.firstChild.data = player.playing ? "Pause " : "Play ";
    if (player.error && !answered) feedback.textContent = `This recording ${cannotLoad} Skip it.`;
  });

  const buttons = genres.map((genre, number) => {
    const hint = KEYS[number] ? [make("kbd", {}, null, KEYS[number])] : [];
    return make("button", { type: "button" }, () => answer(genre), make("span", {}, null, genre), ...hint);
  });
  choices.append(...buttons);

  const store = () => storage.set(key, { person: person.value, answers });
  const percent = (right) => `${right} (${Math.round((100 * right) / answers.length)} %)`;

  function showScore() {
    const models = [...new Set(items.map((slice) => slice.model))];
    const rights = (field) => answers.filter((one) => (one[field] ?? items[one.item][field]) === items[one.item].genre);
    const rival = models.length === 1 ? models[0] : "the models";
    const [mine, theirs] = [rights("guess"), rights("predicted")].map((list) => percent(list.length));
    score.textContent = answers.length
      ? `Right answers to ${answers.length} answered ${answers.length === 1 ? "slice" : "slices"}: you ${mine}; ${rival}: ${theirs}.`
      : "No slice answered yet.";
    save.disabled = answers.length === 0;
  }

  function start() {
    const done = new Set(answers.map((one) => one.item));
    queue = shuffled([...items.keys()].filter((number) => !done.has(number)));
    skipped = [];
    ask(false);
    showScore();
  }

  /** Show the next slice, or the end of the test. */
  function ask(focus = true) {
    player.silence();
    item = queue.shift() ?? null;
    [startedAt, answered] = [null, false];
    next.hidden = true;
    feedback.replaceChildren();
    for (const button of buttons) button.className = "";
    for (const button of buttons) button.removeAttribute("aria-disabled");
    for (const element of [listen, skipButton, choices]) element.hidden = item === null;
    progress.textContent = `Slice ${answers.length + skipped.length + 1} of ${items.length}`;
    if (item === null) {
      progress.textContent = `${answers.length} of ${items.length} slices answered.`;
      feedback.textContent = skipped.length ? "You skipped the others." : "That was the last slice. Thank you.";
      next.firstChild.data = "Listen to the skipped slices ";
      next.hidden = skipped.length === 0;
    }
    if (focus) panel.focus({ preventScroll: true });
  }

  function answer(guess) {
    if (item === null || answered) return;
    if (startedAt === null) {
      feedback.textContent = "Play it first.";
      return;
    }
    answered = true;
    const { genre, model, predicted, certainty } = items[item];
    const seconds = (performance.now() - startedAt) / 1000;
    answers.push({ item, guess, seconds: Math.round(100 * seconds) / 100 });
    store();
    for (const [number, button] of buttons.entries()) {
      button.setAttribute("aria-disabled", "true");
      if (genres[number] === genre) button.className = "truth";
      else if (genres[number] === guess) button.className = "missed";
    }
    const bold = (text) => make("strong", {}, null, text);
    const sure = certainty === null ? "" : `, with a certainty of ${certainty.toFixed(2)} decades`;
    feedback.replaceChildren(
      "It is ", bold(genre), guess === genre ? ". Your answer is right. " : `, not ${guess}. `,
      `${model} predicts `, bold(predicted), `${sure}.`,
    );
    skipButton.hidden = true;
    next.firstChild.data = "Next ";
    next.hidden = false;
    showScore();
    next.focus({ preventScroll: true });
  }

  const play = () => item !== null && player.toggle(items[item].audio, items[item].start_seconds, items[item].stop_seconds);
  const skip = () => {
    if (item === null || answered) return;
    skipped.push(item);
    ask();
  };
  const showNext = () => {
    if (item === null) [queue, skipped] = [skipped, []];
    ask();
  };
  listen.addEventListener("click", play);
  skipButton.addEventListener("click", skip);
  next.addEventListener("click", showNext);
  person.addEventListener("input", store);
  restart.addEventListener("click", () => {
    if (answers.length && !confirm(`Delete ${answers.length} answers?`)) return;
    answers = [];
    store();
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
  // only on the panel: elsewhere the space bar scrolls and digits are typed
  panel.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const pressed = event.key.toUpperCase();
    const onButton = event.target.tagName === "BUTTON"; // space and enter press it already
    if (pressed === "P" || (pressed === " " && !onButton)) play();
    else if (pressed === "S") skip();
    else if (pressed === "ENTER" && !onButton && !next.hidden) showNext();
    else if (pressed.length === 1 && KEYS.indexOf(pressed) in genres) answer(genres[KEYS.indexOf(pressed)]);
    else return;
    event.preventDefault();
  });
  start();
}

addEventListener("DOMContentLoaded", () => {
  setUpTheme();
  setUpAudioCells(); // before the tables, so that a filter does not find the text of the links
  for (const table of document.querySelectorAll(".exhibit table")) setUpTable(table.closest(".exhibit"));
  setUpScrolling();
  setUpListeningTest();
});
