// Opens pages in a browser as people do: axe finds nothing in light, dark and narrow, nothing is asked of anybody, values
// under the crosshair are those of the table, keys move it, and without scripts the tables are there.
//
//   node page_check.mjs PAGE.html…      MODULES is the folder that has axe-core and playwright-core installed
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const require = createRequire(resolve(process.env.MODULES, 'node_modules', 'x.js'));
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
let failed = 0;

function check(name, ok, why = '') {
  console.log(`${ok ? 'ok   ' : 'FAIL '} ${name}${ok ? '' : `: ${why}`}`);
  if (!ok) failed += 1;
}

async function opened(browser, page, options) {
  const context = await browser.newContext(options);
  const tab = await context.newPage();
  const [asked, said] = [[], []];
  tab.on('request', (request) => asked.push(request.url()));
  tab.on('console', (message) => { if (message.type() === 'error') said.push(message.text()); });
  tab.on('pageerror', (error) => said.push(String(error)));
  await tab.goto(pathToFileURL(resolve(page)).href);
  return { context, tab, asked, said };
}

async function accessible(browser, page, name, options) {
  const { context, tab, asked, said } = await opened(browser, page, options);
  check(`${name}: nothing is asked of anybody`, asked.length === 1, asked.slice(1).join(' '));
  check(`${name}: no error`, said.length === 0, said.join('; '));
  for (const details of ['closed', 'open']) {
    await tab.evaluate((open) => document.querySelectorAll('details').forEach((one) => { one.open = open; }), details === 'open');
    // What axe makes of the page itself is judged, not what its own script may do under the page's policy.
    const { violations } = await tab.evaluate(`${axe}; axe.run(document, { resultTypes: ['violations'] })`);
    const found = violations.map((one) => `${one.id} (${one.nodes.length}): ${one.nodes[0].html.slice(0, 160)}`);
    check(`${name}, tables ${details}: axe finds nothing`, found.length === 0, found.join('\n      '));
  }
  const overflow = await tab.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  check(`${name}: no wider than the window`, overflow <= 0, `${overflow} points`);
  await context.close();
}

// The first chart: what stands in its tip, and what in its table.
async function crosshair(browser, page) {
  const { context, tab } = await opened(browser, page, { viewport: { width: 1280, height: 900 } });
  const scrub = tab.locator('figure[data-kind=points] .wide .scrub').first();
  const figure = tab.locator('figure[data-kind=points]').first();
  await scrub.scrollIntoViewIfNeeded();
  const row = (index) => figure.locator('.data tbody tr').nth(index).locator('td').allTextContents();
  const tip = () => scrub.locator('.tip strong').allTextContents();
  const last = Number(await scrub.getAttribute('aria-valuemax'));
  const box = await scrub.boundingBox();
  await tab.mouse.move(box.x + box.width - 1, box.y + box.height / 2);
  const cells = (await row(last)).slice(1).filter((cell) => cell !== '');
  check('the pointer at the right shows the last row', JSON.stringify(await tip()) === JSON.stringify(cells), `${await tip()} and ${cells}`);
  await tab.mouse.move(0, 0);
  check('away from the chart nothing is shown', await scrub.locator('.tip').count() === 0);
  await scrub.focus();
  for (const [key, index] of [['Home', 0], ['ArrowRight', 1], ['End', last], ['ArrowLeft', last - 1]]) {
    await tab.keyboard.press(key);
    const expected = (await row(index)).slice(1).filter((cell) => cell !== '');
    check(`${key} shows row ${index}`, JSON.stringify(await tip()) === JSON.stringify(expected), `${await tip()} and ${expected}`);
    check(`${key} is said`, Number(await scrub.getAttribute('aria-valuenow')) === index);
  }
  await tab.keyboard.press('Escape');
  check('Escape hides it', await scrub.locator('.tip').count() === 0);
  await context.close();
}

async function withoutScripts(browser, page) {
  const { context, tab } = await opened(browser, page, { javaScriptEnabled: false });
  const figure = tab.locator('figure[data-kind]').first();
  await figure.locator('summary').click();
  check('without scripts the table behind a chart opens', await figure.locator('.data table').isVisible());
  await context.close();
}

async function search(browser, page) {
  const { context, tab } = await opened(browser, page, {});
  const rows = tab.locator('.runs tbody tr');
  const all = await rows.count();
  await tab.locator('input[type=search]').fill('no findings');
  const shown = await rows.locator('visible=true').count();
  check('the search leaves the runs that have the words', shown > 0 && shown < all, `${shown} of ${all}`);
  const links = tab.locator('.runs a');
  const report = new URL(await links.first().getAttribute('href'), tab.url());
  check('links lead to reports', readFileSync(report, 'utf8').includes('<h1>'), report.href);
  await context.close();
}

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] });
for (const page of process.argv.slice(2)) {
  console.log(page);
  for (const [name, options] of [
    ['light', { viewport: { width: 1280, height: 900 }, colorScheme: 'light' }],
    ['dark', { viewport: { width: 1280, height: 900 }, colorScheme: 'dark' }],
    ['narrow', { viewport: { width: 390, height: 800 }, colorScheme: 'light' }],
  ]) {
    await accessible(browser, page, name, options);
  }
  if (page.endsWith('index.html')) await search(browser, page);
  await crosshair(browser, page);
  await withoutScripts(browser, page);
}
await browser.close();
process.exit(failed > 0 ? 1 : 0);
