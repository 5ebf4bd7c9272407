// The timeline: loudness, speech, sounds as captioned, and the strongest groups of the tag track as a heat map.

const canvas = byId("timeline");
const LANE = { axis: 18, loudness: 40, voice: 16, speech: 16, sounds: 16, heat: 16 };
const GAP = 2;
const UNKNOWN = 255;
const CLOSEST = 2; // seconds

const timeline = { from: 0, to: 1, height: 0, lanes: [] };

/** Lay out the lanes of the open file. */
function openTimeline(data) {
  const lanes = [{ kind: "axis", name: "Time" }];
  if (data.loudness)
    lanes.push({
      kind: "loudness",
      name: "Loudness",
      values: bytes(data.loudness.levels),
      hop: data.loudness.hop,
      full: 255,
    });
  if (data.voice)
    lanes.push({ kind: "voice", name: "Voice heard", values: bytes(data.voice), hop: data.hop, full: 100 });
  lanes.push({ kind: "speech", name: "Speech" }, { kind: "sounds", name: "Sounds" });
  for (const row of data.heat)
    lanes.push({ kind: "heat", name: row.caption, values: bytes(row.scores), hop: data.hop, full: 100 });
  let top = 0;
  for (const lane of lanes) {
    lane.top = top;
    lane.height = LANE[lane.kind];
    top += lane.height + GAP;
  }
  timeline.lanes = lanes;
  timeline.height = top;
  byId("lanes").replaceChildren(
    ...lanes.map((lane) => {
      const label = make("div", {}, shown(lane.name));
      label.style.height = `${lane.height + GAP}px`;
      return label;
    }),
  );
  canvas.style.height = `${top}px`;
  canvas.setAttribute("aria-valuemax", data.duration.toFixed(1));
  byId("quiet").textContent = data.quiet ? `No loudness: ${data.quiet}.` : "";
  setSpan(0, data.duration);
}

/** Show the seconds from `from` to `to`, kept inside the file. */
function setSpan(from, to) {
  const duration = Math.max(0.1, current.data.duration);
  const width = Math.min(duration, Math.max(Math.min(CLOSEST, duration), to - from));
  timeline.from = Math.max(0, Math.min(from, duration - width));
  timeline.to = timeline.from + width;
  drawTimeline();
}

function zoom(factor, around = player.currentTime) {
  const { from, to } = timeline;
  const anchor = around >= from && around <= to ? around : (from + to) / 2;
  setSpan(anchor - (anchor - from) * factor, anchor + (to - anchor) * factor);
}

function drawTimeline() {
  if (!current) return;
  const [width, scale] = [canvas.clientWidth, devicePixelRatio || 1];
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.round(timeline.height * scale);
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(`--${name}`).trim();
  for (const lane of timeline.lanes) {
    context.save();
    context.translate(0, lane.top);
    context.fillStyle = color("lane");
    if (lane.kind !== "axis") context.fillRect(0, 0, width, lane.height);
    DRAW[lane.kind](context, lane, width, color);
    context.restore();
  }
  drawPlayhead();
}

const xOf = (seconds, width) => ((seconds - timeline.from) / (timeline.to - timeline.from)) * width;

const DRAW = {
  axis(context, lane, width, color) {
    const rough = ((timeline.to - timeline.from) / width) * 80;
    const step =
      [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600].find((s) => s >= rough) ??
      3600 * Math.ceil(rough / 3600);
    context.fillStyle = color("text");
    context.font = "11px system-ui, sans-serif";
    for (let tick = Math.ceil(timeline.from / step); tick * step <= timeline.to; tick++) {
      const x = xOf(tick * step, width);
      context.fillRect(x, lane.height - 4, 1, 4);
      if (x < width - 40) context.fillText(clock(tick * step, step < 1 ? 1 : 0), x + 2, lane.height - 6);
    }
  },
  loudness(context, lane, width, color) {
    context.fillStyle = color("loudness");
    columns(lane, width, (x, value) => {
      const height = (value / lane.full) * lane.height;
      context.fillRect(x, (lane.height - height) / 2, 1, height);
    });
  },
  voice: heat,
  heat,
  speech(context, lane, width, color) {
    for (const entry of current.entries) {
      if (entry.kind !== "speech" || entry.removed || entry.blank) continue;
      bar(context, lane, width, entry, color(entry.doubts.length && !entry.changed ? "doubt" : "speech"));
    }
  },
  sounds(context, lane, width, color) {
    for (const entry of current.entries) {
      if (entry.kind !== "sound" || entry.removed) continue;
      bar(context, lane, width, entry, color(entry.shown ? "sound" : "dropped"));
    }
  },
};

/** Shares of `lane.full` as the depth of one colour; unknown steps are left blank. */
function heat(context, lane, width, color) {
  context.fillStyle = color("heat");
  columns(lane, width, (x, value) => {
    context.globalAlpha = value / lane.full;
    context.fillRect(x, 0, 1, lane.height);
  });
  context.globalAlpha = 1;
}

/** The highest value in each column of pixels. */
function columns(lane, width, draw) {
  const perPixel = (timeline.to - timeline.from) / width / lane.hop;
  for (let x = 0; x < width; x++) {
    const first = timeline.from / lane.hop + x * perPixel;
    const last = Math.min(lane.values.length, Math.max(Math.floor(first) + 1, Math.ceil(first + perPixel)));
    let best = 0;
    for (let at = Math.floor(first); at < last; at++) {
      const value = lane.values[at];
      if (value > best && !(lane.full === 100 && value === UNKNOWN)) best = value;
    }
    if (best) draw(x, best);
  }
}

function bar(context, lane, width, { start, end }, fill) {
  if (end < timeline.from || start > timeline.to) return;
  const x = xOf(start, width);
  context.fillStyle = fill;
  context.fillRect(x, 2, Math.max(1.5, xOf(end, width) - x - 1), lane.height - 4);
}

function drawPlayhead() {
  const [now, width] = [player.currentTime, canvas.clientWidth];
  const inside = now >= timeline.from && now <= timeline.to;
  byId("playhead").hidden = !inside;
  byId("playhead").style.transform = `translateX(${xOf(now, width)}px)`;
  canvas.setAttribute("aria-valuenow", now.toFixed(1));
  canvas.setAttribute("aria-valuetext", `${clock(now)} of ${clock(current?.data.duration ?? 0)}`);
}

// --- pointer and keys ---

const secondsAt = (event) => {
  const box = canvas.getBoundingClientRect();
  return timeline.from + ((event.clientX - box.left) / box.width) * (timeline.to - timeline.from);
};

let drag = null;

canvas.addEventListener("pointerdown", (event) => {
  drag = { x: event.clientX, from: timeline.from, to: timeline.to, moved: false };
  canvas.setPointerCapture(event.pointerId);
});

canvas.addEventListener("pointermove", (event) => {
  if (drag && Math.abs(event.clientX - drag.x) > 4) drag.moved = true;
  if (drag?.moved) {
    const shift = ((drag.x - event.clientX) / canvas.clientWidth) * (drag.to - drag.from);
    setSpan(drag.from + shift, drag.to + shift);
  } else if (!drag) {
    byId("under-pointer").value = describe(event);
  }
});

canvas.addEventListener("pointerup", (event) => {
  if (drag && !drag.moved) playFrom(secondsAt(event));
  drag = null;
});

canvas.addEventListener("pointerleave", () => (byId("under-pointer").value = ""));

canvas.addEventListener(
  "wheel",
  (event) => {
    if (event.ctrlKey) {
      zoom(event.deltaY > 0 ? 1.25 : 0.8, secondsAt(event));
    } else if (event.deltaX) {
      const shift = (event.deltaX / canvas.clientWidth) * (timeline.to - timeline.from);
      setSpan(timeline.from + shift, timeline.to + shift);
    } else {
      return;
    }
    event.preventDefault();
  },
  { passive: false },
);

/** What the pointer is on: the time, and in a heat row the score. */
function describe(event) {
  const [seconds, y] = [secondsAt(event), event.offsetY];
  const lane = timeline.lanes.find((item) => y >= item.top && y < item.top + item.height);
  const value = lane?.full === 100 ? lane.values[Math.floor(seconds / lane.hop)] : undefined;
  if (value === undefined) return clock(seconds);
  return `${clock(seconds)} ${lane.name}: ${value === UNKNOWN ? "unknown" : `${value} %`}`;
}

canvas.addEventListener("keydown", (event) => {
  const step = event.shiftKey ? 10 : 1;
  const moves = {
    ArrowLeft: () => seek(player.currentTime - step),
    ArrowDown: () => seek(player.currentTime - step),
    ArrowRight: () => seek(player.currentTime + step),
    ArrowUp: () => seek(player.currentTime + step),
    PageDown: () => seek(player.currentTime - 30),
    PageUp: () => seek(player.currentTime + 30),
    Home: () => seek(0),
    End: () => seek(current.data.duration),
    Enter: togglePlay,
    " ": togglePlay,
  };
  if (!moves[event.key] || event.ctrlKey || event.altKey || event.metaKey) return;
  moves[event.key]();
  event.preventDefault();
});

byId("zoom-in").onclick = () => zoom(0.5);
byId("zoom-out").onclick = () => zoom(2);
byId("zoom-all").onclick = () => setSpan(0, current.data.duration);
new ResizeObserver(drawTimeline).observe(canvas);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawTimeline);
