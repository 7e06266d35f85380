// Goes through the page of a trace by keyboard alone. Prints what was found, as JSON.
//
//   node trace_page.mjs URL CHROMIUM PROFILE SCREENSHOT PDF

import { chromium } from "playwright-core";

const [url, executablePath, profile, screenshot, pdf] = process.argv.slice(2);
const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"];

const browser = await chromium.launchPersistentContext(profile, { executablePath, args: FLAGS, viewport: { width: 1280, height: 1400 } });
try {
  const page = browser.pages()[0] ?? (await browser.newPage());
  const troubles = [];
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && troubles.push(message.text()));
  page.on("request", (request) => !request.url().startsWith(new URL(url).origin) && troubles.push(request.url()));
  await page.goto(url);
  await page.screenshot({ path: screenshot, fullPage: true });

  const reached = [];
  for (let step = 0; step < 12; step++) {
    await page.keyboard.press("Tab");
    reached.push(await page.evaluate(() => document.activeElement.textContent.trim().split("\n")[0]));
  }
  const layer = page.locator("details.l3").first();
  const before = await layer.evaluate((element) => element.open);
  await layer.locator("> summary").focus();
  await page.keyboard.press("Enter");
  const after = await layer.evaluate((element) => element.open);
  await page.locator("#main, main").waitFor();
  await page.locator('a[href^="#s-"]').first().focus();
  await page.keyboard.press("Enter");
  const target = await page.evaluate(() => document.querySelector(":target")?.id ?? "");
  const wide = await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth);
  await page.setViewportSize({ width: 400, height: 900 });
  const narrow = await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth);
  await page.pdf({ path: pdf, format: "A4" });
  const headings = await page.getByRole("heading").allInnerTexts();
  console.log(JSON.stringify({ reached, before, after, target, wide, narrow, headings, troubles }));
} finally {
  await browser.close();
}
