// Small tools that every other part uses. Texts go on the screen as text nodes only: nothing here makes HTML of data.

const byId = (id) => document.getElementById(id);

/** A new element with properties and children; children are elements or texts. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

// Characters that nobody sees and that turn text around: shown by their code, and without their effect.
const INVISIBLE =
  /([\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u202a-\u202e\u2028\u2029\u2060\u2066-\u2069\ufeff\ufff9-\ufffb])/u;

/** Text from a file as nodes, with invisible characters made visible. */
function pieces(text) {
  return String(text)
    .split(INVISIBLE)
    .filter(Boolean)
    .map((piece) => {
      const code = piece.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
      return INVISIBLE.test(piece) ? make("span", { className: "invisible" }, `U+${code}`) : piece;
    });
}

/** The same in an element of its own direction, for texts within a line of ours. */
const shown = (text) => make("bdi", {}, ...pieces(text));

/** Seconds as 1:02:03.4; with `digits` decimals. */
function clock(seconds, digits = 1) {
  if (!Number.isFinite(seconds)) return "?";
  const unit = 10 ** digits;
  const whole = Math.round(Math.max(0, seconds) * unit);
  const [minutes, rest] = [Math.floor(whole / unit / 60), (whole % (60 * unit)) / unit];
  const second = rest.toFixed(digits).padStart(digits ? 3 + digits : 2, "0");
  const hours = Math.floor(minutes / 60);
  return hours ? `${hours}:${String(minutes % 60).padStart(2, "0")}:${second}` : `${minutes}:${second}`;
}

/** Seconds of a text such as 1:02:03.4, 62.5 or 1:02; NaN if it is no time. */
function parseClock(text) {
  const parts = text.trim().replace(",", ".").split(":");
  if (parts.length > 3 || !parts.every((part) => /^\d+(\.\d+)?$/.test(part))) return NaN;
  return parts.reduce((total, part) => total * 60 + Number(part), 0);
}

const percent = (share) => (share == null ? "" : `${Math.round(100 * share)} %`);

/** Bytes of a base64 text. */
const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

// --- data: in an element of this page, or in a script of the folder beside it ---

const arriving = new Map();

globalThis.watData = (key, value) => arriving.get(key)?.resolve(value);

/** A block of data by its key. */
function load(key) {
  const inside = byId(key);
  if (inside) return Promise.resolve(JSON.parse(inside.textContent));
  if (index.folder == null) return Promise.reject(new Error(`${key} is not in this page`));
  return new Promise((resolve, reject) => {
    const script = make("script", { src: `${index.folder}/${key}.js` });
    const done = (settle) => (value) => {
      arriving.delete(key);
      script.remove();
      settle(value);
    };
    script.onerror = done(() => reject(new Error(`${index.folder}/${key}.js cannot be read`)));
    arriving.set(key, { resolve: done(resolve) });
    document.head.append(script);
  });
}

const index = JSON.parse(byId("index").textContent);
