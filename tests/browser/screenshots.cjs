// Pictures of a review page for the documents. Usage: node screenshots.cjs NODE_MODULES BROWSER PAGE FOLDER [FILE]
//
// Writes FOLDER/review-files.png (the list) and FOLDER/review.png (FILE of the list, or its first, a few seconds in).
"use strict";

const path = require("node:path");
const { pathToFileURL } = require("node:url");

const [modules, browser, target, folder, file = ""] = process.argv.slice(2);
const { chromium } = require(path.join(modules, "playwright-core"));

async function main() {
  const window = await chromium.launch({ executablePath: browser, args: ["--no-sandbox", "--disable-gpu"] });
  const page = await window.newPage({ viewport: { width: 1200, height: 760 }, colorScheme: "light" });
  await page.goto(pathToFileURL(path.resolve(target)).href);
  await page.screenshot({ path: path.join(folder, "review-files.png") });
  await page.locator("#files-body a", { hasText: file }).first().click();
  await page.waitForFunction(() => document.querySelector("#player").readyState >= 2);
  await page.locator("#entries .go").nth(1).click();
  await page.waitForTimeout(700);
  await page.$eval("#player", (player) => player.pause());
  await page.mouse.move(0, 0);
  await page.waitForTimeout(300);
  await page.screenshot({ path: path.join(folder, "review.png") });
  await window.close();
}

main();
