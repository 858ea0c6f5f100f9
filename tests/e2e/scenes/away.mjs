// Users who are not there: what their peers see, what waits for them, and what they are told when they return.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { scene, until } from '../lib/harness.mjs';
import { makeKey } from '../lib/token.mjs';
import { accessible, auditingServer, connected, desktop, loggedIn, message, phone, say, waitForStatus } from '../lib/world.mjs';

const presence = (page) => page.locator('[data-test=presence]').innerText();
const showsPresence = (page, text) => until(`the header says "${text}"`, async () => (await presence(page)) === text);
const texts = (page) => page.locator('[data-test=text]').allInnerTexts();
const sideways = (page) => page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
const hold = (page, text) => message(page, text).getByRole('button', { name: 'Send when bob is back' }).click();

/** Sends a message to bob, who is offline, and lets it wait in the tab. */
async function sayHeld(page, text) {
  await say(page, text);
  await waitForStatus(page, text, 'none');
  await hold(page, text);
  await waitForStatus(page, text, 'held');
}

scene('the header says whether the other user is here, elsewhere or offline', async (stage) => {
  const { url } = await stage.server();
  const alice = await stage.chat(url, 'alice', 'bob');
  const chinese = await stage.chat(url, 'carol', 'bob', { ...phone, locale: 'zh-CN', colorScheme: 'dark' });
  await showsPresence(alice, 'offline; messages are lost');
  await showsPresence(chinese, '不在线，消息会丢失');
  await stage.shot(chinese, 'presence-offline-chinese-phone');

  const bob = await stage.tab(await stage.browserContext(), `${url}/#/?me=bob`);
  await loggedIn(bob);
  await showsPresence(alice, 'elsewhere; will be notified');
  await showsPresence(chinese, '在其他页面，会收到推送');
  await stage.shot(alice, 'presence-elsewhere');
  await bob.goto(`${url}/#/with/alice`);
  await showsPresence(alice, 'here');
  // For carol, bob is still elsewhere.
  assert.equal(await presence(chinese), '在其他页面，会收到推送');
  await bob.goto(`${url}/#/notices`);
  await showsPresence(alice, 'elsewhere; will be notified');
  await bob.close();
  await showsPresence(alice, 'offline; messages are lost');
  await showsPresence(chinese, '不在线，消息会丢失');
});

scene('without the server’s word the header says less', async (stage) => {
  const { url } = await stage.server(['--show-reachable=false']);
  const alice = await stage.chat(url, 'alice', 'bob');
  await showsPresence(alice, 'not in this conversation');
  // A message waits until bob opens the conversation.
  await sayHeld(alice, 'Later then');
  const bob = await stage.chat(url, 'bob', 'alice');
  await message(bob, 'Later then').waitFor();
  await showsPresence(alice, 'here');
});

scene('messages wait in the tab until their receiver is back, in order', async (stage) => {
  const { url } = await stage.server();
  const alice = await stage.chat(url, 'alice', 'bob');
  const asked = [];
  alice.on('dialog', (dialog) => {
    asked.push(dialog.type());
    return dialog.dismiss();
  });
  await sayHeld(alice, 'One');
  await message(alice, 'One').getByText('Waiting in this tab only, until bob is back.').waitFor();
  // Messages behind it wait too.
  for (const text of ['Two', 'Three', 'Four']) {
    await say(alice, text);
    await waitForStatus(alice, text, 'held');
  }
  await message(alice, 'Three').getByRole('button', { name: 'Cancel' }).click();
  await waitForStatus(alice, 'Three', 'failed');
  await alice.evaluate(() => document.activeElement.blur());
  await accessible(alice, 'messages that wait');
  await stage.shot(alice, 'held');

  // The page asks before it loses them.
  await alice.close({ runBeforeUnload: true });
  await until('the browser asks', () => asked.length > 0);
  await alice.locator('nav').getByRole('button', { name: 'Sign out' }).click();
  await alice.locator('[data-test=confirm]').getByText('Drafts and messages that are not sent: 4.').waitFor();
  await alice.keyboard.press('Escape');

  // In another conversation they wait all the same.
  await alice.locator('#peer').fill('carol');
  await alice.keyboard.press('Enter');
  await connected(alice);
  const bob = await stage.tab(await stage.browserContext(), `${url}/#/?me=bob`);
  await bob.locator('[data-test=toast]').getByText('Four').waitFor();
  await bob.goto(`${url}/#/with/alice`);
  await connected(bob);
  assert.deepEqual(await texts(bob), ['One', 'Two', 'Four']);
  await alice.goto(`${url}/#/with/bob`);
  for (const text of ['One', 'Two', 'Four']) await waitForStatus(alice, text, 'push', 'seen');
  assert.deepEqual(await texts(alice), ['Three', 'One', 'Two', 'Four']);
  assert.deepEqual(asked, ['beforeunload']);
});

scene('a message that is removed or edited does not wait any more', async (stage) => {
  const { url } = await stage.server();
  const alice = await stage.chat(url, 'alice', 'bob');
  for (const text of ['removed', 'edited', 'kept']) {
    if (text === 'removed') await sayHeld(alice, text);
    else await say(alice, text);
    await waitForStatus(alice, text, 'held');
  }
  const act = async (text, name) => {
    await message(alice, text).hover();
    await message(alice, text).getByRole('button', { name: 'Actions for this message' }).click();
    await alice.getByRole('menuitem', { name }).click();
  };
  await act('removed', 'Remove from this tab');
  await act('edited', 'Edit and send again');
  assert.equal(await alice.locator('[data-test=composer]').inputValue(), 'edited');
  const bob = await stage.chat(url, 'bob', 'alice');
  await message(bob, 'kept').waitFor();
  assert.deepEqual(await texts(bob), ['kept']);
});

scene('a file waits like a message, on a phone', async (stage) => {
  const { url } = await stage.server();
  const alice = await stage.chat(url, 'alice', 'bob', { ...phone, colorScheme: 'dark' });
  const content = Buffer.from(Array.from({ length: 150_000 }, (_, n) => n % 251));
  const file = (page) => page.locator('[data-test=message]').filter({ has: page.locator('[data-test=file]') });
  await alice.locator('[data-test=picker]').setInputFiles([{ name: 'plan.bin', mimeType: 'application/octet-stream', buffer: content }]);
  await alice.locator('[data-test=attachment][data-ready=true]').waitFor();
  await alice.getByRole('button', { name: 'Send', exact: true }).click();
  await file(alice).getByRole('button', { name: 'Send when bob is back' }).click();
  await alice.locator('[data-test=message][data-status=held]').waitFor();
  await say(alice, 'The plan');
  await waitForStatus(alice, 'The plan', 'held');
  await accessible(alice, 'a file that waits');
  assert.equal(await sideways(alice), 0);
  await stage.shot(alice, 'held-phone');
  // One file is canceled. Nothing of it arrives.
  await alice.locator('[data-test=picker]').setInputFiles([{ name: 'other.bin', mimeType: 'application/octet-stream', buffer: content }]);
  await alice.locator('[data-test=attachment][data-ready=true]').waitFor();
  await alice.getByRole('button', { name: 'Send', exact: true }).click();
  const other = file(alice).filter({ hasText: 'other.bin' });
  await other.getByRole('button', { name: 'Cancel' }).click();
  await until('it is canceled', async () => (await other.getAttribute('data-status')) === 'failed');
  const bob = await stage.chat(url, 'bob', 'alice');
  await message(bob, 'The plan').waitFor();
  await waitForStatus(alice, 'The plan', 'chat', 'seen');
  const [saved] = await Promise.all([bob.waitForEvent('download'), file(bob).getByRole('button', { name: 'Save plan.bin' }).click()]);
  assert.ok(readFileSync(await saved.path()).equals(content));
  // Both see one order, although the parts of the file arrive after the text, and bob's page loads the code for files first.
  const order = (page) => page.locator('[data-test=message]:not([data-status=failed]) .content').evaluateAll((all) => all.map((one) => one.innerText.split('\n')[0].trim()));
  await until('the file is sent', async () => (await alice.locator('[data-test=message][data-status=sending]').count()) === 0);
  assert.deepEqual(await order(bob), ['plan.bin', 'The plan']);
  assert.deepEqual(await order(alice), ['plan.bin', 'The plan']);
  await say(alice, 'The end');
  await message(bob, 'The end').waitFor();
  assert.equal(await file(bob).count(), 1);
});

scene('two tabs of the sender show a message that waits once, and its receiver gets it once', async (stage) => {
  const { url } = await stage.server();
  const context = await stage.browserContext();
  const one = await stage.tab(context, `${url}/#/?me=alice&to=bob`);
  const two = await stage.tab(context, `${url}/#/?me=alice&to=bob`);
  for (const page of [one, two]) await connected(page);
  await sayHeld(one, 'Twice?');
  await waitForStatus(two, 'Twice?', 'other_tab');
  // A third tab takes over the history.
  const three = await stage.tab(context, `${url}/#/?me=alice&to=bob`);
  await waitForStatus(three, 'Twice?', 'other_tab');
  const bob = await stage.tab(await stage.browserContext(), `${url}/#/?me=bob`);
  await bob.locator('[data-test=toast]').getByText('Twice?').waitFor();
  await waitForStatus(one, 'Twice?', 'push');
  await bob.goto(`${url}/#/with/alice`);
  await say(bob, 'Once.');
  for (const page of [one, two, three, bob]) {
    await message(page, 'Once.').waitFor();
    assert.deepEqual(await texts(page), ['Twice?', 'Once.']);
  }
});

scene('a message waits across the expiry of the token', async (stage) => {
  const key = makeKey();
  stage.onClear(key.remove);
  const { url } = await stage.server(['--auth', 'jwt', '--jwt-key-file', key.file]);
  const alice = await stage.tab(await stage.browserContext(), `${url}/#/?token=${key.token('alice', 15)}&to=bob`);
  await connected(alice);
  await sayHeld(alice, 'Still here');
  await alice.locator('[data-test=connection-status][data-state=closed]').getByText('Your token has expired').waitFor({ timeout: 40_000 });
  const bob = await stage.tab(await stage.browserContext(), `${url}/#/?token=${key.token('bob', 3600)}`);
  await loggedIn(bob);
  await alice.getByRole('button', { name: 'Enter a token' }).click();
  await alice.locator('#token').fill(key.token('alice', 3600));
  await alice.getByRole('button', { name: 'Use the token' }).click();
  await bob.locator('[data-test=toast]').getByText('Still here').waitFor();
  await waitForStatus(alice, 'Still here', 'push');
}, { seconds: 90 });

for (const [what, options] of [
  ['', { ...desktop, colorScheme: 'light' }],
  [' on a phone', { ...phone, colorScheme: 'dark' }],
]) {
  scene(`a user who returns is told who tried to reach them${what}`, async (stage) => {
    const { url } = await auditingServer(stage);
    const bob = await stage.chat(url, 'bob', 'alice');
    for (const text of ['one', 'two', 'three']) {
      await say(bob, text);
      await waitForStatus(bob, text, 'none');
    }
    // The same message again is the same attempt.
    await message(bob, 'three').getByRole('button', { name: 'Send again' }).click();
    await waitForStatus(bob, 'three', 'none');
    const carol = await stage.chat(url, 'carol', 'alice');
    await say(carol, 'hello');
    await waitForStatus(carol, 'hello', 'none');
    await fetch(`${url}/api/v1/push/alice`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '"disk full"' });

    const context = await stage.browserContext(options);
    const alice = await stage.tab(context, `${url}/#/?me=alice`);
    const card = alice.locator('[data-test=missed]');
    await card.getByText('While you were away').waitFor();
    const rows = async () => (await card.locator('a span:last-child').allInnerTexts()).map((text) => text.replace(/\s/g, ' ').replace(/\d\d:\d\d/, 'HH:MM'));
    assert.deepEqual(await rows(), ['carol tried to reach you once, at HH:MM.', 'bob tried to reach you 3 times, last at HH:MM.']);
    await card.getByText('Notices missed: 1.').waitFor();
    await card.getByText('The messages were not kept.').waitFor();
    await card.getByText('This browser stores only your place in this list.').waitFor();
    // The first question is about all time. That is no reason to warn.
    assert.equal(await card.getByText('There may have been more').count(), 0);
    await accessible(alice, 'missed messages');
    assert.equal(await sideways(alice), 0);
    await stage.shot(alice, `missed${what.replaceAll(' ', '-')}`);

    // Not read yet.
    await alice.reload();
    await card.waitFor();
    if (options.isMobile) {
      await card.locator('[data-peer=bob]').click();
    } else {
      // Not by the list: the user has seen the conversation all the same.
      await alice.locator('#peer').fill('bob');
      await alice.keyboard.press('Enter');
    }
    await connected(alice);
    assert.equal(new URL(alice.url()).hash, '#/with/bob');
    await alice.goto(`${url}/#/`);
    await until('bob is no longer in the list', async () => (await rows()).every((text) => text.startsWith('carol')));
    await alice.getByRole('button', { name: '中文' }).click();
    await card.getByText('联系过您 1 次').waitFor();
    await stage.shot(alice, `missed${what.replaceAll(' ', '-')}-chinese`);
    await card.getByRole('button', { name: '关闭此列表' }).click();
    await card.waitFor({ state: 'detached' });
    const stored = await alice.evaluate(() => Object.entries(localStorage).filter(([key]) => key.startsWith('waystation.missed')));
    assert.equal(stored.length, 1);
    assert.equal(stored[0][0], 'waystation.missed.alice');
    assert.ok(!/bob|carol|disk/.test(stored[0][1]), 'the browser stores a cursor only');

    // Read: only what comes later is shown, in a second tab too.
    await bob.close();
    await alice.close();
    await say(carol, 'again');
    await waitForStatus(carol, 'again', 'none');
    const [first, second] = [await stage.tab(context, `${url}/#/?me=alice`), await stage.tab(context, `${url}/#/?me=alice`)];
    for (const page of [first, second]) {
      await page.locator('[data-test=missed]').waitFor();
      assert.equal(await page.locator('[data-test=missed] a').count(), 1);
    }
    await first.locator('[data-test=missed]').getByRole('button', { name: '关闭此列表' }).click();
    await second.locator('[data-test=missed]').waitFor({ state: 'detached' });
  });
}

scene('a server without an audit tells nothing, and the page asks no more', async (stage) => {
  const { url } = await stage.server();
  const alice = await stage.tab(await stage.browserContext(), `${url}/#/?me=alice`);
  await loggedIn(alice);
  const bob = await stage.chat(url, 'bob', 'alice');
  await say(bob, 'hello');
  await alice.locator('[data-test=toast]').getByText('hello').waitFor();
  assert.equal(await alice.locator('[data-test=missed]').count(), 0);
});
