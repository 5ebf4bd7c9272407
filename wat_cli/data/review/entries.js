// The captions of the open file beside the player: every line of speech and every sound, with its doubts.

/** What the list shows, made from the file's data; corrections change these and nothing else. */
function entriesOf(data) {
  const speech = data.segments.map((segment, place) => ({
    kind: "speech",
    origin: segment,
    start: segment.start,
    end: segment.end,
    text: segment.text.trim(),
    shown: true,
    blank: !segment.text.trim(), // never captioned, but kept when corrections are saved
    ...data.speech[place],
  }));
  const sounds = data.events.map((event) => ({
    kind: "sound",
    origin: event,
    start: event.start,
    end: event.end,
    text: event.caption,
    shown: event.shown,
    reason: event.reason,
    confidence: event.score,
    doubts: [],
  }));
  return [...speech, ...sounds].sort(byTime);
}

const UNSURE_WORD = 0.5; // probability

const byTime = (a, b) => a.start - b.start || a.end - b.end;

const WANTED = {
  "": () => true,
  doubtful: (entry) => entry.doubts.length > 0,
  sounds: (entry) => entry.kind === "sound",
  dropped: (entry) => entry.kind === "sound" && !entry.shown,
  changed: (entry) => entry.changed,
};

function drawEntries() {
  const chosen = WANTED[byId("entry-filter").value];
  const wanted = (entry) => !entry.blank && chosen(entry);
  const items = current.entries.filter(wanted).map((entry) => {
    entry.item = make("li", {});
    drawEntry(entry);
    return entry.item;
  });
  for (const entry of current.entries) if (!wanted(entry)) entry.item = null;
  byId("entries").replaceChildren(...items);
  byId("no-entries").hidden = items.length > 0;
  current.playing = null;
  followPlayer();
}

/** Bring the list up to date after `entry` was corrected: in place where it stays, else as a whole. */
function redrawEntry(entry) {
  const items = current.entries.map((other) => other.item).filter(Boolean);
  const place = [...byId("entries").children].indexOf(entry.item);
  if (place < 0 || items[place] !== entry.item || !WANTED[byId("entry-filter").value](entry)) {
    drawEntries();
    return;
  }
  drawEntry(entry);
  followPlayer();
}

/** Draw one entry anew in its place. */
function drawEntry(entry) {
  if (!entry.item) return;
  const text = entry.kind === "sound" ? `[${entry.text}]` : entry.text;
  const time = `${clock(entry.start)} – ${clock(entry.end)}`;
  const go = make("button", { type: "button", className: "go", onclick: () => playFrom(entry.start) }, time);
  go.setAttribute("aria-label", `Play ${time}`);
  const correct = make(
    "button",
    { type: "button", className: "correct", onclick: () => openForm(entry) },
    "Correct",
  );
  correct.setAttribute("aria-label", `Correct the caption at ${clock(entry.start)}`);
  const hidden = Boolean(entry.removed || !entry.shown || (entry.left_out && !entry.changed));
  const words = entry.changed || entry.kind === "sound" ? pieces(text) : spokenWords(entry);
  const line = make(
    "p",
    { className: "text", dir: "auto", lang: entry.kind === "speech" ? current.language : "" },
    ...(hidden ? [make("s", {}, ...words)] : words),
  );
  entry.item.className = `entry ${entry.kind}`;
  entry.item.classList.toggle("doubtful", entry.doubts.length > 0 && !entry.changed);
  entry.item.classList.toggle("hidden-sound", hidden);
  entry.item.replaceChildren(go, line, make("p", { className: "marks" }, ...marks(entry)), correct);
}

/** The text, with the words that the model was unsure of underlined where it gave the words' probabilities. */
function spokenWords({ origin, text }) {
  const words = origin?.words ?? [];
  if (
    words
      .map((word) => word.word)
      .join("")
      .trim() !== text
  )
    return pieces(text);
  return words.flatMap(({ word, probability }) => {
    if (probability == null || probability >= UNSURE_WORD) return pieces(word);
    return make(
      "span",
      { className: "unsure", title: `confidence ${percent(probability)}` },
      ...pieces(word),
    );
  });
}

function marks(entry) {
  const found = [];
  const mark = (text, name) => found.push(make("span", { className: `mark ${name}` }, text), " ");
  if (entry.removed) mark("removed", "dropped");
  if (entry.left_out && !entry.changed) mark("left out of the captions", "dropped");
  if (entry.changed && !entry.removed) mark("corrected", "changed");
  if (!entry.changed) {
    const reasons = (invented) =>
      entry.doubts
        .filter((doubt) => doubt.hallucination === invented)
        .map((doubt) => doubt.reason)
        .join("; ");
    if (reasons(true)) mark(`possible hallucination: ${reasons(true)}`, "doubt");
    if (reasons(false)) mark(reasons(false), "doubt");
  }
  if (entry.kind === "sound" && !entry.shown)
    mark(`not shown: ${(entry.reason ?? "no reason given").replace(/^shown with/, "only with")}`, "dropped");
  if (entry.confidence != null && !entry.changed) mark(`confidence ${percent(entry.confidence)}`, "plain");
  return found;
}

// --- with the player ---

/** Mark the entry that is being heard: the last one that has begun and not ended. */
function followPlayer() {
  if (!current) return;
  const now = player.currentTime;
  const playing =
    current.entries.findLast(
      (entry) => entry.item && !entry.removed && entry.start <= now + 0.01 && now < entry.end,
    ) ?? null;
  if (playing === current.playing) return;
  current.playing?.item?.removeAttribute("aria-current");
  current.playing = playing;
  if (!playing) return;
  playing.item.setAttribute("aria-current", "true");
  const list = byId("entries");
  if (!list.contains(document.activeElement)) scrollTo(playing.item, list);
}

/** Bring an item of a list that scrolls into sight without moving the page. */
function scrollTo(item, list) {
  const [inner, outer] = [item.getBoundingClientRect(), list.getBoundingClientRect()];
  if (inner.top < outer.top || inner.bottom > outer.bottom)
    list.scrollTop += inner.top - outer.top - outer.height / 3;
}

/** Play the next entry of a kind before or after the player's place. */
function step(direction, wanted = () => true) {
  const now = player.currentTime;
  const ahead = current.entries.filter((entry) => entry.item && !entry.removed && wanted(entry));
  const next =
    direction > 0
      ? ahead.find((entry) => entry.start > now + 0.05)
      : ahead.findLast((entry) => entry.start < now - 1);
  if (next) playFrom(next.start);
}

byId("entries").addEventListener("click", (event) => {
  const item = event.target.closest(".entry");
  if (!item || event.target.closest("button, form") || getSelection().toString()) return;
  playFrom(current.entries.find((entry) => entry.item === item).start);
});

const isDoubtful = (entry) => entry.doubts.length > 0 && !entry.changed;

byId("entry-filter").onchange = drawEntries;
byId("next-doubt").onclick = () => step(1, isDoubtful);
player.addEventListener("timeupdate", followPlayer);
player.addEventListener("seeked", followPlayer);
