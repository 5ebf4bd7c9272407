// Pictures of a review page. Usage: node screenshots.cjs NODE_MODULES BROWSER PAGE FOLDER FILE SECONDS
//
// Writes FOLDER/review-files.png (the list) and FOLDER/review.png (FILE of the list, at SECONDS), and the same two of
// the dark scheme as …-dark.png.
"use strict";

const path = require("node:path");
const { pathToFileURL } = require("node:url");

const [modules, browser, target, folder, file, seconds] = process.argv.slice(2);
const { chromium } = require(path.join(modules, "playwright-core"));

async function main() {
  const window = await chromium.launch({ executablePath: browser, args: ["--no-sandbox", "--disable-gpu"] });
  for (const [colorScheme, ending] of [
    ["light", ""],
    ["dark", "-dark"],
  ]) {
    const page = await window.newPage({ viewport: { width: 1280, height: 800 }, colorScheme });
    const picture = (name) => page.screenshot({ path: path.join(folder, `${name}${ending}.png`) });
    await page.goto(pathToFileURL(path.resolve(target)).href);
    const { height } = await page.locator("table").boundingBox();
    await page.setViewportSize({ width: 1280, height: Math.ceil(height) + 210 });
    await picture("review-files");
    await page.setViewportSize({ width: 1280, height: 800 });
    await page.locator("#files-body a", { hasText: file }).first().click();
    await page.waitForFunction(() => document.querySelector("#player").readyState >= 2);
    await page.$eval("#player", (player, to) => (player.currentTime = to), Number(seconds));
    await page.waitForFunction(() => {
      const player = document.querySelector("#player");
      return !player.seeking && player.readyState === 4;
    });
    await page.waitForSelector("#entries .entry[aria-current]");
    await page.waitForTimeout(1000); // the caption and the player's controls are drawn
    await picture("review");
    await page.close();
  }
  await window.close();
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exitCode = 1;
});
