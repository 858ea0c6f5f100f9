import assert from 'node:assert/strict';
import { scene, until } from '../lib/harness.mjs';
import { freePort } from '../lib/server.mjs';
import { makeKey } from '../lib/token.mjs';
import { accessible, connected, desktop, isThere, loggedIn, message, phone, say, sayAtOnce, smallest, waitForever, waitForStatus } from '../lib/world.mjs';

const sideways = (page) => page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);

for (const [what, options] of [
  ['light', { ...desktop, colorScheme: 'light' }],
  ['dark', { ...desktop, colorScheme: 'dark' }],
  ['on a phone', { ...phone, colorScheme: 'dark' }],
]) {
  scene(`axe finds nothing serious, ${what}`, async (stage) => {
    const { url } = await stage.server();
    const name = what.replaceAll(' ', '-');
    const page = await stage.tab(await stage.browserContext(options), url);
    await page.locator('#me').waitFor();
    await accessible(page, 'signing in');
    await stage.shot(page, `sign-in-${name}`);
    await page.getByRole('button', { name: 'I have a token' }).click();
    await page.getByRole('button', { name: 'Use the token' }).click();
    await page.getByText('Not a valid token').waitFor();
    await accessible(page, 'an invalid token');
    await page.getByRole('button', { name: 'I have no token' }).click();
    await page.locator('#me').fill('alice');
    await page.keyboard.press('Enter');
    await loggedIn(page);
    await accessible(page, 'no conversation yet');

    const bob = await stage.chat(url, 'bob', 'alice');
    await say(bob, 'Hello from the push');
    if (options.isMobile) {
      // The list has the conversation's row, and no toast above its buttons.
      await page.locator('[data-test=unread]').waitFor();
      assert.equal(await page.locator('[data-test=toast]').count(), 0);
      await page.goto(`${url}/#/notices`);
    }
    await page.locator('[data-test=toast]').waitFor();
    await accessible(page, 'a toast');
    await stage.shot(page, `toast-${name}`);
    await page.locator('[data-test=toast] .open').click();
    await connected(page);
    await isThere(page);
    await say(page, 'Hello');
    await message(bob, 'Hello').waitFor();
    await say(page, '{"not": "json, but text"}');
    await bob.close();
    await until('bob is away', () => page.locator('[data-test=view][data-present=false]').count());
    await say(page, 'Still there?');
    await page.locator('[data-test=status]').getByText('Not delivered').waitFor();
    await accessible(page, 'a conversation');
    await stage.shot(page, `statuses-${name}`);

    await page.goto(`${url}/#/operator`);
    await page.locator('[data-test=push-user]').fill('alice');
    await page.locator('[data-test=presence-user]').waitFor();
    await accessible(page, 'the operator’s page');
    await stage.shot(page, `operator-${name}`);
    await page.goto(`${url}/#/notices`);
    await page.getByText('No notices yet.').waitFor();
    await accessible(page, 'notices');
    assert.equal(await sideways(page), 0);
  });
}

for (const colorScheme of ['light', 'dark']) {
  scene(`axe finds nothing serious in error states, ${colorScheme}`, async (stage) => {
    const key = makeKey();
    stage.onClear(key.remove);
    const port = await freePort();
    const options = ['--auth', 'jwt', '--jwt-key-file', key.file, '--messages-per-second', '1', '--message-burst', '2'];
    const server = await stage.server(options, port);
    const network = await stage.proxy(server);
    const context = await stage.browserContext({ ...desktop, colorScheme });
    await waitForever(context);
    const page = await stage.tab(context, `${network.url}/#/?token=${key.token('alice', 3600)}&to=bob`);
    await connected(page);
    await loggedIn(page);
    await fetch(`${server.url}/api/v1/push/alice`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${key.token('op', 3600, 'push')}`, 'Content-Type': 'application/json' },
      body: '{"disk":"full","on":["a","b"]}',
    });
    await page.locator('[data-test=toast]').waitFor();
    await page.goto(`${network.url}/#/notices`);
    await page.locator('[data-test=notice]').waitFor();
    await accessible(page, 'a notice');

    await page.goto(`${network.url}/#/with/bob`);
    await connected(page);
    // The server takes one each second: of so many, it refuses some on a slow machine, too.
    await sayAtOnce(page, Array.from({ length: 20 }, (_, n) => `message ${n}`));
    await page.locator('[data-test=message][data-status=failed]').first().waitFor();
    network.network.dead = true;
    await say(page, 'into the void');
    network.network.refuses = true;
    network.cut();
    await waitForStatus(page, 'into the void', 'unknown');
    await until('both connections wait', async () => (await page.evaluate(() => globalThis.endless)) === 2);
    await page.locator('[data-test=connection-status][data-state=waiting]').waitFor();
    await accessible(page, 'a failed and an unknown message, and a waiting connection');
    await stage.shot(page, `wrong-${colorScheme}`);

    network.network.dead = network.network.refuses = false;
    await page.getByRole('button', { name: 'Retry now' }).click();
    await connected(page);
    await loggedIn(page);
    await fetch(`${server.url}/api/v1/sessions/alice`, { method: 'DELETE', headers: { Authorization: `Bearer ${key.token('op', 3600, 'admin')}` } });
    await page.locator('[data-test=connection-status][data-state=closed]').waitFor();
    await accessible(page, 'a closed connection');

    const unsigned = await stage.tab(await stage.browserContext({ ...desktop, colorScheme }), `${server.url}/#/?me=bob&to=alice`);
    await unsigned.getByRole('button', { name: 'Enter a token' }).click();
    await unsigned.locator('#token').waitFor();
    await accessible(unsigned, 'a status that asks for a token');
    await stage.shot(unsigned, `token-${colorScheme}`);
  });
}

scene('both languages, from the browser and switched', async (stage) => {
  const { url } = await stage.server();
  const chinese = await stage.tab(await stage.browserContext({ ...desktop, locale: 'zh-CN' }), url);
  await chinese.getByText('登录').waitFor();
  assert.equal(await chinese.locator('html').getAttribute('lang'), 'zh-CN');
  assert.equal(await chinese.title(), '驿站');
  await chinese.locator('#me').fill('alice');
  await chinese.keyboard.press('Enter');
  await loggedIn(chinese);
  await chinese.locator('#peer').fill('bob');
  await chinese.keyboard.press('Enter');
  await connected(chinese);
  await say(chinese, '第二个里程碑');
  await chinese.locator('[data-test=status]').getByText('未送达').waitFor();
  await accessible(chinese, 'Chinese');
  await stage.shot(chinese, 'chinese');

  await chinese.getByRole('button', { name: '语言: English' }).click();
  await chinese.locator('[data-test=status]').getByText('Not delivered').waitFor();
  assert.equal(await chinese.locator('html').getAttribute('lang'), 'en');
  await chinese.reload();
  await connected(chinese);
  assert.equal(await chinese.locator('[data-test=me]').innerText(), 'You are alice');
});

scene('light and dark, from the system and switched', async (stage) => {
  const { url } = await stage.server();
  const context = await stage.browserContext({ ...desktop, colorScheme: 'dark' });
  const page = await stage.tab(context, url);
  const theme = () => page.locator('html').getAttribute('data-theme');
  assert.equal(await theme(), 'dark');
  await page.emulateMedia({ colorScheme: 'light' });
  await until('the page follows the system', async () => (await theme()) === 'light');
  await page.getByRole('button', { name: 'Theme: system' }).click();
  await page.getByRole('button', { name: 'Theme: light' }).click();
  assert.equal(await theme(), 'dark');
  await page.reload();
  assert.equal(await theme(), 'dark');
});

scene('the page fits a screen of 320 pixels', async (stage) => {
  const { url } = await stage.server();
  const bob = await stage.chat(url, 'bob', 'alice');
  const page = await stage.tab(await stage.browserContext(smallest), url);
  await page.locator('#me').fill('alice');
  await page.keyboard.press('Enter');
  await loggedIn(page);
  assert.equal(await sideways(page), 0);
  await stage.shot(page, 'smallest-list');
  await page.locator('#peer').fill('bob');
  await page.keyboard.press('Enter');
  await connected(page);
  await isThere(page);
  await say(bob, 'Short. And then a longer one that has to be broken into several lines on a small screen.');
  await message(page, 'Short. And then a longer one that has to be broken into several lines on a small screen.').waitFor();
  // Code breaks at spaces and after separators, and no line begins with the sentence's period.
  const code = 'Look at `tests/run.sh --quick --only something_long`, then in `/usr/share/waystation/www/assets/index.css`.';
  await say(bob, code);
  const lines = await page.locator('[data-test=message]', { hasText: 'something_long' }).evaluate((element) => {
    const walker = document.createTreeWalker(element.querySelector('[data-test=text]'), NodeFilter.SHOW_TEXT);
    const range = document.createRange();
    const found = [];
    let bottom = 0;
    while (walker.nextNode()) {
      for (let at = 0; at < walker.currentNode.data.length; at += 1) {
        range.setStart(walker.currentNode, at);
        range.setEnd(walker.currentNode, at + 1);
        const box = range.getBoundingClientRect();
        if (box.top >= bottom) found.push('');
        bottom = Math.max(bottom, box.bottom - 4);
        found[found.length - 1] += range.toString();
      }
    }
    return found;
  });
  assert.ok(lines.length > 3, lines.join('|'));
  assert.deepEqual(lines.filter((line) => /^[.,]|^\w*-|-$/.test(line.trim()) && !line.startsWith('--')), [], lines.join('|'));
  assert.equal(await sideways(page), 0);
  await stage.shot(page, 'smallest-conversation');

  // The longest id, in the list, in an empty conversation and in its header.
  const longest = 'w'.repeat(64);
  const other = await stage.chat(url, longest, 'alice');
  await page.goto(`${url}/#/with/${longest}`);
  await isThere(page);
  const overflows = () =>
    page.evaluate(() => {
      const log = document.querySelector('[data-test=log]');
      const header = document.querySelector('[data-test=view] header').getBoundingClientRect();
      const presence = document.querySelector('[data-test=presence]').getBoundingClientRect();
      return [log.scrollWidth - log.clientWidth, Math.max(0, presence.right - header.right), document.documentElement.scrollWidth - window.innerWidth];
    });
  await page.getByText('until you close or reload it').waitFor();
  assert.deepEqual(await overflows(), [0, 0, 0]);
  await stage.shot(page, 'smallest-longest-id');
  await other.locator('[data-test=composer]').fill('…');
  await page.getByText('is typing…').waitFor();
  assert.deepEqual(await overflows(), [0, 0, 0]);
  await other.close();
  await page.goto(`${url}/#/with/bob`);
  await isThere(page);
  await page.getByRole('button', { name: 'Back to the conversations' }).click();
  await page.locator('[data-test=conversation][data-peer=bob]').waitFor();
  await page.goBack();
  await connected(page);
  await page.goto(`${url}/#/operator`);
  await page.locator('[data-test=push-user]').waitFor();
  assert.equal(await sideways(page), 0);
});

scene('the list fits a phone, with long messages and the longest id', async (stage) => {
  const { url } = await stage.server();
  const alice = 'a'.repeat(64);
  const peers = ['bob', 'w'.repeat(64)];
  for (const options of [smallest, { ...phone, viewport: { width: 720, height: 780 } }]) {
    const page = await stage.tab(await stage.browserContext(options), `${url}/#/?me=${alice}`);
    await loggedIn(page);
    const words = 'A message of two hundred characters. '.repeat(6).slice(0, 200);
    for (const [peer, text] of [[peers[0], words], [peers[1], 'W'.repeat(200)]]) {
      const other = await stage.chat(url, peer, alice);
      await say(other, text);
      await page.locator(`[data-test=conversation][data-peer=${peer}] [data-test=unread]`).waitFor();
      await other.close();
    }
    const controls = page.locator('nav button, nav a, nav input, nav time, [data-test=unread]');
    assert.ok((await controls.count()) >= 2 * 3 + 4);
    const outside = await controls.evaluateAll((all) => all.map((one) => one.getBoundingClientRect()).filter(({ left, right }) => left < 0 || right > window.innerWidth).length);
    assert.equal(outside, 0);
    assert.equal(await page.locator('nav').evaluate((nav) => nav.scrollWidth - nav.clientWidth), 0);
    await stage.shot(page, `list-${options.viewport.width}`);
    await page.close();
  }
});

scene('an address without a page shows a page in both languages', async (stage) => {
  const { url } = await stage.server();
  const proxy = await stage.proxy({ port: Number(new URL(url).port) }, '/relay');
  for (const colorScheme of ['light', 'dark']) {
    const page = await stage.tab(await stage.browserContext({ ...smallest, colorScheme }), `${proxy.url}/relay/some/old/address`);
    await page.getByText('No page at this address').waitFor();
    await page.getByText('此地址没有页面').waitFor();
    await accessible(page, 'the 404 page');
    assert.equal(await page.evaluate(() => getComputedStyle(document.body).display), 'grid');
    await stage.shot(page, `missing-${colorScheme}`);
    await page.getByRole('link', { name: '前往驿站' }).click();
    await page.locator('#me').waitFor();
    assert.equal(page.url(), `${proxy.url}/relay/#/`);
  }
});

scene('forced colors show the selected conversation', async (stage) => {
  const { url } = await stage.server();
  const page = await stage.chat(url, 'alice', 'bob');
  await page.emulateMedia({ forcedColors: 'active' });
  const item = page.locator('[data-test=conversation][aria-current=page]');
  assert.equal(await item.evaluate((one) => getComputedStyle(one).outlineStyle), 'solid');
  await stage.shot(page, 'forced-colors');
});
