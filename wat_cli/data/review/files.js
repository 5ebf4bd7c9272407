// The list of files: sorted, filtered, and in portions, so that thousands stay quick.

const PORTION = 300;

const STATUS = {
  captioned: "captioned",
  edited: "edited",
  silent: "nothing to caption",
  failed: "failed",
  uncaptioned: "not captioned",
  unreadable: "unreadable",
};

const COLUMNS = [
  { title: "File", value: (row) => row.name },
  { title: "Outcome", value: (row) => STATUS[row.status] },
  { title: "Language", value: (row) => row.language },
  { title: "Duration", value: (row) => row.duration ?? -1, number: true },
  { title: "Speech", value: (row) => row.speech ?? -1, number: true },
  { title: "Doubtful", value: (row) => row.doubts, number: true },
  { title: "Sounds not shown", value: (row) => row.dropped, number: true },
];

const languageNames = new Intl.DisplayNames(["en"], { type: "language", fallback: "code" });
const collator = new Intl.Collator("en", { numeric: true });

const files = { sort: 0, descending: false, order: [], drawn: 0 };

const canOpen = (row) => !["failed", "uncaptioned", "unreadable"].includes(row.status);

function languageName(code) {
  try {
    return code ? languageNames.of(code) : "";
  } catch {
    return code;
  }
}

function arrangeFiles() {
  const [name, status] = [byId("name-filter").value.toLowerCase(), byId("status-filter").value];
  const wanted = (row) =>
    row.name.toLowerCase().includes(name) &&
    (!status ||
      row.status === status ||
      (status === "doubtful" && row.doubts) ||
      (status === "dropped" && row.dropped));
  const { value, number } = COLUMNS[files.sort];
  const compare = number ? (a, b) => a - b : collator.compare;
  const sign = files.descending ? -1 : 1;
  files.order = index.rows
    .map((row, place) => place)
    .filter((place) => wanted(index.rows[place]))
    .sort((a, b) => sign * compare(value(index.rows[a]), value(index.rows[b])) || a - b);
  files.drawn = 0;
  byId("files-body").replaceChildren();
  byId("files-count").value = `${files.order.length} of ${index.rows.length} files`;
  byId("no-files").hidden = files.order.length > 0;
  drawFilesHead();
  drawMoreFiles();
}

function drawFilesHead() {
  const heads = COLUMNS.map((column, place) => {
    const button = make("button", { type: "button", onclick: () => sortFiles(place) }, column.title);
    const head = make("th", { scope: "col", className: column.number ? "number" : "" }, button);
    if (place === files.sort) head.setAttribute("aria-sort", files.descending ? "descending" : "ascending");
    return head;
  });
  const focused = [...byId("files-head").children].findIndex((head) => head.contains(document.activeElement));
  byId("files-head").replaceChildren(...heads);
  if (focused >= 0) heads[focused].firstChild.focus();
}

function sortFiles(place) {
  files.descending = place === files.sort ? !files.descending : Boolean(COLUMNS[place].number);
  files.sort = place;
  arrangeFiles();
}

function drawMoreFiles() {
  const rows = files.order.slice(files.drawn, files.drawn + PORTION).map(fileRow);
  files.drawn += rows.length;
  byId("files-body").append(...rows);
  byId("more-files").hidden = files.drawn >= files.order.length;
}

function fileRow(place) {
  const row = index.rows[place];
  const name = canOpen(row)
    ? make("a", { href: `#file=${place}` }, shown(row.name))
    : make("span", {}, shown(row.name));
  const head = make("th", { scope: "row" }, name);
  if (row.detail) head.append(make("p", { className: "detail" }, shown(row.detail)));
  return make(
    "tr",
    {},
    head,
    make("td", { className: `status ${row.status}` }, STATUS[row.status]),
    make("td", {}, languageName(row.language)),
    make("td", { className: "number" }, row.duration == null ? "" : clock(row.duration, 0)),
    make("td", { className: "number" }, ...(row.speech == null ? [] : [shareBar(row.speech), percent(row.speech)])),
    make("td", { className: row.doubts ? "number warn" : "number" }, canOpen(row) ? row.doubts : ""),
    make("td", { className: "number" }, canOpen(row) ? row.dropped : ""),
  );
}

function shareBar(share) {
  const filled = make("span", {});
  filled.style.width = `${100 * share}%`;
  return make("span", { className: "share", "aria-hidden": "true" }, filled);
}

/** How many files there are of each outcome, how long they are together, and how many deserve a second look. */
function summary() {
  const count = (wanted) => index.rows.filter(wanted).length;
  const seconds = index.rows.reduce((total, row) => total + (row.duration ?? 0), 0);
  const outcomes = Object.entries(STATUS).map(([status, name]) => [count((row) => row.status === status), name]);
  const doubtful = count((row) => row.doubts);
  return [
    outcomes.filter(([files]) => files).map(([files, name]) => `${files} ${name}`).join(", "),
    `${clock(seconds, 0)} of audio`,
    doubtful ? `${doubtful} with doubtful places` : "",
  ]
    .filter(Boolean)
    .join(" · ");
}

byId("files-summary").textContent = summary();
byId("name-filter").oninput = arrangeFiles;
byId("status-filter").onchange = arrangeFiles;
byId("more-files").onclick = drawMoreFiles;
