// Use the page as people do, in headless Chromium: node browse_play.cjs PAGE FOLDER CHROMIUM. Prints JSON.
const { chromium } = require("playwright-core");

const [, , page_, folder, executablePath] = process.argv;
const result = { messages: [], requests: [], widths: {}, seen: {} };

async function open(browser, width, colorScheme, reducedMotion, more = {}) {
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme, reducedMotion, ...more });
  const page = await context.newPage();
  page.setDefaultTimeout(20000);
  page.on("console", (message) => result.messages.push(message.text()));
  page.on("pageerror", (error) => result.messages.push(error.stack));
  page.on("request", (request) => result.requests.push(request.url()));
  await page.goto("file://" + page_);
  return page;
}

const text = (page, id) => page.locator(`#${id}`).textContent();
const rows = (page, id) =>
  page
    .locator(`#${id} tbody tr`)
    .evaluateAll((trs) =>
      trs.map((tr) => [...tr.cells].map((cell) => Number(cell.textContent.replace("\u2212", "-")))),
    );
const press = async (page, key, times = 1) => {
  for (let k = 0; k < times; k++) await page.keyboard.press(key);
};

/** What does not depend on actions: layout, names for screen readers, a picture. */
async function look(browser, width, scheme) {
  const page = await open(
    browser,
    width,
    scheme,
    "reduce",
    width < 640 ? { deviceScaleFactor: 2, hasTouch: true } : {},
  );
  await press(page, "Tab", 3);
  await page.keyboard.press("Tab"); // function, speed, run, step
  await press(page, "Enter", 12);
  for (let k = 0; k < 12; k++) await page.click("#descent-step");
  await page.screenshot({ path: `${folder}/${width}-${scheme}.png`, fullPage: true });
  result.widths[`${width} ${scheme}`] = await page.evaluate(() => ({
    overflow: document.documentElement.scrollWidth - window.innerWidth,
    ground: getComputedStyle(document.body).backgroundColor,
    sharp: [...document.querySelectorAll("canvas")].every(
      (c) => Math.abs(c.width - c.clientWidth * devicePixelRatio) <= 1,
    ),
    nameless: [...document.querySelectorAll("button, select, input, canvas, summary")]
      .filter(
        (e) =>
          !(
            e.getAttribute("aria-label") ||
            e.textContent.trim() ||
            (e.labels && e.labels.length && e.labels[0].textContent.trim())
          ),
      )
      .map((e) => e.outerHTML),
    small: [...document.querySelectorAll("button:not([hidden]), select")].filter(
      (e) => e.getBoundingClientRect().height < 36,
    ).length,
    blank: [...document.querySelectorAll("canvas")]
      .filter((c) => {
        const { data } = c.getContext("2d").getImageData(0, 0, c.width, c.height);
        return new Set(new Uint32Array(data.buffer)).size < 10;
      })
      .map((c) => c.id),
  }));
  await page.context().close();
}

/** Moves on its own, pauses, goes on, ends. */
async function watch(browser) {
  const page = await open(browser, 1000, "light", "no-preference"),
    { seen } = result;
  await page.waitForFunction(() => document.getElementById("search-learned-best").textContent);
  seen.itMoves = true;
  await page.click("#search-run");
  const before = await page.locator("#search-learned").getAttribute("aria-label");
  await page.waitForTimeout(700);
  seen.itPauses = before === (await page.locator("#search-learned").getAttribute("aria-label"));
  await page.selectOption("#search-speed", "60");
  await page.click("#search-run");
  await page.waitForFunction(() => document.getElementById("search-run").textContent === "Run again");
  seen.status = await text(page, "search-status");
  await page.locator("#descent-map").scrollIntoViewIfNeeded();
  await page.waitForFunction(() => document.getElementById("descent-run").textContent === "Pause");
  seen.descentMoves = true;
  await page.selectOption("#search-function", "gp-1");
  await page.click("#search-run"); // pause
  await page.click("#search-luck");
  await page.waitForFunction(() => document.getElementById("search-luck-result").textContent, { timeout: 120000 });
  seen.luck = await text(page, "search-luck-result");
  await page.context().close();
}

async function useKeysAndPointer(browser) {
  const page = await open(browser, 800, "light", "reduce"),
    { seen } = result;
  const value = (id) => page.locator(`#${id}`).getAttribute("aria-valuetext");
  await page.waitForTimeout(500);
  seen.stillAtFirst = (await text(page, "search-learned-best")) === "";
  await page.click("#search-numbers summary");
  for (const name of await page.locator("#search-function option").evaluateAll((all) => all.map((one) => one.value))) {
    await page.selectOption("#search-function", name);
    for (let k = 0; k < 3; k++) await page.click("#search-step");
    (seen.functions ??= {})[name] = await rows(page, "search-numbers");
  }
  await page.selectOption("#search-function", "draw");
  await page.focus("#search-learned");
  await press(page, "ArrowLeft", 30);
  seen.placeByKeys = await value("search-learned");
  await press(page, "ArrowDown", 40);
  seen.drawnByKeys = await value("search-learned");
  const box = await page.locator("#search-random").boundingBox();
  await page.mouse.move(box.x + 12, box.y + box.height - 26);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width - 12, box.y + 26, { steps: 7 });
  await page.mouse.up();
  seen.drawnByMouse = await value("search-random");
  await page.click("#search-step");
  seen.line = (await rows(page, "search-numbers"))[0]; // a line from 0 to 1

  await page.selectOption("#search-function", "dig");
  await page.click("#search-clear");
  await page.focus("#search-learned");
  await press(page, "ArrowLeft", 20);
  await press(page, "ArrowUp", 4);
  await page.keyboard.press("Enter");
  seen.dugAt = await value("search-learned");

  await page.click("#descent-numbers summary");
  await page.focus("#descent-map");
  await press(page, "ArrowRight", 2);
  await page.keyboard.press("Shift+ArrowDown");
  seen.start = await value("descent-map");
  await page.selectOption("#descent-speed", "30");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.getElementById("descent-run").textContent === "Run again");
  seen.descent = await rows(page, "descent-numbers");
  seen.rates = await text(page, "descent-about");
  seen.descentStatus = await text(page, "descent-status");
  for (const name of await page.locator("#descent-surface option").evaluateAll((all) => all.map((one) => one.value))) {
    await page.selectOption("#descent-surface", name);
    await page.click("#descent-step");
    (seen.surfaces ??= {})[name] = await rows(page, "descent-numbers");
  }
  seen.selfTest = await text(page, "self-test");
  await page.context().close();
}

async function touch(browser) {
  const page = await open(browser, 390, "dark", "reduce", { hasTouch: true, isMobile: true, deviceScaleFactor: 2 }),
    { seen } = result;
  await page.locator("#search-step").tap();
  seen.steppedByTouch = await text(page, "search-learned-best");
  await page.selectOption("#search-function", "dig");
  await page.locator("#search-learned").tap({ position: { x: 100, y: 40 } });
  seen.dugByTouch = await page.locator("#search-learned").getAttribute("aria-valuetext");
  await page.locator("#descent-map").tap({ position: { x: 90, y: 60 } });
  seen.startByTouch = await page.locator("#descent-map").getAttribute("aria-valuetext");
  // The swipe comes last, because Chromium takes a tap soon after one for its end.
  await page.selectOption("#search-function", "draw");
  await page.locator("#search-learned").scrollIntoViewIfNeeded();
  const box = await page.locator("#search-learned").boundingBox(),
    scrolled = await page.evaluate(() => window.scrollY);
  const client = await page.context().newCDPSession(page),
    at = (x, y) => [{ x: box.x + x, y: box.y + y }];
  await client.send("Input.dispatchTouchEvent", { type: "touchStart", touchPoints: at(12, 26) });
  for (let k = 1; k <= 8; k++) {
    const touchPoints = at(12 + ((box.width - 24) * k) / 8, 26 + ((box.height - 52) * k) / 8);
    await client.send("Input.dispatchTouchEvent", { type: "touchMove", touchPoints });
  }
  await client.send("Input.dispatchTouchEvent", { type: "touchEnd", touchPoints: [] });
  seen.drawnByTouch = await page.locator("#search-learned").getAttribute("aria-valuetext");
  seen.scrolledByTouch = (await page.evaluate(() => window.scrollY)) - scrolled;
  await page.context().close();
}

(async () => {
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  for (const scheme of ["light", "dark"]) for (const width of [320, 390, 768, 1600]) await look(browser, width, scheme);
  await watch(browser);
  await useKeysAndPointer(browser);
  await touch(browser);
  await browser.close();
  console.log(JSON.stringify(result));
})();
