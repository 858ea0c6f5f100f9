import assert from 'node:assert/strict';
import { scene, until } from '../lib/harness.mjs';
import { makeKey } from '../lib/token.mjs';
import { accessible, connected, desktop, isThere, loggedIn, message, phone, say, smallest } from '../lib/world.mjs';

const dialog = (page) => page.locator('[data-test=confirm]');
const me = (page) => page.locator('[data-test=me]').innerText();
const hash = (page) => new URL(page.url()).hash;
const focused = (page) => page.evaluate(() => document.activeElement?.textContent);
const follow = (page, to) => page.evaluate((address) => void (location.hash = address), to);

scene('a link with another user’s token needs a confirmation', async (stage) => {
  const key = makeKey();
  stage.onClear(key.remove);
  const server = await stage.server(['--auth', 'jwt', '--jwt-key-file', key.file]);
  const proxy = await stage.proxy(server);
  const token = (user) => key.token(user, 3600);
  const page = await stage.tab(await stage.browserContext(), `${proxy.url}/#/?token=${token('alice')}&to=bob`);
  await connected(page);
  await loggedIn(page);
  await say(page, 'Mine');
  await message(page, 'Mine').waitFor();
  const asEve = () => proxy.paths.filter((path) => path.includes('eve'));

  // In the open tab. The default is to stay.
  await follow(page, `#/with/carol?token=${token('eve')}`);
  await dialog(page).getByText('Continue as eve?').waitFor();
  await dialog(page).getByText('You are signed in as alice. This link or token is for eve.').waitFor();
  assert.equal(hash(page), '#/with/bob');
  assert.equal(await focused(page), 'No, I am alice');
  await page.keyboard.press('Enter');
  await dialog(page).waitFor({ state: 'detached' });
  assert.equal(await me(page), 'You are alice');
  await message(page, 'Mine').waitFor();
  assert.equal(hash(page), '#/with/bob');

  // In a tab that loads the page again. Escape means to stay.
  await page.goto(`${proxy.url}/?again#/with/bob?token=${token('eve')}`);
  await dialog(page).waitFor();
  await loggedIn(page);
  assert.equal(hash(page), '#/');
  await page.keyboard.press('Escape');
  await dialog(page).waitFor({ state: 'detached' });
  assert.equal(await me(page), 'You are alice');
  await page.reload();
  await loggedIn(page);
  assert.equal(await me(page), 'You are alice');
  assert.equal(await dialog(page).count(), 0);

  // An invalid token, and a new token of the same user, need no confirmation.
  await follow(page, '#/with/bob?token=x.y.z');
  await connected(page);
  await follow(page, `#/with/carol?token=${token('alice')}`);
  await until('the conversation with carol is open', () => page.locator('[data-test=view] h1').getByText('carol').count());
  await connected(page);
  assert.equal(await dialog(page).count(), 0);
  assert.equal(await me(page), 'You are alice');
  assert.deepEqual(asEve(), []);

  await follow(page, `#/with/bob?token=${token('eve')}`);
  await dialog(page).getByRole('button', { name: 'Continue as eve' }).click();
  // The server is asked about the token first.
  await until('eve is signed in', async () => (await me(page)) === 'You are eve');
  await connected(page);
  await loggedIn(page);
  assert.equal(hash(page), '#/with/bob');
  assert.equal(await page.locator('[data-test=message]').count(), 0);
  assert.ok(asEve().length > 0);
});

scene('a link with a token in a new tab needs a confirmation while another tab has a user', async (stage) => {
  const key = makeKey();
  stage.onClear(key.remove);
  const server = await stage.server(['--auth', 'jwt', '--jwt-key-file', key.file]);
  const proxy = await stage.proxy(server);
  const token = (user) => key.token(user, 3600);
  const context = await stage.browserContext();
  const alice = await stage.tab(context, `${proxy.url}/#/?token=${token('alice')}`);
  await loggedIn(alice);
  const two = await stage.tab(context, `${proxy.url}/#/with/bob?token=${token('eve')}`);
  await dialog(two).getByText('You are signed in as alice.').waitFor();
  await dialog(two).getByRole('button', { name: 'No, I am alice' }).click();
  await two.getByText('Sign in').waitFor();
  assert.equal(hash(two), '#/');
  assert.deepEqual(proxy.paths.filter((path) => path.includes('eve')), []);
  const three = await stage.tab(context, `${proxy.url}/#/with/bob?token=${token('alice')}`);
  await connected(three);
  assert.equal(await me(three), 'You are alice');
});

scene('a forged token of the same user does not replace a good one', async (stage) => {
  const [key, otherKey] = [makeKey(), makeKey()];
  stage.onClear(key.remove);
  stage.onClear(otherKey.remove);
  const server = await stage.server(['--auth', 'jwt', '--jwt-key-file', key.file]);
  const [good, newer, forged] = [key.token('alice', 3600), key.token('alice', 7200), otherKey.token('alice', 1e9)];
  const context = await stage.browserContext();
  const page = await stage.tab(context, `${server.url}/#/?token=${good}&to=bob`);
  await connected(page);
  await loggedIn(page);
  const stored = () => page.evaluate(() => sessionStorage.getItem('waystation.token'));
  const answered = (status) => page.waitForResponse((response) => response.url().endsWith('/push/alice/') && response.status() === status);

  const refused = answered(401);
  await follow(page, `#/with/carol?token=${forged}`);
  await refused;
  await page.locator('[data-test=view] h1').getByText('carol').waitFor();
  await connected(page);
  await page.reload();
  await loggedIn(page);
  await connected(page);
  assert.equal(await stored(), good);
  assert.equal(await dialog(page).count(), 0);

  await follow(page, `#/with/bob?token=${newer}`);
  await until('the genuine token is used', async () => (await stored()) === newer);
  await connected(page);

  // In a new tab, a forged link signs nobody in. A genuine link does.
  const two = await stage.tab(context, `${server.url}/#/with/bob?token=${forged}`);
  await two.getByRole('alert').getByText('it is signed with a key that the server does not know').waitFor();
  assert.equal(await two.locator('[data-test=messenger]').count(), 0);
  await follow(two, `#/with/bob?token=${good}`);
  await connected(two);
  await connected(page);
});

scene('a tab that does not answer counts as signed in', async (stage) => {
  const key = makeKey();
  stage.onClear(key.remove);
  const server = await stage.server(['--auth', 'jwt', '--jwt-key-file', key.file]);
  const context = await stage.browserContext();
  const alice = await stage.tab(context, `${server.url}/#/?token=${key.token('alice', 3600)}`);
  await loggedIn(alice);
  const two = await stage.tab(context, `${server.url}/`);
  await two.getByText('Sign in').first().waitFor();
  // The debugger stops the page's scripts, as the browser does in a frozen tab.
  const control = await context.newCDPSession(alice);
  await control.send('Debugger.enable');
  const paused = new Promise((resolve) => control.once('Debugger.paused', resolve));
  await control.send('Debugger.pause');
  await paused;
  await follow(two, `#/with/bob?token=${key.token('eve', 3600)}`);
  await dialog(two).getByText('You are signed in as alice.').waitFor();
  await control.send('Debugger.resume');
});

scene('a link with another user’s name needs a confirmation', async (stage) => {
  const { url } = await stage.server();
  const page = await stage.chat(url, 'alice', 'bob');
  await follow(page, '#/?me=eve&to=alice');
  await dialog(page).getByText('Continue as eve?').waitFor();
  await dialog(page).getByRole('button', { name: 'No, I am alice' }).click();
  assert.equal(await me(page), 'You are alice');
  await follow(page, '#/?me=eve&to=alice');
  await dialog(page).getByRole('button', { name: 'Continue as eve' }).click();
  await connected(page);
  assert.equal(await me(page), 'You are eve');
  assert.equal(hash(page), '#/with/alice');
});

for (const [what, options] of [
  ['light', { ...desktop, colorScheme: 'light' }],
  ['dark', { ...desktop, colorScheme: 'dark' }],
  ['on a phone', { ...phone, colorScheme: 'light' }],
  ['on a dark phone', { ...phone, colorScheme: 'dark' }],
  ['on the smallest screen', { ...smallest, colorScheme: 'light' }],
]) {
  scene(`the confirmation is accessible, ${what}`, async (stage) => {
    const { url } = await stage.server();
    const alice = what.includes('smallest') ? 'a'.repeat(64) : 'alice';
    const other = await stage.chat(url, 'bob', alice);
    const page = await stage.chat(url, alice, 'bob', options);
    await isThere(page);
    await isThere(other);
    await follow(page, '#/?me=eve');
    await dialog(page).waitFor();
    await accessible(page, 'the confirmation');
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth), 0);
    const name = what.replaceAll(' ', '-');
    await stage.shot(page, `identity-${name}`);
    await page.keyboard.press('Escape');
    await dialog(page).waitFor({ state: 'detached' });
    await accessible(page, 'the conversation');
    await stage.shot(page, `identity-kept-${name}`);
  });
}

scene('on a phone the conversation names the user', async (stage) => {
  const { url } = await stage.server();
  const page = await stage.chat(url, 'alice', 'bob', phone);
  const you = page.locator('[data-test=you]');
  assert.equal(await you.innerText(), 'You are alice');
  assert.equal(await page.locator('[data-test=me]').isVisible(), false);
  assert.equal(await you.isVisible(), true);
  await page.setViewportSize(desktop.viewport);
  assert.equal(await you.isVisible(), false);
  assert.equal(await page.locator('[data-test=me]').isVisible(), true);

  const chinese = await stage.chat(url, 'carol', 'bob', { ...phone, locale: 'zh-CN' });
  assert.equal(await chinese.locator('[data-test=you]').innerText(), '您是 carol');
  await follow(chinese, '#/?me=eve');
  await dialog(chinese).getByText('切换为 eve？').waitFor();
  await accessible(chinese, 'the confirmation in Chinese');
  await stage.shot(chinese, 'identity-chinese');
  await dialog(chinese).getByRole('button', { name: '不，我是 carol' }).click();
  await connected(chinese);
});
