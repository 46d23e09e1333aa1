"use strict";

const SVG = "http://www.w3.org/2000/svg";
const [WAVE_HEIGHT, AREA_HEIGHT, AXIS_HEIGHT, LEFT, GAP] = [56, 190, 20, 40, 8]; // CSS pixels
const LETTER = 7.2; // assumed width of a letter of the names on areas
const MOST_AREAS = 11; // the rest is drawn as one
const MOST_TOP = 5;
const MOST_NAMED = 4; // genres of a set that a sentence names
const OTHERS = { name: "other genres", colour: "#77746c", ink: "#ffffff" };

/** Data of the page, filled in when it is loaded. */
const page = { genres: [], recordings: [], served: false };

/** Format seconds as a clock. */
function clock(seconds) {
  const whole = Math.floor(seconds);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (value) => String(value).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

const percent = (share) => (share >= 0.0995 ? `${Math.round(100 * share)} %` : `${(100 * share).toFixed(1)} %`);
const colourOf = (name) => page.genres.find((genre) => genre.name === name) ?? OTHERS;

/** Make an element of a drawing. */
function draw(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function showStatus(text, isFault = false) {
  const status = document.getElementById("status");
  status.textContent = text;
  status.classList.toggle("fault", isFault);
}

// ---------------------------------------------------------------------------------------------------------- timeline

/** Return the areas from top to bottom, the most probable genre first; `probs` has one value per step. */
function areasOf(timeline) {
  const steps = timeline.probs.length;
  const mean = page.genres.map((_, g) => timeline.probs.reduce((sum, row) => sum + row[g], 0) / steps);
  const order = page.genres.map((_, g) => g).sort((a, b) => mean[b] - mean[a] || a - b);
  const shown = order.length > MOST_AREAS + 1 ? order.slice(0, MOST_AREAS) : order;
  const areas = shown.map((g) => ({ ...page.genres[g], probs: timeline.probs.map((row) => row[g]) }));
  const rest = order.slice(shown.length);
  if (rest.length) {
    areas.push({ ...OTHERS, probs: timeline.probs.map((row) => rest.reduce((sum, g) => sum + row[g], 0)) });
  }
  return areas;
}

/** Draw the waveform and the stacked areas for a width; return the drawing and the function that moves the position. */
function drawing(answer, areas, width) {
  const { edges } = answer.timeline;
  const total = Math.max(answer.seconds, edges.at(-1));
  const x = (seconds) => LEFT + ((width - LEFT) * seconds) / total;
  const waveHeight = answer.wave.length ? WAVE_HEIGHT : 0;
  const top = waveHeight ? waveHeight + GAP : 0;
  const height = top + AREA_HEIGHT + AXIS_HEIGHT;
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, height, "aria-hidden": "true" });
  if (waveHeight) {
    const step = (x(answer.seconds) - LEFT) / answer.wave.length;
    const middle = waveHeight / 2;
    const bars = answer.wave.map((peak, i) => {
      const half = Math.max(0.5, peak * middle);
      return `M${(LEFT + i * step).toFixed(1)} ${(middle - half).toFixed(1)}h${Math.max(0.6, step * 0.75).toFixed(2)}v${(2 * half).toFixed(1)}h${-Math.max(0.6, step * 0.75).toFixed(2)}z`;
    });
    svg.append(draw("path", { class: "wave", d: bars.join("") }));
  }
  const labels = [];
  let above = edges.slice(1).map(() => 0);
  for (const area of areas) {
    const below = above.map((level, i) => level + area.probs[i]);
    const y = (level) => (top + AREA_HEIGHT * Math.min(1, level)).toFixed(1);
    const there = above.map((level, i) => `${i ? "L" : "M"}${x(edges[i]).toFixed(1)} ${y(level)}H${x(edges[i + 1]).toFixed(1)}`);
    const back = below.map((level, i) => `L${x(edges[i + 1]).toFixed(1)} ${y(level)}H${x(edges[i]).toFixed(1)}`).reverse();
    svg.append(draw("path", { class: "area", d: `${there.join("")}${back.join("")}z`, fill: area.colour }));
    labels.push(label(area, above, below, edges, x, top));
    above = below;
  }
  svg.append(...labels.filter(Boolean));
  for (const share of [0, 0.5, 1]) {
    const y = top + AREA_HEIGHT * (1 - share) + (share === 1 ? 9 : share === 0 ? 0 : 4);
    svg.append(draw("text", { class: "axis", x: LEFT - 4, y, "text-anchor": "end" }, `${100 * share}%`));
  }
  const most = Math.max(2, Math.floor((width - LEFT) / 90));
  const tick = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800].find((step) => total / step <= most) ?? 3600;
  for (let at = 0; at <= total; at += tick) {
    const anchor = at === 0 ? "start" : x(at) > width - 16 ? "end" : "middle";
    svg.append(draw("text", { class: "axis", x: x(at), y: height - 5, "text-anchor": anchor }, clock(at)));
  }
  const line = (css) => draw("line", { class: css, y1: 0, y2: top + AREA_HEIGHT });
  const head = [line("halo"), line("head")];
  svg.append(...head);
  const move = (seconds) => {
    for (const one of head) {
      one.setAttribute("x1", x(Math.min(seconds, total)));
      one.setAttribute("x2", x(Math.min(seconds, total)));
    }
  };
  const seconds = (at) => Math.min(total, Math.max(0, (total * (at - LEFT)) / (width - LEFT)));
  return { svg, move, seconds };
}

/** Make the name of an area where it is highest, if it fits there. */
function label(area, above, below, edges, x, top) {
  const text = area.name.length > 24 ? `${area.name.slice(0, 23)}\u2026` : area.name;
  const wide = LETTER * text.length + 6;
  let best = null;
  for (let i = 0; i < above.length; i++) {
    let [low, high, j] = [above[i], below[i], i];
    while (j + 1 < above.length && x(edges[j + 1]) - x(edges[i]) < wide) {
      j++;
      low = Math.max(low, above[j]);
      high = Math.min(high, below[j]);
    }
    if (x(edges[j + 1]) - x(edges[i]) < wide) break;
    if (!best || high - low > best.room + 1e-9) best = { room: high - low, at: (x(edges[i]) + x(edges[j + 1])) / 2, level: (low + high) / 2 };
  }
  if (!best || best.room * AREA_HEIGHT < 15) return null;
  return draw("text", { x: best.at, y: top + AREA_HEIGHT * best.level + 4, "text-anchor": "middle", fill: area.ink }, text);
}

/** Set up the picture of a recording in step with its player. */
function timelineOf(answer, audio) {
  const areas = areasOf(answer.timeline);
  const { edges } = answer.timeline;
  const total = Math.max(answer.seconds, edges.at(-1));
  const chart = make("div", { class: "chart", role: "slider", tabindex: "0", "aria-label": "Position in the recording", "aria-valuemin": "0", "aria-valuemax": String(Math.round(total)) }, null);
  const now = areas.map(() => make("span", { class: "now" }, null));
  const legend = make("ol", { class: "legend", "aria-label": "Genres from top to bottom, with their probability at the position" }, null);
  for (const [i, area] of areas.entries()) {
    const swatch = make("span", { class: "swatch", "aria-hidden": "true" }, null);
    swatch.style.background = area.colour;
    legend.append(make("li", {}, null, swatch, area.name, now[i]));
  }
  let drawn = null;
  const show = () => {
    const seconds = audio.currentTime || 0;
    const next = edges.findIndex((edge) => edge > seconds);
    const step = next < 0 ? answer.timeline.probs.length - 1 : Math.max(0, next - 1);
    drawn?.move(seconds);
    for (const [i, area] of areas.entries()) now[i].textContent = percent(area.probs[step]);
    const best = areas.reduce((a, b) => (b.probs[step] > a.probs[step] ? b : a));
    chart.setAttribute("aria-valuenow", String(Math.round(seconds)));
    chart.setAttribute("aria-valuetext", `${clock(seconds)}, ${best.name} ${percent(best.probs[step])}`);
  };
  const resize = () => {
    const width = Math.floor(chart.clientWidth);
    if (width < 60 || drawn?.width === width) return;
    drawn = { ...drawing(answer, areas, width), width };
    chart.replaceChildren(drawn.svg);
    show();
  };
  new ResizeObserver(resize).observe(chart);
  const seek = (seconds) => {
    audio.currentTime = Math.min(Math.max(0, seconds), audio.duration || total);
    show();
  };
  const atPointer = (event) => seek(drawn.seconds(event.clientX - chart.getBoundingClientRect().left));
  chart.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    chart.setPointerCapture(event.pointerId);
    atPointer(event);
  });
  chart.addEventListener("pointermove", (event) => {
    if (chart.hasPointerCapture(event.pointerId)) atPointer(event);
  });
  chart.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -5, ArrowRight: 5, ArrowDown: -5, ArrowUp: 5, PageDown: -30, PageUp: 30 }[event.key];
    const to = { Home: 0, End: total }[event.key];
    if (by !== undefined) seek(audio.currentTime + by);
    else if (to !== undefined) seek(to);
    else if (event.key === " ") audio.paused ? audio.play().catch(() => {}) : audio.pause();
    else return;
    event.preventDefault();
  });
  const follow = () => {
    show();
    if (!audio.paused && chart.isConnected) requestAnimationFrame(follow);
  };
  audio.addEventListener("play", follow);
  for (const name of ["timeupdate", "seeked", "loadedmetadata"]) audio.addEventListener(name, show);
  return [chart, legend];
}

// ------------------------------------------------------------------------------------------------------- one recording

let audio = null;

/** Make a row with a bar: name, more about it, bar, value. */
function barRow(name, about, share, colour, value) {
  const bar = make("div", { class: "bar" }, null);
  bar.style.width = `${Math.max(0, 100 * share)}%`;
  bar.style.background = colour;
  const head = make("th", { scope: "row" }, null, name);
  if (about) head.append(make("span", { class: "about" }, null, about));
  return make("tr", {}, null, head, make("td", { "aria-hidden": "true" }, null, bar), make("td", { class: "value" }, null, value));
}

function topGenres(answer) {
  const body = make("tbody", {}, null);
  const order = page.genres.map((_, g) => g).sort((a, b) => answer.probs[b] - answer.probs[a] || a - b);
  for (const g of order.slice(0, MOST_TOP)) {
    const { name, colour } = page.genres[g];
    const isPossible = answer.level !== null && answer.possible.includes(name);
    const row = barRow(name, "", answer.probs[g], colour, percent(answer.probs[g]));
    row.classList.toggle("possible", isPossible);
    body.append(row);
  }
  const box = make("div", {}, null, make("h3", { id: "top-title" }, null, "Most probable genres"));
  box.append(make("table", { class: "bars most", "aria-labelledby": "top-title" }, null, body));
  return box;
}

function contributionTables(answer) {
  const { contributions, first, second } = answer;
  const largest = Math.max(...[...contributions.first, ...contributions.second].map((one) => one.decades), 1e-9);
  const pair = make("div", { class: "pair" }, null);
  for (const [rows, genre, other] of [[contributions.first, first, second], [contributions.second, second, first]]) {
    const id = `for-${genre === first ? "first" : "second"}`;
    const box = make("div", {}, null, make("h3", { id }, null, `For ${genre}, against ${other}`));
    const body = make("tbody", {}, null);
    for (const one of rows) body.append(barRow(one.name, one.about, one.decades / largest, colourOf(genre).colour, `\u00d7 ${factor(one.decades)}`));
    if (rows.length) box.append(make("table", { class: "bars", "aria-labelledby": id }, null, body));
    else box.append(make("p", { class: "note" }, null, "No descriptor by itself."));
    pair.append(box);
  }
  const note =
    "Each descriptor was replaced by its mean in the training music, once beside the recording's other descriptors and once beside their means. The number is the factor by which the recording's own value raises the odds of the genre, on average.";
  return [pair, make("p", { class: "note" }, null, note)];
}

const factor = (decades) => (decades >= 3 ? "over 1000" : (10 ** decades).toFixed(decades >= 1 ? 0 : 2));

/** Show the answer for a recording, and load it into the player. */
function showAnswer(recording, plays = false) {
  const box = document.getElementById("answer");
  const { answer } = recording;
  const wasPlaying = page.shown === recording && audio && !audio.paused;
  if (page.shown === recording && audio) {
    if (plays) wasPlaying ? audio.pause() : audio.play().catch(() => {});
    return;
  }
  audio?.pause();
  page.shown = recording;
  audio = make("audio", { controls: "", preload: "metadata", "aria-label": `Player of ${answer.name}` }, null);
  const silent = make("p", { class: "note", hidden: "" }, null, "This browser cannot play the recording.");
  audio.addEventListener("error", () => (silent.hidden = false));
  for (const name of ["play", "pause"]) audio.addEventListener(name, showTable);
  if (recording.audio) audio.src = recording.audio;
  const own = recording;
  box.replaceChildren(make("p", { class: "file" }, null, `${answer.name}, ${clock(answer.seconds)}`));
  box.append(make("h2", { id: "verdict" }, null, answer.verdict));
  box.append(make("p", { class: "certainty" }, null, `${answer.certainty[0].toUpperCase()}${answer.certainty.slice(1)}.`));
  if (answer.level !== null) {
    const { possible, level } = answer;
    const names = possible.length > MOST_NAMED ? `${possible.length} genres` : possible.join(", ");
    const text = `Set of possible genres: ${names}. On music like that of the training, such sets include the right genre in ${level} % of cases.`;
    box.append(make("p", { class: "note" }, null, text));
  }
  if (answer.sections.length) {
    const parts = answer.sections.map(([start, stop, genre]) => `${clock(start)} to ${clock(stop)} ${genre}`);
    box.append(make("p", {}, null, `Its style changes: ${parts.join(", ")}.`));
  }
  const notes = [...answer.marks.map((mark) => `The model's training is marked ${mark}.`), ...answer.notes];
  if (notes.length) box.append(make("ul", { class: "notes" }, null, ...notes.map((note) => make("li", {}, null, note))));
  box.append(audio, silent, ...timelineOf(answer, audio));
  const panels = make("div", { class: "pair" }, null, topGenres(answer));
  if (answer.near.length) {
    const near = make("div", {}, null, make("h3", {}, null, "Nearest training tracks by descriptors"));
    near.append(make("ol", { class: "near" }, null, ...answer.near.map((name) => make("li", {}, null, name))));
    panels.append(near);
  }
  box.append(panels);
  if (answer.contributions) box.append(...contributionTables(answer));
  box.hidden = false;
  document.getElementById("announced").textContent = `${answer.name}: ${answer.verdict}`;
  showTable();
  if (plays) own.audio && audio.play().catch(() => {});
}

// ------------------------------------------------------------------------------------------------------ all recordings

const shareOf = (answer, name) => answer.probs[page.genres.findIndex((genre) => genre.name === name)];
const COLUMNS = [
  ["listen", "Listen", false, () => ""],
  ["recording", "Recording", false, (one) => one.name],
  ["verdict", "Verdict", false, (one) => one.answer?.verdict ?? ""],
  ["probability", "Probability", true, (one) => (one.answer ? shareOf(one.answer, one.answer.first) : undefined)],
  ["second", "Second", false, (one) => one.answer?.second ?? ""],
  ["certainty", "Certainty", true, (one) => one.answer?.decades],
  ["seconds", "Length", true, (one) => one.answer?.seconds],
  ["notes", "Notes", false, (one) => one.fault ?? one.answer?.notes.join("; ") ?? ""],
];
const WRITTEN = { probability: percent, certainty: (value) => value.toFixed(2), seconds: clock };
const sorting = { column: null, sign: 1 };

/** Return the recordings that match the filter, in the order of the table. */
function matching() {
  const words = plain(document.querySelector("#overview input").value).split(/\s+/).filter(Boolean);
  const text = (one) => plain(COLUMNS.map(([, , , value]) => value(one) ?? "").join(" "));
  const found = page.recordings.filter((one) => words.every((word) => text(one).includes(word)));
  if (sorting.column === null) return found;
  const [, , isNumber, value] = COLUMNS[sorting.column];
  const isEmpty = (one) => value(one) === undefined || value(one) === "";
  return found.sort((a, b) => {
    if (isEmpty(a) || isEmpty(b)) return isEmpty(a) - isEmpty(b);
    return sorting.sign * (isNumber ? value(a) - value(b) : collator.compare(value(a), value(b)));
  });
}

function sortBy(column) {
  if (sorting.column !== column) Object.assign(sorting, { column, sign: 1 });
  else if (sorting.sign === 1) sorting.sign = -1;
  else sorting.column = null;
  showTable();
}

function showTable() {
  const box = document.getElementById("overview");
  box.hidden = page.recordings.length < 2;
  if (box.hidden) return;
  const table = box.querySelector("table");
  for (const [number, head] of [...table.tHead.rows[0].cells].entries()) {
    if (sorting.column === number) head.setAttribute("aria-sort", sorting.sign > 0 ? "ascending" : "descending");
    else head.removeAttribute("aria-sort");
  }
  const rows = matching();
  for (const one of rows) one.row ??= make("tr", {}, null);
  for (const one of rows) fillRow(one);
  const [body, focused] = [table.tBodies[0], document.activeElement];
  const wanted = rows.map((one) => one.row);
  if (wanted.length !== body.rows.length || wanted.some((row, i) => row !== body.rows[i])) {
    body.replaceChildren(...wanted);
    if (focused?.isConnected && body.contains(focused)) focused.focus();
  }
  const done = page.recordings.filter((one) => one.answer || one.fault).length;
  const waiting = done < page.recordings.length ? `, ${done} of ${page.recordings.length} scored` : "";
  box.querySelector(".count").textContent = `${rows.length} of ${page.recordings.length} rows${waiting}`;
}

function fillRow(one) {
  const isPlaying = page.shown === one && audio && !audio.paused;
  const state = `${Boolean(one.answer)} ${one.fault ?? ""} ${one.state ?? ""} ${isPlaying} ${page.shown === one}`;
  if (one.row.dataset.state === state) return;
  const hadFocus = one.row.contains(document.activeElement) ? [...one.row.querySelectorAll("button")].indexOf(document.activeElement) : -1;
  one.row.dataset.state = state;
  one.row.className = page.shown === one ? "chosen" : "";
  const cells = COLUMNS.map(([key, , isNumber, value]) => {
    const cell = make(key === "recording" ? "th" : "td", key === "recording" ? { scope: "row" } : isNumber ? { class: "numeric" } : {}, null);
    if (key === "listen") {
      if (one.answer) cell.append(make("button", { type: "button", class: isPlaying ? "play playing" : "play", "aria-label": `${isPlaying ? "Pause" : "Play"} ${one.name}` }, () => showAnswer(one, true)));
    } else if (key === "recording") {
      cell.append(one.answer ? make("button", { type: "button", class: "link" }, () => choose(one), one.name) : one.name);
    } else if (key === "verdict" && !one.answer) {
      cell.className = one.fault ? "fault" : "wait";
      cell.textContent = one.fault ? "not scored" : (one.state ?? "waiting");
    } else {
      const found = value(one);
      if (found !== undefined && found !== "") cell.textContent = WRITTEN[key]?.(found) ?? found;
      if (key === "notes" && one.fault) cell.className = "fault";
    }
    return cell;
  });
  one.row.replaceChildren(...cells);
  if (hadFocus >= 0) one.row.querySelectorAll("button")[hadFocus]?.focus();
}

function choose(one) {
  showAnswer(one);
  document.getElementById("answer").scrollIntoView({ block: "start" });
}

/** Save the rows that are shown, with the probability of every genre. */
function exportTable() {
  const head = ["file", "genre", "verdict", "possible", "certainty", "second", "seconds", ...page.genres.map(({ name }) => `p_${name}`), "notes"];
  const rows = matching().map((one) => {
    if (!one.answer) return [one.name, ...head.slice(2).map(() => ""), one.fault ? `skipped: ${one.fault}` : "waiting"];
    const { first, verdict, possible, decades, second, seconds, probs, notes } = one.answer;
    return [one.name, first, verdict, possible.join("; "), decades, second, seconds, ...probs, notes.join("; ")];
  });
  download("genres.csv", [head, ...rows]);
}

// -------------------------------------------------------------------------------------------------------- the server

/** Score a recording; a file that the server cannot decode without ffmpeg is decoded here, if the browser can. */
async function score(one) {
  one.state = "scoring\u2026";
  if (page.recordings.length === 1) showStatus(`Scoring ${one.name}\u2026`);
  showTable();
  try {
    let found = await ask(one.score ?? `score?name=${encodeURIComponent(one.name)}`, one.file);
    if (found.error?.includes("needs ffmpeg") && one.file) {
      const decoded = await wavOf(one.file).catch(() => null);
      if (decoded) found = await ask(`score?name=${encodeURIComponent(`${one.name}.wav`)}`, decoded);
    }
    if (found.error) one.fault = found.error;
    else one.answer = found;
  } catch {
    one.fault = "The page has lost its server. Start genregrid page again.";
  }
  one.state = null;
  if (one.fault) showStatus(`${one.name}: ${one.fault}`, true);
  else if (page.queue.length === 0) showStatus("");
  if (one.answer && (!page.shown || page.recordings.length === 1)) showAnswer(one);
  showTable();
}

async function ask(url, body) {
  if (body?.size > page.mostBytes) return { error: page.tooLarge };
  const response = await fetch(url, { method: "POST", body, headers: { "Content-Type": "application/octet-stream" } });
  const isJson = response.headers.get("Content-Type")?.startsWith("application/json");
  return isJson ? response.json() : { error: await response.text() };
}

page.queue = [];

/** Score the recordings that wait, one after the other. */
async function work() {
  if (page.isWorking) return;
  page.isWorking = true;
  while (page.queue.length) await score(page.queue.shift());
  page.isWorking = false;
}

/** Take files that a person gave; a single one replaces what was there, several are added to the table. */
function take(files) {
  const given = [...files].map((file) => ({ name: file.name || "recording.wav", file, audio: URL.createObjectURL(file) }));
  if (!given.length) return;
  page.recordings.push(...given);
  page.queue.push(...given);
  if (given.length === 1) page.shown = null; // it is shown as soon as it is scored
  showTable();
  work();
}

/** Decode a recording in the browser, and return it as a wav with one channel and 16 bits. */
async function wavOf(blob) {
  const context = new AudioContext();
  try {
    const decoded = await context.decodeAudioData(await blob.arrayBuffer());
    const channels = Array.from({ length: decoded.numberOfChannels }, (_, i) => decoded.getChannelData(i));
    const view = new DataView(new ArrayBuffer(44 + 2 * decoded.length));
    const text = (at, letters) => [...letters].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
    text(0, "RIFF");
    view.setUint32(4, 36 + 2 * decoded.length, true);
    text(8, "WAVEfmt ");
    view.setUint32(16, 16, true);
    view.setUint16(20, 1, true);
    view.setUint16(22, 1, true);
    view.setUint32(24, decoded.sampleRate, true);
    view.setUint32(28, 2 * decoded.sampleRate, true);
    view.setUint16(32, 2, true);
    view.setUint16(34, 16, true);
    text(36, "data");
    view.setUint32(40, 2 * decoded.length, true);
    for (let i = 0; i < decoded.length; i++) {
      const mean = channels.reduce((sum, channel) => sum + channel[i], 0) / channels.length;
      view.setInt16(44 + 2 * i, Math.round(32767 * Math.max(-1, Math.min(1, mean))), true);
    }
    return new Blob([view], { type: "audio/wav" });
  } finally {
    context.close();
  }
}

function setUpRecorder() {
  const button = document.getElementById("record");
  let recorder = null;
  let [number, timer] = [0, null];
  const stop = () => recorder?.state === "recording" && recorder.stop();
  async function start() {
    if (!navigator.mediaDevices?.getUserMedia || !window.MediaRecorder) {
      showStatus("This browser cannot record.", true);
      return;
    }
    let stream;
    try {
      // effects for speech would change the music
      const plainSound = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
      stream = await navigator.mediaDevices.getUserMedia({ audio: plainSound });
    } catch {
      showStatus("There is no microphone, or the browser may not use it.", true);
      return;
    }
    const parts = [];
    recorder = new MediaRecorder(stream);
    recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
    recorder.addEventListener("stop", async () => {
      clearInterval(timer);
      for (const track of stream.getTracks()) track.stop();
      button.textContent = "Record";
      button.classList.remove("on");
      showStatus("");
      try {
        const wav = await wavOf(new Blob(parts, { type: recorder.mimeType }));
        take([new File([wav], `recorded ${(number += 1)}.wav`, { type: "audio/wav" })]);
      } catch {
        showStatus("The browser cannot decode what it recorded. Choose a file instead.", true);
      }
    });
    recorder.start();
    const started = performance.now();
    const tick = () => {
      const seconds = (performance.now() - started) / 1000;
      button.textContent = `Stop, ${clock(seconds)}`;
      if (seconds >= page.recordSeconds) stop();
    };
    button.classList.add("on");
    showStatus(`Recording. It stops after ${page.recordSeconds} seconds.`);
    tick();
    timer = setInterval(tick, 250);
  }
  button.addEventListener("click", () => (recorder?.state === "recording" ? stop() : start()));
}

function setUpGiving() {
  const drop = document.querySelector(".drop");
  const input = drop.querySelector("input");
  input.addEventListener("change", () => {
    take(input.files);
    input.value = "";
  });
  // files that miss the box are taken too; otherwise the browser would leave the page
  addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  addEventListener("dragleave", (event) => event.relatedTarget === null && drop.classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    take(event.dataTransfer.files);
  });
  setUpRecorder();
}

addEventListener("DOMContentLoaded", () => {
  setUpTheme();
  const data = JSON.parse(document.getElementById("data").textContent);
  Object.assign(page, data, { genres: data.genres.map(([name, colour, ink]) => ({ name, colour, ink })) });
  const heads = COLUMNS.map(([key, title, isNumber], number) => {
    const head = make("th", { scope: "col", ...(isNumber ? { class: "numeric" } : {}) }, null);
    head.append(key === "listen" ? title : make("button", { type: "button" }, () => sortBy(number), title));
    return head;
  });
  document.querySelector("#overview thead").append(make("tr", {}, null, ...heads));
  document.querySelector("#overview input").addEventListener("input", showTable);
  document.getElementById("export").addEventListener("click", exportTable);
  if (page.served) setUpGiving();
  showTable();
  page.queue.push(...page.recordings.filter((one) => !one.answer && one.score));
  const first = page.recordings.find((one) => one.answer);
  if (first) showAnswer(first);
  work();
});
