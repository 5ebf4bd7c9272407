// Search over the text of all files. The texts are loaded block by block when the first search is made.

const MOST_RESULTS = 500;

let searchNumber = 0;

/** Text in the form that is compared: no case, no accents. */
const folded = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();

async function search(words) {
  const mine = ++searchNumber;
  const wanted = folded(words).split(/\s+/).filter(Boolean);
  const list = byId("results");
  list.replaceChildren();
  let [hits, inFiles] = [0, 0];
  const say = (text) => (byId("results-state").textContent = text);
  byId("results-title").textContent = `Search: ${words}`;
  for (let block = 0; wanted.length && block < index.texts; block++) {
    say(`Searching, ${hits} found …`);
    const texts = await load(`text-${block}`);
    if (mine !== searchNumber) return;
    for (const [place, lines] of texts) {
      const found = lines.filter(([, text]) => matches(folded(text), wanted));
      if (!found.length) continue;
      inFiles += 1;
      const room = Math.max(0, MOST_RESULTS - hits);
      hits += found.length;
      if (room) list.append(fileResults(place, found.slice(0, room)));
    }
  }
  const shownOnly = hits > MOST_RESULTS ? `; the first ${MOST_RESULTS} are shown` : "";
  say(
    `${hits} ${hits === 1 ? "line" : "lines"} in ${inFiles} ${inFiles === 1 ? "file" : "files"}${shownOnly}`,
  );
}

const matches = (text, wanted) => wanted.every((word) => text.includes(word));

function fileResults(place, lines) {
  const items = lines.map(([start, text]) =>
    make("li", {}, make("a", { href: `#file=${place}&t=${start}` }, clock(start), " ", shown(text))),
  );
  return make("li", {}, make("h3", {}, shown(index.rows[place].name)), make("ul", {}, ...items));
}

byId("search-form").onsubmit = (event) => {
  event.preventDefault();
  const words = byId("search").value.trim();
  if (words) location.hash = `search=${encodeURIComponent(words)}`;
};
