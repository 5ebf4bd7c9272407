// Corrections of text, times and sound labels, and the sidecar that carries them to `wat render`.

const soundNames = new Map(
  index.sounds.map(([caption, group, label]) => [caption.toLowerCase(), { caption, group, label }]),
);
byId("sounds").append(...index.sounds.map(([caption]) => make("option", { value: caption })));

/** A form in the place of an entry; one at a time, so that no text is lost when the list is drawn anew. */
function openForm(entry) {
  const open = byId("entries").querySelector("form");
  if (open) {
    open.querySelector("textarea, input").focus();
    return;
  }
  const sound = entry.kind === "sound";
  const text = sound
    ? make("input", { value: entry.text })
    : make("textarea", { value: entry.text, rows: 3, dir: "auto" });
  if (sound) text.setAttribute("list", "sounds");
  const start = make("input", { value: clock(entry.start, 3), size: 11 });
  const end = make("input", { value: clock(entry.end, 3), size: 11 });
  const visible = make("input", {
    type: "checkbox",
    checked: !entry.origin || (entry.shown && !entry.removed),
  });
  const problem = make("p", { className: "problem", role: "alert" });
  const here = (field) =>
    make("button", { type: "button", onclick: () => (field.value = clock(player.currentTime, 3)) }, "Now");
  const form = make(
    "form",
    { onsubmit: apply },
    make("label", {}, sound ? "Sound " : "Text ", text),
    make(
      "p",
      {},
      make("label", {}, "From ", start),
      " ",
      here(start),
      " ",
      make("label", {}, "to ", end),
      " ",
      here(end),
    ),
    make("p", {}, make("label", {}, visible, " Caption it")),
    problem,
    make("button", {}, "Apply"),
    " ",
    make("button", { type: "button", onclick: close }, "Cancel"),
  );
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
    if (event.key === "Enter" && event.ctrlKey) form.requestSubmit();
    event.stopPropagation();
  });
  entry.item.replaceChildren(form);
  text.focus();

  function close() {
    if (!entry.origin && !entry.changed) {
      drop(entry);
      byId(sound ? "add-sound" : "add-speech").focus();
      return;
    }
    drawEntry(entry);
    entry.item.querySelector(".correct").focus();
  }

  function apply(event) {
    event.preventDefault();
    const values = { text: text.value.trim(), start: parseClock(start.value), end: parseClock(end.value) };
    problem.textContent = fault(values);
    if (problem.textContent) return;
    // the fields show milliseconds: a time that was not touched keeps what it was
    for (const name of ["start", "end"]) {
      if (clock(values[name], 3) === clock(entry[name], 3)) values[name] = entry[name];
    }
    correct(entry, values, visible.checked);
    if (current.entries.includes(entry) && entry.item) close();
  }
}

/** Why these values cannot be taken; empty if they can. */
function fault({ text, start, end }) {
  if (!text) return "The text is empty; to leave the line out, untick “Caption it”.";
  if (Number.isNaN(start) || Number.isNaN(end)) return "A time is written like 1:02:03.456.";
  if (end <= start) return "It ends before it starts.";
  if (start >= current.data.duration) return `The file ends at ${clock(current.data.duration)}.`;
  return "";
}

function correct(entry, { text, start, end }, visible) {
  if (!entry.origin && !visible) {
    drop(entry);
    return;
  }
  if (start !== entry.start) entry.start = round(start);
  if (end !== entry.end) entry.end = round(Math.min(end, current.data.duration));
  entry.text = text;
  if (entry.kind === "speech" || !entry.origin) {
    entry.removed = !visible;
  } else if (visible !== entry.shown) {
    entry.shown = visible;
    entry.reason = visible ? null : (entry.origin.reason ?? "left out in review");
  }
  entry.changed = entry.removed || !entry.origin || differs(entry);
  current.entries.sort(byTime);
  current.unsaved = true;
  corrected();
  redrawEntry(entry);
}

/** Forget an entry that was added here. */
function drop(entry) {
  current.unsaved ||= entry.changed;
  current.entries.splice(current.entries.indexOf(entry), 1);
  corrected();
  drawEntries();
}

function differs(entry) {
  const { origin } = entry;
  const text = entry.kind === "sound" ? origin.caption : origin.text.trim();
  const hidden = entry.kind === "sound" && origin.shown !== entry.shown;
  return hidden || text !== entry.text || origin.start !== entry.start || origin.end !== entry.end;
}

const round = (seconds) => Math.round(seconds * 1000) / 1000;

/** Bring captions, timeline and counts up to what the entries say now. */
function corrected() {
  const count = current.entries.filter((entry) => entry.changed).length;
  const state = current.unsaved ? "not saved" : "saved";
  byId("save").disabled = !count;
  byId("next-doubt").hidden = !current.entries.some(isDoubtful);
  byId("corrections").value = count ? `${count} ${count === 1 ? "correction" : "corrections"}, ${state}` : "";
  setCues(count ? plainCues() : current.data.cues);
  drawTimeline();
}

/** A cue for each entry: what is played until `wat render` lays the corrected captions out. */
function plainCues() {
  return current.entries
    .filter((entry) => entry.shown && !entry.removed && !entry.blank && !(entry.left_out && !entry.changed))
    .map((entry) => [
      entry.start * 1000,
      entry.end * 1000,
      entry.kind === "sound" ? `[${entry.text}]` : entry.text,
    ]);
}

function add(kind) {
  if (byId("entries").querySelector("form")) return;
  const start = round(Math.min(player.currentTime, Math.max(0, current.data.duration - 0.1)));
  const next = current.entries.find(
    (other) => other.kind === kind && !other.removed && other.start > start + 0.5,
  );
  const end = round(Math.min(start + 2, next?.start ?? Infinity, current.data.duration));
  const entry = { kind, origin: null, start, end, text: "", shown: true, doubts: [], removed: true };
  current.entries.push(entry);
  current.entries.sort(byTime);
  byId("entry-filter").value = "";
  drawEntries();
  entry.item.scrollIntoView({ block: "nearest" });
  openForm(entry);
}

// --- saving ---

/** The corrected sidecar: everything but words, sounds and notes to the letter as it was. */
function correctedSidecar() {
  const kept = current.entries.filter((entry) => !entry.removed);
  const speech = kept.filter((entry) => entry.kind === "speech");
  let free = 1 + current.data.segments.reduce((most, segment) => Math.max(most, segment.id), -1);
  const segments = speech.map((entry) => correctedSegment(entry, entry.origin?.id ?? free++));
  const asHeard = new Set(speech.filter((entry) => !entry.changed).map((entry) => entry.origin.id));
  const events = kept.filter((entry) => entry.kind === "sound").map(correctedEvent);
  const note = "corrected in the review page";
  const notes = current.data.notes.includes(note) ? current.data.notes : [...current.data.notes, note];
  const written = {
    text: segments.map((segment) => segment.text).join(""),
    segments,
    events,
    notes,
    hallucinations: current.data.hallucinations.filter((id) => asHeard.has(id)),
    broken_rules: [], // they were those of the old captions
  };
  const lines = current.data.parts.map(
    ([key, text]) => `${JSON.stringify(key)}: ${text ?? block(written[key])}`,
  );
  return `{\n${lines.join(",\n")}\n}\n`;
}

const block = (value) =>
  Array.isArray(value) && typeof value[0] === "object"
    ? `[\n  ${value.map((item) => JSON.stringify(item)).join(",\n  ")}\n]`
    : JSON.stringify(value);

function correctedSegment(entry, id) {
  if (!entry.changed) return entry.origin;
  // A person vouches for it now: the model's tokens, word times and doubts are not about this text any more.
  const { words, ...origin } = entry.origin ?? { seek: Math.floor((entry.start * 100) / 3000) * 3000 };
  const same = entry.origin?.text.trim() === entry.text;
  return {
    ...origin,
    id,
    start: entry.start,
    end: entry.end,
    text: (entry.origin?.text.match(/^\s*/)[0] ?? " ") + entry.text,
    tokens: same ? origin.tokens : [],
    temperature: 0,
    avg_logprob: 0,
    compression_ratio: 1,
    no_speech_prob: 0,
  };
}

function correctedEvent(entry) {
  if (!entry.changed) return entry.origin;
  const origin = entry.origin ?? { group: "asr", label: entry.text, score: 1 };
  const name = entry.origin?.caption === entry.text ? undefined : soundNames.get(entry.text.toLowerCase());
  return {
    start: entry.start,
    end: entry.end,
    group: name?.group ?? origin.group,
    caption: entry.text,
    label: name?.label ?? origin.label,
    score: origin.score,
    shown: entry.shown,
    reason: entry.shown ? null : entry.reason,
  };
}

function save() {
  const url = URL.createObjectURL(new Blob([correctedSidecar()], { type: "application/json" }));
  make("a", { href: url, download: current.data.sidecar }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
  current.unsaved = false;
  corrected();
  byId("save-hint").hidden = false;
  byId("save-hint").replaceChildren(
    "Put it in the place of ",
    shown(current.data.sidecar),
    " beside the media file, then: ",
    make("code", {}, "wat render ", shown(current.data.sidecar)),
  );
}

byId("save").onclick = save;
byId("add-speech").onclick = () => add("speech");
byId("add-sound").onclick = () => add("sound");
addEventListener("beforeunload", (event) => {
  if ([...opened.values()].some((file) => file.unsaved)) event.preventDefault();
});
