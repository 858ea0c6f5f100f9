import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { scene, until } from '../lib/harness.mjs';
import { freePort, www } from '../lib/server.mjs';
import { accessible, connected, desktop, isThere, loggedIn, message, phone, say, waitForStatus } from '../lib/world.mjs';

const controlled = (page) => until('the worker controls the page', () => page.evaluate(() => navigator.serviceWorker.controller !== null));
/** The addresses that the browser has stored. */
const storedAddresses = (page) =>
  page.evaluate(async () => {
    const all = [];
    for (const name of await caches.keys()) for (const request of await (await caches.open(name)).keys()) all.push(request.url);
    return all;
  });

for (const folder of ['', '/relay']) {
  scene(`without a server the page still opens${folder === '' ? '' : ', in a folder of a larger site'}`, async (stage) => {
    const port = await freePort();
    const server = await stage.server([], port);
    const proxy = await stage.proxy(server, folder);
    const base = `${proxy.url}${folder}`;
    const context = await stage.browserContext();
    const page = await stage.tab(context, `${base}/#/?me=alice&to=bob`);
    await connected(page);
    await loggedIn(page);
    await controlled(page);
    const bob = await stage.chat(server.url, 'bob', 'alice');
    await isThere(page);
    await say(bob, 'kept nowhere');
    await message(page, 'kept nowhere').waitFor();
    await page.evaluate(() => fetch('healthz').then((response) => response.text()));

    // The page's own files, and nothing else.
    const files = (await storedAddresses(page)).map((url) => url.slice(`${base}/`.length));
    assert.ok(files.includes('') && files.includes('icon.svg') && files.some((name) => name.startsWith('assets/extras-')), files.join());
    const own = new Set(['', ...readdirSync(www).filter((name) => !/\.(br|gz)$/.test(name)), ...readdirSync(join(www, 'assets')).map((name) => `assets/${name}`)]);
    assert.deepEqual(files.filter((name) => !own.has(name)), []);
    const contents = await page.evaluate(async () => {
      let text = '';
      for (const name of await caches.keys()) {
        const cache = await caches.open(name);
        for (const request of await cache.keys()) text += await (await cache.match(request)).text();
      }
      return text;
    });
    assert.ok(!contents.includes('kept nowhere'));

    await bob.close();
    await server.stop();
    await page.reload();
    await page.locator('[data-test=connection-status][data-state=waiting]').waitFor();
    await page.getByText('The server does not answer.').first().waitFor();
    await accessible(page, 'the page without a server');
    await stage.shot(page, `offline${folder.replace('/', '-')}`);
    // A part that no tab has loaded, and a language.
    await page.getByRole('button', { name: 'Language: 中文' }).click();
    await page.locator('nav').getByRole('button', { name: '退出' }).waitFor();
    await page.goto(`${base}/#/operator`);
    await page.locator('[data-test=push-user]').waitFor();
    await page.goto(`${base}/#/with/bob`);
    await stage.server([], port);
    await connected(page);
  });
}

scene('a new version of the page is shown, and a part of the old one still loads', async (stage) => {
  const folder = mkdtempSync(join(tmpdir(), 'waystation-www-'));
  stage.onClear(() => rmSync(folder, { recursive: true }));
  cpSync(www, folder, { recursive: true });
  const port = await freePort();
  const options = ['--www', folder];
  const server = await stage.server(options, port);
  const page = await stage.tab(await stage.browserContext({ ...desktop, colorScheme: 'dark' }), `${server.url}/#/?me=alice`);
  await loggedIn(page);
  await controlled(page);
  assert.equal(await page.locator('[data-test=update]').count(), 0);

  // Another version: its script, and a part that is loaded later, have other names.
  const rename = (pattern, from) => {
    const name = readdirSync(join(folder, 'assets')).find((one) => pattern.test(one));
    const next = name.replace(from, 'Zz');
    assert.notEqual(next, name);
    for (const copy of readdirSync(join(folder, 'assets')).filter((one) => one.startsWith(name))) renameSync(join(folder, 'assets', copy), join(folder, 'assets', next + copy.slice(name.length)));
    return [name, next];
  };
  const names = [rename(/^index-.*\.js$/, /(?<=^index-)../), rename(/^OperatorPage-.*\.js$/, /(?<=^OperatorPage-)../)];
  const edit = (path) => {
    const text = names.reduce((all, [from, to]) => all.replaceAll(from, to), readFileSync(path, 'utf8'));
    // The version in the name of the worker's cache.
    writeFileSync(path, text.replace(/(?<=^const version=")[^"]*/, 'another version'));
    for (const coding of ['.br', '.gz']) rmSync(`${path}${coding}`, { force: true });
  };
  for (const name of readdirSync(join(folder, 'assets')).filter((one) => one.endsWith('.js'))) edit(join(folder, 'assets', name));
  edit(join(folder, 'index.html'));
  edit(join(folder, 'sw.js'));
  await server.stop();
  await stage.server(options, port);
  await page.locator('[data-test=update]').waitFor({ timeout: 30_000 });
  await accessible(page, 'a new version');
  await stage.shot(page, 'update-dark');
  await page.goto(`${server.url}/#/operator`);
  await page.locator('[data-test=push-user]').waitFor();
  await page.goto(`${server.url}/#/`);
  await page.locator('[data-test=update]').getByRole('button', { name: 'Reload' }).click();
  await until('the new version runs', () => page.evaluate(([, name]) => document.querySelector('script[type=module]')?.src.endsWith(name), names[0]).catch(() => false));
  await loggedIn(page);
  // The tab has asked the worker, and runs the version of the server.
  await page.reload();
  await loggedIn(page);
  assert.equal(await page.locator('[data-test=update]').count(), 0);
});

scene('the page can be installed', async (stage) => {
  const { url } = await stage.server();
  const page = await stage.tab(await stage.browserContext(), url);
  await page.locator('#me').waitFor();
  const client = await page.context().newCDPSession(page);
  const { errors, url: address } = await client.send('Page.getAppManifest');
  assert.deepEqual(errors, []);
  assert.equal(address, `${url}/manifest.json`);
  const { installabilityErrors } = await client.send('Page.getInstallabilityErrors');
  assert.deepEqual(installabilityErrors.filter(({ errorId }) => errorId !== 'in-incognito'), []);
  const worker = await page.evaluate(async () => {
    const { headers } = await fetch('sw.js');
    return [headers.get('Content-Type'), headers.get('Cache-Control'), (await navigator.serviceWorker.ready).scope];
  });
  assert.deepEqual(worker, ['text/javascript; charset=utf-8', 'no-cache', `${url}/`]);
});

scene('where pages cannot notify, the worker does', async (stage) => {
  const { url } = await stage.server();
  const context = await stage.browserContext(phone);
  await context.grantPermissions(['notifications'], { origin: url });
  await context.addInitScript(() => {
    // As on Android.
    const { permission } = Notification;
    globalThis.Notification = class {
      static permission = permission;
      constructor() {
        throw new TypeError('Illegal constructor');
      }
    };
    let state = 'visible';
    Object.defineProperty(document, 'visibilityState', { get: () => state });
    globalThis.show = (now) => {
      state = now;
      document.dispatchEvent(new Event('visibilitychange'));
    };
  });
  const bob = await stage.tab(context, `${url}/#/?me=bob`);
  await loggedIn(bob);
  await controlled(bob);
  await bob.evaluate(() => globalThis.show('hidden'));
  const alice = await stage.chat(url, 'alice', 'bob');
  await say(alice, 'Look here');
  await waitForStatus(alice, 'Look here', 'push');
  const shown = () => bob.evaluate(async () => (await (await navigator.serviceWorker.ready).getNotifications()).map(({ title, body }) => `${title}: ${body}`));
  await until('the worker shows it', async () => (await shown()).length > 0);
  assert.deepEqual(await shown(), ['Message from alice: Look here']);
  // The next user of this tab must not see it.
  await bob.evaluate(() => globalThis.show('visible'));
  await bob.locator('nav').getByRole('button', { name: 'Sign out' }).click();
  await bob.locator('[data-test=confirm]').getByRole('button', { name: 'Sign out' }).click();
  await until('it is closed', async () => (await shown()).length === 0);
});
