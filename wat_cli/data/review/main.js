// Which view is open, by the address: #files, #search=words, #file=3&t=12.5. And the keys.

const opened = new Map(); // files with corrections stay as they are while others are looked at
let current = null;

function show(view) {
  for (const name of ["files-view", "results-view", "file-view"]) byId(name).hidden = name !== view;
}

async function route() {
  const address = new URLSearchParams(location.hash.slice(1));
  if (location.hash === "#main") return;
  if (address.has("file")) {
    await openFile(Number(address.get("file")), Number(address.get("t") ?? NaN));
    return;
  }
  leaveFile();
  if (address.has("search")) {
    show("results-view");
    byId("search").value = address.get("search");
    byId("results-title").focus();
    await search(address.get("search"));
  } else {
    show("files-view");
    document.title = "wat review";
  }
}

function leaveFile() {
  if (!current) return;
  if (current.entries.some((entry) => entry.changed)) opened.set(current.place, current);
  closeMedia();
  current = null;
}

async function openFile(place, seconds) {
  const row = index.rows[place];
  if (!row || !canOpen(row)) {
    location.hash = "files";
    return;
  }
  if (current?.place !== place) {
    leaveFile();
    show("file-view");
    byId("file-title").replaceChildren(shown(row.name));
    document.title = `${row.name} – wat review`;
    byId("file-body").hidden = true;
    byId("file-problem").textContent = "Loading …";
    try {
      const file = opened.get(place) ?? (await newFile(place));
      if (Number(new URLSearchParams(location.hash.slice(1)).get("file") ?? NaN) !== place) return; // left meanwhile
      current = file;
    } catch (error) {
      byId("file-problem").textContent = `The data of this file cannot be read: ${error.message}`;
      return;
    }
    drawFile(row);
  }
  if (Number.isFinite(seconds)) seek(seconds);
}

async function newFile(place) {
  const data = await load(`file-${place}`);
  const file = { place, data, entries: entriesOf(data), playing: null, unsaved: false };
  opened.set(place, file);
  for (const [other, kept] of opened)
    if (other !== place && !kept.entries.some((entry) => entry.changed)) opened.delete(other);
  return file;
}

function drawFile(row) {
  const { data } = current;
  byId("file-problem").textContent = "";
  byId("file-body").hidden = false;
  byId("save-hint").hidden = true;
  byId("entry-filter").value = "";
  current.language = languageName(row.language) === row.language ? "" : row.language;
  const facts = [
    STATUS[row.status],
    languageName(row.language),
    clock(data.duration, 0),
    row.speech == null ? "" : `speech ${percent(row.speech)}`,
    data.models.length ? `model ${data.models.join(", ")}` : "",
    row.detail,
  ];
  byId("file-facts").replaceChildren(
    ...facts.filter(Boolean).flatMap((fact, place) => [place ? " · " : "", shown(fact)]),
  );
  const order = openable();
  byId("file-place").textContent = order.includes(current.place)
    ? `${order.indexOf(current.place) + 1} of ${order.length}`
    : "";
  linkTo("previous-file", -1);
  linkTo("next-file", 1);
  openMedia(data.media, row.language);
  openTimeline(data);
  corrected();
  drawEntries();
  byId("file-title").focus();
}

/** The files that can be opened, in the order of the list. */
const openable = () => files.order.filter((place) => canOpen(index.rows[place]));

/** Link to the file before or after this one, in the order of the list. */
function linkTo(id, direction) {
  const order = openable();
  const place = order[order.indexOf(current.place) + direction];
  byId(id).hidden = place === undefined;
  byId(id).href = `#file=${place}`;
}

// --- keys: single letters, which can be turned off ---

const KEYS = {
  k: togglePlay,
  j: () => seek(player.currentTime - 5),
  l: () => seek(player.currentTime + 5),
  n: () => step(1),
  p: () => step(-1),
  d: () => step(1, isDoubtful),
  e: () => current.playing && openForm(current.playing),
  "+": () => zoom(0.5),
  "-": () => zoom(2),
  0: () => setSpan(0, current.data.duration),
};

addEventListener("keydown", (event) => {
  if (!byId("shortcuts").checked || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.target.closest("input:not([type=checkbox]), textarea, select")) return;
  if (event.key === "/") byId("search").focus();
  else if (event.key === "f") location.hash = "files";
  else if (event.key === "?") byId("help-button").click();
  else if (current && KEYS[event.key]) KEYS[event.key]();
  else return;
  event.preventDefault();
});

byId("help-button").onclick = () => {
  byId("help").hidden = !byId("help").hidden;
  byId("help-button").setAttribute("aria-expanded", String(!byId("help").hidden));
};

/** The playhead moves with every picture while something plays. */
function tick() {
  if (current) drawPlayhead();
  if (!player.paused) requestAnimationFrame(tick);
}

player.addEventListener("play", tick);
player.addEventListener("seeked", drawPlayhead);
player.addEventListener("seeking", () => current && drawPlayhead());
addEventListener("hashchange", route);
arrangeFiles();
route();
