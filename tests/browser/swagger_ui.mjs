// Drives Swagger UI as a person does: by clicks. Prints what was shown, as JSON.
//
//   node swagger_ui.mjs URL CHROMIUM PROFILE SCREENSHOT [KEY]

import { chromium } from "playwright-core";

const [url, executablePath, profile, screenshot, key] = process.argv.slice(2);
const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const browser = await chromium.launchPersistentContext(profile, {
  executablePath,
  args: FLAGS,
  viewport: { width: 1280, height: 1600 },
});
try {
  console.log(JSON.stringify(await visit(browser.pages()[0] ?? (await browser.newPage()))));
} finally {
  await browser.close();
}

async function visit(page) {
  page.setDefaultTimeout(30_000);
  const troubles = listen(page);
  await page.goto(`${url}/ui`);
  await page.locator("#operations-predict-openPredictor").waitFor();
  const title = await page.locator(".info .title").innerText();
  if (key) await authorize(page);
  const open = await execute(page, "predict-openPredictor");
  const predictor = { id: open.body.id };
  const images = await execute(page, "predict-predictImages", (body) => ({ ...body, predictor }));
  await page.locator("#operations-predict-predictImages .live-responses-table").scrollIntoViewIfNeeded();
  await page.screenshot({ path: screenshot });
  const close = await execute(page, "predict-closePredictor", (body) => ({ ...body, predictor }));
  return { title, open, images, close, troubles };
}

// What the page itself should never do: complain, fail, or ask anybody else.
function listen(page) {
  const troubles = [];
  const note = (kind, text) => troubles.push(`${kind}: ${text}`);
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) note(message.type(), message.text());
  });
  page.on("pageerror", (error) => note("exception", error.message));
  page.on("requestfailed", (request) => note("failed", `${request.url()} ${request.failure()?.errorText}`));
  page.on("response", (response) => {
    if (response.status() >= 400) note("status", `${response.status()} ${response.url()}`);
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith("data:")) note("elsewhere", request.url());
  });
  return troubles;
}

async function authorize(page) {
  await page.getByRole("button", { name: "Authorize" }).first().click();
  await page.locator(".auth-container input").fill(key);
  await page.locator(".modal-ux button.authorize").click();
  await page.locator(".modal-ux button.btn-done").click();
}

// Opens an operation, changes the example body that stands there, and executes it.
async function execute(page, id, change) {
  const operation = page.locator(`#operations-${id}`);
  await operation.locator(".opblock-summary-control").click();
  const tryOut = operation.getByRole("button", { name: "Try it out" });
  await operation.locator(".opblock-body").waitFor();
  if (await tryOut.count()) await tryOut.click();
  const text = operation.locator("textarea.body-param__text");
  const body = JSON.parse(await text.inputValue());
  if (change) await text.fill(JSON.stringify(change(body), null, 2));
  await operation.locator("button.execute").click();
  const answer = operation.locator(".live-responses-table tbody tr").first();
  await answer.waitFor();
  return {
    status: (await answer.locator(".response-col_status").innerText()).split("\n")[0],
    body: JSON.parse(await answer.locator(".response-col_description pre").first().innerText()),
  };
}
