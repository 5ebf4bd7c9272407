// Opens a review page several times, each in a new browser. Usage: node review_page.cjs NODE_MODULES BROWSER PAGE TIMES
"use strict";

const path = require("node:path");
const { pathToFileURL } = require("node:url");

const [modules, browser, target, times] = process.argv.slice(2);
const { chromium } = require(path.join(modules, "playwright-core"));

async function timed(work) {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

async function main() {
  const found = { "opening the page": [], "opening a file": [], "searching all texts": [] };
  for (let time = 0; time < Number(times); time++) {
    const window = await chromium.launch({ executablePath: browser, args: ["--no-sandbox", "--disable-gpu"] });
    const page = await window.newPage({ viewport: { width: 1280, height: 800 } });
    found["opening the page"].push(
      await timed(async () => {
        await page.goto(pathToFileURL(target).href);
        await page.waitForSelector("#files-body tr:nth-child(300)");
        // the list was painted
        await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => setTimeout(done))));
      }),
    );
    found["opening a file"].push(
      await timed(async () => {
        await page.locator("#files-body a").nth(50).click();
        await page.waitForSelector("#entries .entry");
      }),
    );
    await page.fill("#search", "line 33");
    found["searching all texts"].push(
      await timed(async () => {
        await page.keyboard.press("Enter");
        await page.waitForFunction(() => / in \d+ files/.test(document.querySelector("#results-state").textContent));
      }),
    );
    await window.close();
  }
  process.stdout.write(JSON.stringify(found));
}

main();
