// Judges WebVTT files with the W3C's own parser: one JSON string a line on standard input, one verdict a line back,
// {"errors": [...], "cues": [{"start": s, "end": s, "text": "as a viewer reads it"}]}.
"use strict";
const path = require("path");
const readline = require("readline");

const parserFolder = path.resolve(process.argv[2]);
const { WebVTTParser } = require(parserFolder);
const entities = require(path.join(parserFolder, "html-entities.json"));

function textOf(node) {
  return node.type === "text" ? node.value : (node.children || []).map(textOf).join("");
}

readline.createInterface({ input: process.stdin, crlfDelay: Infinity }).on("line", (line) => {
  const { cues, errors } = new WebVTTParser(entities).parse(JSON.parse(line), "captions");
  const plain = cues.map((cue) => ({ start: cue.startTime, end: cue.endTime, text: textOf(cue.tree) }));
  process.stdout.write(JSON.stringify({ errors, cues: plain }) + "\n");
});
