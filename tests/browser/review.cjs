// Drives the review page in a browser. Usage: node review.cjs NODE_MODULES < site.json; prints {scenario: null | error}.
//
// site.json: { browser, page, large, downloads, talk: {...what the pages were made of} }; see tests/reviewable.py.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const { pathToFileURL } = require("node:url");

const modules = process.argv[2];
const { chromium } = require(path.join(modules, "playwright-core"));
const axe = fs.readFileSync(path.join(modules, "axe-core", "axe.min.js"), "utf8");
const site = JSON.parse(fs.readFileSync(0, "utf8"));
const { talk } = site;

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--no-first-run",
  "--disable-background-networking",
  "--mute-audio",
];
const near = (found, wanted, slack) =>
  assert.ok(Math.abs(found - wanted) <= slack, `${found} is not ${wanted} ± ${slack}`);
const now = (page) => page.$eval("#player", (player) => player.currentTime);
const openTalk = (page) =>
  page.click(`#files-body a:has-text("${talk.name}")`).then(() => page.waitForSelector("#entries .entry"));
const ready = (page) => page.waitForFunction(() => document.querySelector("#player").readyState >= 2);
const entry = (page, text) => page.locator("#entries .entry", { hasText: text });

async function seekAndPause(page, seconds) {
  await page.$eval("#player", (player, to) => (player.pause(), (player.currentTime = to)), seconds);
  await page.waitForFunction(() => !document.querySelector("#player").seeking);
}

async function clickAt(page, share) {
  const box = await page.locator("#timeline").boundingBox();
  await page.mouse.click(box.x + box.width * share, box.y + box.height - 10); // in the lowest row of the heat map
}

const SCENARIOS = {
  async "lists every file with its outcome"(page) {
    const rows = await page.$$eval("#files-body tr", (items) =>
      items.map((row) => [...row.cells].map((cell) => cell.textContent)),
    );
    assert.equal(rows.length, talk.rows.length);
    for (const wanted of talk.rows) {
      assert.ok(
        rows.some((row) => wanted.every((text, place) => row[place].includes(text))),
        `${JSON.stringify(wanted)} in ${JSON.stringify(rows)}`,
      );
    }
  },

  async "sums the list up"(page) {
    assert.equal(await page.textContent("#files-summary"), talk.summary);
  },

  async "sorts and filters the list"(page) {
    await page.click("th button:has-text('Doubtful')");
    assert.deepEqual(
      await page.$$eval("#files-body tr", (rows) => rows.slice(0, 3).map((row) => row.cells[5].textContent)),
      ["2", "2", "0"],
    );
    assert.equal(await page.getAttribute("th:has-text('Doubtful')", "aria-sort"), "descending");
    await page.selectOption("#status-filter", "unreadable");
    assert.equal(await page.locator("#files-body tr").count(), 1);
    await page.selectOption("#status-filter", "");
    await page.fill("#name-filter", talk.name.toUpperCase());
    assert.equal(await page.locator("#files-body tr").count(), 1);
    assert.ok(await page.isHidden("#no-files"));
    await page.fill("#name-filter", "no such name");
    assert.ok(await page.isVisible("#no-files"));
  },

  async plays(page) {
    await openTalk(page);
    await ready(page);
    await page.locator("#entries .go").first().click();
    await page.waitForFunction(
      (start) => document.querySelector("#player").currentTime > start + 0.3,
      talk.segments[0].start,
    );
    assert.equal(await page.$eval("#player", (player) => player.paused), false);
    await page.click("#file-title");
    await page.keyboard.press("k");
    await page.waitForFunction(() => document.querySelector("#player").paused);
  },

  async "shows the right caption at the right time"(page) {
    await openTalk(page);
    await ready(page);
    for (const [start, end, text] of talk.cues) {
      await seekAndPause(page, (start + end) / 2000);
      await page.waitForFunction(
        (wanted) => {
          const active = [...document.querySelector("#player").textTracks[0].activeCues];
          return active.length === 1 && active[0].getCueAsHTML().textContent === wanted;
        },
        text,
        { timeout: 5000 },
      );
    }
    await seekAndPause(page, talk.silent);
    await page.waitForFunction(() => document.querySelector("#player").textTracks[0].activeCues.length === 0);
  },

  async "shows the captions of an audio file above its controls"(page) {
    await page.locator("#files-body a", { hasText: "onerror" }).click();
    await ready(page);
    const above = async (seconds) => {
      await seekAndPause(page, seconds);
      await page.waitForTimeout(200);
      const { x, y, width, height } = await page.locator("#player").boundingBox();
      return page.screenshot({ clip: { x, y, width, height: height - 60 } });
    };
    const [silent, told, silentAgain] = [await above(2.7), await above(0.5), await above(2.8)];
    assert.ok(silent.equals(silentAgain));
    assert.ok(!silent.equals(told));
  },

  async "seeks by click on the heat map"(page) {
    await openTalk(page);
    await ready(page);
    await clickAt(page, 0.75);
    await page.waitForFunction(
      (wanted) => document.querySelector("#player").currentTime >= wanted,
      0.75 * talk.duration - 0.2,
    );
    near(await now(page), 0.75 * talk.duration, 1.5);
    assert.equal(await page.$eval("#player", (player) => player.paused), false);
  },

  async "draws the heat map where the sound is"(page) {
    await openTalk(page);
    const names = await page.$$eval("#lanes div", (labels) => labels.map((label) => label.textContent));
    for (const name of ["Loudness", "Voice heard", "Speech", "Sounds", ...talk.groups])
      assert.ok(names.includes(name), `${name} in ${names}`);
    const depth = await page.evaluate(
      ([place, shares]) => {
        const canvas = document.querySelector("#timeline");
        const label = document.querySelectorAll("#lanes div")[place];
        const scale = canvas.height / canvas.getBoundingClientRect().height;
        const y = (label.getBoundingClientRect().top - canvas.getBoundingClientRect().top + 6) * scale;
        const line = canvas.getContext("2d").getImageData(0, y, canvas.width, 1).data;
        return shares.map((share) =>
          line
            .slice(4 * Math.round(share * canvas.width))
            .slice(0, 3)
            .join(),
        );
      },
      [names.indexOf("Music"), [talk.music / talk.duration, talk.silent / talk.duration]],
    );
    assert.notEqual(depth[0], depth[1]);
  },

  async zooms(page) {
    await openTalk(page);
    await ready(page);
    await seekAndPause(page, 5);
    await page.click("#zoom-in");
    await page.click("#zoom-in");
    await clickAt(page, 0.5);
    await page.waitForFunction(() => !document.querySelector("#player").seeking);
    // twice as close and again, around the fifth second: a quarter of the file is seen
    near(await now(page), 5 + talk.duration / 8 - 0.25 * 5, 1.5);
    await page.click("#zoom-all");
    await page.$eval("#player", (player) => player.pause());
    await clickAt(page, 0.25);
    await page.waitForFunction(() => !document.querySelector("#player").seeking);
    near(await now(page), 0.25 * talk.duration, 1.5);
  },

  async "seeks by click on a cue, and follows the player"(page) {
    await openTalk(page);
    await ready(page);
    const last = talk.segments.at(-1);
    await entry(page, last.text.trim()).click({ position: { x: 200, y: 5 } });
    await page.waitForFunction(
      (start) => document.querySelector("#player").currentTime >= start - 0.1,
      last.start,
    );
    near(await now(page), last.start, 1.5);
    await page.waitForSelector(`#entries .entry[aria-current]:has-text("${last.text.trim()}")`);
  },

  async "marks doubts and sounds that are not shown"(page) {
    await openTalk(page);
    const marks = (text) => entry(page, text).locator(".marks").textContent();
    assert.match(await marks(talk.invented), /possible hallucination: no voice is heard here/);
    assert.match(await marks(talk.unsure), /unsure of the words.*confidence 41 %/);
    assert.match(await marks(talk.dropped), /not shown: repeats within ten seconds/);
    assert.doesNotMatch(await marks(talk.segments[0].text.trim()), /hallucination|unsure/);
    assert.equal(await entry(page, talk.segments[0].text.trim()).locator(".unsure").textContent(), " there,");
    assert.equal(await page.locator("#entries .entry").count(), talk.segments.length + 2);
    await page.selectOption("#entry-filter", "doubtful");
    assert.equal(await page.locator("#entries .entry").count(), 2);
    await page.selectOption("#entry-filter", "changed");
    assert.ok(await page.isVisible("#no-entries"));
  },

  async "goes from one doubtful place to the next"(page) {
    await openTalk(page);
    await ready(page);
    for (const text of [talk.unsure, talk.invented]) {
      await page.click("#next-doubt");
      await page.waitForSelector(`#entries .entry[aria-current]:has-text("${text}")`);
    }
    await page.click("#file-title");
    await page.keyboard.press("Home");
    await seekAndPause(page, 0);
    await page.keyboard.press("d");
    await page.waitForSelector(`#entries .entry[aria-current]:has-text("${talk.unsure}")`);
    await page.goto(pathToFileURL(site.page).href + "#files");
    await page.click('#files-body a:has-text("silent.wav")');
    await page.waitForSelector("#file-body:not([hidden])");
    assert.ok(await page.isHidden("#next-doubt"));
    assert.ok(await page.isVisible("#no-entries"));
  },

  async "tells where in the list a file stands"(page) {
    await openTalk(page);
    const [, place, files] = (await page.textContent("#file-place")).match(/^(\d) of (\d)$/).map(Number);
    assert.equal(files, talk.rows.filter(([, outcome]) => !/unreadable|failed|not captioned/.test(outcome)).length);
    await page.click(place > 1 ? "#previous-file" : "#next-file");
    await page.waitForFunction(
      (text) => document.querySelector("#file-place").textContent === text,
      `${place > 1 ? place - 1 : place + 1} of ${files}`,
    );
  },

  async "searches the texts of all files"(page) {
    await page.fill("#search", talk.search);
    await page.keyboard.press("Enter");
    await page.waitForFunction(() =>
      /in \d+ file/.test(document.querySelector("#results-state").textContent),
    );
    assert.equal(await page.textContent("#results-state"), "3 lines in 3 files");
    await page.click(`#results > li:has-text("${talk.name}") a`);
    await ready(page);
    await page.waitForFunction(
      (start) => Math.abs(document.querySelector("#player").currentTime - start) < 0.1,
      talk.found,
    );
  },

  async "shows hostile names and texts and runs none"(page) {
    const name = page.locator("#files-body a", { hasText: "onerror" });
    assert.ok((await name.textContent()).includes(talk.hostileName.replace("\u202e", "U+202E")));
    await name.click();
    await page.waitForSelector("#entries .entry");
    const text = await page.locator("#entries .text").first().textContent();
    assert.equal(
      text,
      talk.hostileText.replace("\u202e", "U+202E").replace("\u2028", "U+2028").replace("\u200f", "U+200F"),
    );
    await ready(page);
    await seekAndPause(page, 0.5);
    await page.waitForFunction(() => document.querySelector("#player").textTracks[0].activeCues.length === 1);
    await page.fill("#search", "script");
    await page.keyboard.press("Enter");
    await page.waitForSelector("#results a");
    assert.equal(await page.evaluate(() => globalThis.hit), undefined);
    assert.equal(await page.locator("img, main script, main style, main iframe").count(), 0);
  },

  async "saves corrections as a sidecar"(page) {
    await openTalk(page);
    await ready(page);
    const open = async (text) => {
      await entry(page, text).locator(".correct").click();
      return page.locator("#entries form");
    };
    let form = await open(talk.segments[0].text.trim());
    await form.locator("textarea").fill(talk.correction.text);
    await form.locator("input").nth(1).fill(talk.correction.end);
    await form.locator("button", { hasText: "Apply" }).click();
    await entry(page, talk.correction.text).locator(".mark.changed").waitFor();

    form = await open("[Music]");
    await form.locator("input").first().fill(talk.correction.sound);
    await page.keyboard.press("Enter");
    await entry(page, `[${talk.correction.sound}]`).waitFor();

    form = await open(talk.invented);
    await form.locator("input[type=checkbox]").uncheck();
    await form.locator("button", { hasText: "Apply" }).click();

    await seekAndPause(page, talk.silent);
    await page.click("#add-speech");
    await page.locator("#entries form textarea").fill(talk.correction.added);
    await page.locator("#entries form button", { hasText: "Apply" }).click();
    await entry(page, talk.correction.added).waitFor();

    await seekAndPause(page, talk.segments[0].start + 0.1);
    await page.waitForFunction(
      (text) =>
        document.querySelector("#player").textTracks[0].activeCues[0]?.getCueAsHTML().textContent === text,
      talk.correction.text,
    );

    const [download] = await Promise.all([page.waitForEvent("download"), page.click("#save")]);
    assert.equal(download.suggestedFilename(), "talk.json");
    await download.saveAs(path.join(site.downloads, "talk.json"));
    assert.equal(await page.textContent("#corrections"), "4 corrections, saved");
  },

  async "keeps corrections while another file is looked at"(page) {
    await openTalk(page);
    await entry(page, talk.segments[0].text.trim()).locator(".correct").click();
    await page.locator("#entries textarea").fill("Kept.");
    await page.locator("#entries form button", { hasText: "Apply" }).click();
    await page.click("#next-file, #previous-file");
    await page.waitForFunction(
      (name) => !document.querySelector("#file-title").textContent.includes(name),
      talk.name,
    );
    await page.goBack();
    await entry(page, "Kept.").waitFor();
    assert.match(await page.textContent("#corrections"), /1 correction, not saved/);
  },

  async "refuses corrections that make no sense"(page) {
    await openTalk(page);
    await entry(page, talk.segments[0].text.trim()).locator(".correct").click();
    const form = page.locator("#entries form");
    for (const [field, value, problem] of [
      ["From", "soon", "1:02:03"],
      ["From", "0:19", "ends before"],
      ["From", "9:00", "ends before"],
    ]) {
      await form.getByLabel(field).fill(value);
      await form.locator("button", { hasText: "Apply" }).click();
      assert.ok((await form.locator(".problem").textContent()).includes(problem));
    }
    await page.keyboard.press("Escape");
    assert.equal(await form.count(), 0);
    assert.ok(await page.isDisabled("#save"));
  },

  async "can be used with the keyboard alone"(page) {
    await page.keyboard.press("/");
    assert.equal(await page.evaluate(() => document.activeElement.id), "search");
    await page.locator(`#files-body a:has-text("${talk.name}")`).focus();
    await page.keyboard.press("Enter");
    await ready(page);
    assert.equal(await page.evaluate(() => document.activeElement.id), "file-title");
    await page.focus("#timeline");
    for (let press = 0; press < 3; press++) await page.keyboard.press("ArrowRight");
    near(await now(page), 3, 0.1);
    await page.keyboard.press("End");
    near(await now(page), talk.duration, 0.3);
    await page.keyboard.press("Home");
    assert.match(await page.getAttribute("#timeline", "aria-valuetext"), /^0:00\.0 of/);
    await page.keyboard.press("n");
    await page.waitForSelector("#entries .entry[aria-current]");
    await page.keyboard.press("e");
    await page.waitForSelector("#entries form");
    await page.keyboard.type("kjl");
    assert.equal(await page.locator("#entries form").count(), 1);
    await page.keyboard.press("Escape");
    await page.uncheck("#shortcuts");
    await page.focus("#timeline");
    await page.keyboard.press("f");
    assert.ok(await page.isVisible("#file-view"));
    await page.check("#shortcuts");
    await page.focus("#timeline");
    await page.keyboard.press("f");
    await page.waitForSelector("#files-view:not([hidden])");
    await page.keyboard.press("?");
    assert.ok(await page.isVisible("#help"));
  },

  async "passes the accessibility checker"(page) {
    const check = async (place) => {
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => globalThis.axe.run());
      const serious = violations.map(({ id, impact, nodes }) => `${place}: ${impact} ${id} ${nodes[0].html}`);
      assert.deepEqual(serious, []);
    };
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      await page.goto(pathToFileURL(site.page).href);
      await page.reload();
      await page.click("#help-button");
      await check(`files ${colorScheme}`);
      await openTalk(page);
      await ready(page);
      await page.locator("#entries .go").first().click();
      await page.locator(".correct").nth(1).click();
      await check(`file ${colorScheme}`);
      await page.$eval("#player", (player) => player.pause());
      await page.fill("#search", talk.search);
      await page.keyboard.press("Enter");
      await page.waitForSelector("#results a");
      await check(`search ${colorScheme}`);
    }
  },

  async "works where the media file is gone"(page) {
    await page.click(`#files-body a:has-text("${talk.gone}")`);
    await page.waitForFunction(() =>
      document.querySelector("#player-problem").textContent.includes("cannot play"),
    );
    await page.focus("#timeline");
    await page.keyboard.press("ArrowRight");
    assert.equal(await page.getAttribute("#timeline", "aria-valuenow"), "1.0");
    assert.ok((await page.textContent("#quiet")).includes("No loudness"));
  },

  async "stays usable with a thousand files"(page) {
    await page.goto(pathToFileURL(site.large).href);
    assert.equal(await page.textContent("#files-count"), "1000 of 1000 files");
    assert.ok((await page.locator("#files-body tr").count()) < 1000);
    await page.click("#more-files");
    await page.fill("#name-filter", "file 0987");
    await page.click("#files-body a");
    await entry(page, "number 0987").waitFor();
    await page.fill("#search", "0042 number");
    await page.keyboard.press("Enter");
    await page.waitForFunction(
      () => document.querySelector("#results-state").textContent === "1 line in 1 file",
    );
    assert.equal(await page.locator("head script").count(), 0);
  },
};

const MEDIA_GONE = ["works where the media file is gone", "stays usable with a thousand files"];

async function policyScenario(browser) {
  const page = await browser.newPage();
  await page.goto(pathToFileURL(site.page).href);
  const blocked = await page.evaluate(async () => {
    const found = [];
    addEventListener("securitypolicyviolation", (event) => found.push(event.effectiveDirective));
    await fetch("http://127.0.0.1:9/").catch(() => {});
    const inline = document.createElement("div");
    inline.innerHTML =
      "<img src='http://127.0.0.1:9/x.png' onerror='globalThis.hit = 1'><style>p { color: red }</style>";
    document.body.append(inline);
    await new Promise((resolve) => setTimeout(resolve, 200));
    return [...new Set(found)].sort();
  });
  for (const directive of ["connect-src", "img-src", "script-src-attr", "style-src-elem"])
    assert.ok(blocked.includes(directive), `${directive} in ${blocked}`);
  assert.equal(await page.evaluate(() => globalThis.hit), undefined);
  await page.close();
}

async function main() {
  const browser = await chromium.launch({ executablePath: site.browser, args: FLAGS });
  const verdicts = {};
  for (const [name, scenario] of Object.entries(SCENARIOS)) {
    const context = await browser.newContext({ offline: true, acceptDownloads: true });
    const page = await context.newPage();
    const faults = [];
    page.setDefaultTimeout(15_000);
    page.on(
      "console",
      (message) => ["error", "warning"].includes(message.type()) && faults.push(message.text()),
    );
    page.on("pageerror", (error) => faults.push(error.stack));
    page.on("dialog", (dialog) =>
      dialog.type() === "beforeunload" ? dialog.accept() : faults.push(`dialog: ${dialog.message()}`),
    );
    context.on(
      "request",
      (request) => /^(file|blob|data):/.test(request.url()) || faults.push(`request: ${request.url()}`),
    );
    try {
      await page.goto(pathToFileURL(site.page).href);
      await scenario(page);
      // a media file that is not there is told by the browser itself too
      const own = faults.filter((fault) => !/ERR_FILE_NOT_FOUND/.test(fault) || !MEDIA_GONE.includes(name));
      assert.deepEqual(own, []);
      verdicts[name] = null;
    } catch (error) {
      verdicts[name] = `${error.message}\n${error.stack}\n${faults.join("\n")}`;
    }
    await context.close();
  }
  const policy = "forbids what a page of its kind must not do";
  verdicts[policy] = await policyScenario(browser).then(
    () => null,
    (error) => String(error.stack),
  );
  await browser.close();
  process.stdout.write(JSON.stringify(verdicts));
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exitCode = 1;
});
