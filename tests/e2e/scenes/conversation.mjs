import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import WebSocket from 'ws';
import { scene, until } from '../lib/harness.mjs';
import { makeKey } from '../lib/token.mjs';
import { accessible, connected, desktop, isThere, loggedIn, message, phone, say, sayAtOnce, stageDesktop, waitForStatus } from '../lib/world.mjs';

const presence = (page) => page.locator('[data-test=presence]').innerText();
const shown = (page) => page.evaluate(() => globalThis.shown);
const texts = (page) => page.locator('[data-test=text]').allInnerTexts();
const unread = (page, peer) => page.locator(`[data-test=conversation][data-peer=${peer}] [data-test=unread]`);

/** Signs out although the tab has messages. */
const signOut = async (page) => {
  await page.locator('nav').getByRole('button', { name: 'Sign out' }).click();
  await page.locator('[data-test=confirm]').getByRole('button', { name: 'Sign out' }).click();
};

scene('a user signs in and opens a conversation', async (stage) => {
  const { url } = await stage.server();
  const page = await stage.tab(await stage.browserContext(), url);
  await page.locator('#me').fill('Not an id!');
  await page.keyboard.press('Enter');
  await page.getByText('“not an id!” is not a user id').waitFor();
  await page.locator('#me').fill('alice');
  await page.keyboard.press('Enter');
  await loggedIn(page);
  assert.equal(await page.locator('[data-test=me]').innerText(), 'You are alice');
  await stage.shot(page, 'home');

  await page.locator('#peer').fill('alice');
  await page.keyboard.press('Enter');
  await page.getByText('This is your own id.').waitFor();
  await page.locator('#peer').fill('bob');
  await page.keyboard.press('Enter');
  await connected(page);
  assert.equal(new URL(page.url()).hash, '#/with/bob');
  await page.getByText('until you close or reload it').waitFor();
  await stage.shot(page, 'empty-conversation');

  // The user survives a reload of the tab; the history does not.
  await page.reload();
  await connected(page);
  assert.equal(await page.locator('[data-test=me]').innerText(), 'You are alice');
});

scene('two users chat', async (stage) => {
  const { url } = await stage.server();
  const alice = await stage.chat(url, 'alice', 'bob');
  const bob = await stage.chat(url, 'bob', 'alice', phone);
  await isThere(alice);
  await isThere(bob);
  assert.equal(await presence(alice), 'here');

  await say(alice, 'Has the backup finished?');
  await message(bob, 'Has the backup finished?').waitFor();
  await waitForStatus(alice, 'Has the backup finished?', 'chat', 'seen');

  await bob.locator('[data-test=composer]').fill('It');
  await alice.getByText('bob is typing…').waitFor();
  await say(bob, 'It has: 42 GB in 38 minutes, without errors.');
  await message(alice, 'It has: 42 GB in 38 minutes, without errors.').waitFor();
  await until('bob is not shown as typing', async () => (await presence(alice)) === 'here');
  await say(alice, 'Good. Can you check the second disk too?');
  await say(alice, 'Its status light is yellow.');
  await say(bob, 'Checked.\nIt has reallocated sectors, so I ordered a new one.');
  await waitForStatus(alice, 'Its status light is yellow.', 'seen');
  await waitForStatus(bob, 'Checked.\nIt has reallocated sectors, so I ordered a new one.', 'seen');
  await say(alice, 'Thanks. I will replace it on Monday.');
  await waitForStatus(alice, 'Thanks. I will replace it on Monday.', 'seen');
  await message(bob, 'Thanks. I will replace it on Monday.').waitFor();
  assert.deepEqual(await texts(alice), await texts(bob));

  // The screenshots of the README.
  const blur = async (page) => {
    await page.evaluate(() => document.activeElement?.blur());
    await page.mouse.move(0, 0);
  };
  await blur(bob);
  await stage.shot(bob, 'conversation-phone');
  await bob.getByRole('button', { name: 'Back to the conversations' }).click();
  await until('alice sees that bob left', async () => (await presence(alice)) === 'elsewhere; will be notified');
  await say(alice, 'Please keep the old disk.');
  await waitForStatus(alice, 'Please keep the old disk.', 'push');
  for (const [peer, words] of [['dora', 'The gateway is updated.'], ['carol', 'Lunch at one?']]) {
    const other = await stage.chat(url, peer, 'alice');
    await say(other, words);
    await waitForStatus(other, words, 'push');
    await alice.getByRole('button', { name: 'Dismiss' }).first().click();
  }
  await blur(alice);
  await stage.shot(alice, 'conversation');
});

scene('a message to a user in another conversation is pushed', async (stage) => {
  const { url } = await stage.server();
  const alice = await stage.chat(url, 'alice', 'bob');
  const bob = await stage.chat(url, 'bob', 'alice');
  await isThere(alice);
  await bob.locator('#peer').fill('carol');
  await bob.keyboard.press('Enter');
  await connected(bob);
  await bob.locator('[data-test=composer]').fill('Hello Carol');
  await until('alice sees that bob left', async () => (await presence(alice)) === 'elsewhere; will be notified');

  await say(alice, 'Are you there?');
  await waitForStatus(alice, 'Are you there?', 'push');
  await bob.locator('[data-test=toast]').getByText('Message from alice').waitFor();
  await say(alice, 'It is urgent');
  await until('bob has two unread messages', async () => (await unread(bob, 'alice').innerText()).endsWith('2'));
  assert.equal(await bob.title(), '(2) carol · Waystation');
  await stage.shot(bob, 'pushed');

  await bob.locator('[data-test=toast] .open').click();
  await connected(bob);
  await message(bob, 'It is urgent').waitFor();
  assert.equal(await bob.title(), 'alice · Waystation');
  assert.equal(await bob.locator('[data-test=toast]').count(), 0);
  await waitForStatus(alice, 'It is urgent', 'seen');
  await waitForStatus(alice, 'Are you there?', 'seen');

  // Each conversation keeps its draft.
  assert.equal(await bob.locator('[data-test=composer]').inputValue(), '');
  await bob.locator('[data-test=conversation][data-peer=carol]').click();
  assert.equal(await bob.locator('[data-test=composer]').inputValue(), 'Hello Carol');
});

scene('the next user of a tab sees no data of the previous one', async (stage) => {
  const { url } = await stage.server();
  const page = await stage.tab(await stage.browserContext(), `${url}/#/?me=alice`);
  await loggedIn(page);
  const bob = await stage.chat(url, 'bob', 'alice');
  await say(bob, 'For alice only');
  await page.locator('[data-test=toast]').getByText('For alice only').waitFor();
  await signOut(page);
  await page.locator('#me').fill('carol');
  assert.equal(await page.locator('[data-test=toast]').count(), 0);
  await page.keyboard.press('Enter');
  await loggedIn(page);
  assert.ok(!(await page.locator('body').innerText()).includes('For alice only'));
  assert.equal(await page.locator('[data-test=conversation]').count(), 0);
});

scene('a hidden page counts and notifies', async (stage) => {
  const { url } = await stage.server();
  const bobs = await stage.browserContext();
  await stageDesktop(bobs);
  const bob = await stage.tab(bobs, `${url}/#/?me=bob&to=alice`);
  await connected(bob);
  const alice = await stage.chat(url, 'alice', 'bob');
  await isThere(alice);
  await bob.evaluate(() => globalThis.show('hidden'));
  await say(alice, 'Look here');
  await message(bob, 'Look here').waitFor();
  await waitForStatus(alice, 'Look here', 'chat');
  assert.equal(await bob.title(), '(1) alice · Waystation');
  await until('it is shown on the desktop', async () => (await shown(bob)).length > 0);
  assert.deepEqual(await shown(bob), ['Message from alice: Look here']);
  assert.equal(await message(alice, 'Look here').getAttribute('data-status'), 'chat', 'a message on a hidden page is not seen');
  await bob.evaluate(() => globalThis.show('visible'));
  await waitForStatus(alice, 'Look here', 'seen');
  assert.equal(await bob.title(), 'alice · Waystation');
});

scene('a push is shown on the desktop, unless another tab of the user is visible', async (stage) => {
  const { url } = await stage.server();
  const bobs = await stage.browserContext();
  await stageDesktop(bobs, 'default');
  const one = await stage.tab(bobs, `${url}/#/?me=bob`);
  const two = await stage.tab(bobs, `${url}/#/?me=bob`);
  await loggedIn(one);
  await loggedIn(two);
  // A visible tab of another user in this browser.
  const dora = await stage.tab(bobs, `${url}/#/?me=dora`);
  await loggedIn(dora);
  for (const tab of [one, two]) {
    await tab.getByRole('button', { name: 'Turn on desktop notifications' }).click();
    await tab.getByRole('button', { name: 'Desktop notifications are on' }).waitFor();
  }
  const alice = await stage.chat(url, 'alice', 'bob');
  await one.evaluate(() => globalThis.show('hidden'));
  await say(alice, 'In sight');
  for (const tab of [one, two]) await tab.locator('[data-test=toast]').getByText('In sight').waitFor();
  // The browser answers in order: the query of the first tab on the message's arrival is answered, too.
  await one.evaluate(() => navigator.locks.query());
  await two.evaluate(() => globalThis.show('hidden'));
  await say(alice, 'Out of sight');
  for (const tab of [one, two]) await until('it is shown on the desktop', async () => (await shown(tab)).includes('Message from alice: Out of sight'));
  for (const tab of [one, two]) assert.deepEqual(await shown(tab), ['Message from alice: Out of sight']);
  await signOut(one);
  assert.deepEqual(await shown(one), []);
});

scene('no client can replace another sender’s notification, or the server’s', async (stage) => {
  const { url } = await stage.server();
  const bobs = await stage.browserContext();
  await stageDesktop(bobs);
  const bob = await stage.tab(bobs, `${url}/#/?me=bob`);
  await loggedIn(bob);
  await bob.evaluate(() => globalThis.show('hidden'));
  const notice = await fetch(`${url}/api/v1/push/bob`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '"The disk is full"' });
  assert.equal((await notice.json()).reached, 1);
  /** A client that chooses the id of its message. */
  const say = async (user, id) => {
    const page = await stage.tab(await stage.browserContext(), `${url}/icon.svg`);
    await page.evaluate(
      ([from, key]) =>
        new Promise((resolve, reject) => {
          const socket = new WebSocket(`${location.origin.replace('http', 'ws')}/ws/chat/bob_${from}/?user=${from}`, 'waystation.v1');
          socket.onerror = () => reject(new Error('no connection'));
          socket.onopen = () => socket.send(JSON.stringify({ message: `from ${from}`, id: key }));
          socket.onmessage = ({ data }) => 'ack' in JSON.parse(data) && resolve();
        }),
      [user, id],
    );
  };
  await say('carol', 'waystation-notice');
  await say('dora', 'waystation-carol');
  await say('eve', 'waystation-carol');
  const all = ['Notice: The disk is full', ...['carol', 'dora', 'eve'].map((user) => `Message from ${user}: from ${user}`)];
  await until('each is shown', async () => (await shown(bob)).includes(all[3]));
  assert.deepEqual(await shown(bob), all);
});

scene('a browser that forbids notifications is not asked again', async (stage) => {
  const { url } = await stage.server();
  const bobs = await stage.browserContext();
  await stageDesktop(bobs, 'default', 'denied');
  const bob = await stage.tab(bobs, `${url}/#/?me=bob`);
  await loggedIn(bob);
  await bob.getByRole('button', { name: 'Turn on desktop notifications' }).click();
  const bell = bob.getByRole('button', { name: 'The browser blocks notifications of this page' });
  await bell.waitFor();
  assert.equal(await bell.isDisabled(), true);
  await bob.evaluate(() => globalThis.show('hidden'));
  const alice = await stage.chat(url, 'alice', 'bob');
  await say(alice, 'Anybody?');
  await until('the title counts it', async () => (await bob.title()).startsWith('(1)'));
  assert.deepEqual(await shown(bob), []);
});

scene('a message below the visible part is not seen', async (stage) => {
  const { url } = await stage.server();
  const alice = await stage.chat(url, 'alice', 'bob');
  const bob = await stage.chat(url, 'bob', 'alice');
  await isThere(alice);
  for (let i = 0; i < 30; i += 1) await say(alice, `line ${i}`);
  await waitForStatus(alice, 'line 29', 'seen');
  await bob.locator('[data-test=log]').evaluate((log) => log.scrollTo(0, 0));
  await bob.getByRole('button', { name: 'Latest message' }).waitFor();
  await say(alice, 'far below');
  await bob.getByRole('button', { name: 'New messages: 1' }).waitFor();
  await waitForStatus(alice, 'far below', 'chat');
  // Signals and messages keep their order: a signal would be here by now.
  await bob.locator('[data-test=composer]').pressSequentially('x');
  await alice.getByText('bob is typing…').waitFor();
  assert.equal(await message(alice, 'far below').getAttribute('data-status'), 'chat');
  assert.ok((await unread(bob, 'alice').innerText()).endsWith('1'));
  await bob.getByRole('button', { name: 'New messages: 1' }).click();
  await waitForStatus(alice, 'far below', 'seen');
  assert.equal(await unread(bob, 'alice').count(), 0);
});

scene('a message that reached no socket is sent again', async (stage) => {
  const { url } = await stage.server();
  const alice = await stage.chat(url, 'alice', 'bob');
  await say(alice, 'Anybody?');
  await waitForStatus(alice, 'Anybody?', 'none');
  await say(alice, 'Then I wait.');
  await waitForStatus(alice, 'Then I wait.', 'none');
  const bob = await stage.chat(url, 'bob', 'alice');
  await isThere(alice);
  await message(alice, 'Anybody?').getByRole('button', { name: 'Send again' }).click();
  await message(bob, 'Anybody?').waitFor();
  await waitForStatus(alice, 'Anybody?', 'seen');
  // The message moved to the end.
  assert.deepEqual(await texts(alice), ['Then I wait.', 'Anybody?']);
});

scene('leaving the page closes both sockets with 1000', async (stage) => {
  const server = await stage.server();
  const proxy = await stage.proxy(server);
  const alice = await stage.chat(server.url, 'alice', 'bob');
  const bob = await stage.chat(proxy.url, 'bob', 'alice');
  await loggedIn(bob);
  await isThere(alice);
  await bob.goto('about:blank');
  await until('alice sees that bob left', async () => (await presence(alice)) === 'offline; messages are lost');
  await until('both sockets said why', () => proxy.closeCodes.length === 2);
  assert.deepEqual(proxy.closeCodes, [1000, 1000]);
});

scene('a sender’s other tab shows the message too', async (stage) => {
  const { url } = await stage.server();
  const context = await stage.browserContext();
  const one = await stage.tab(context, `${url}/#/?me=alice&to=bob`);
  const two = await stage.tab(context, `${url}/#/?me=alice&to=bob`);
  await connected(one);
  await connected(two);
  await say(one, 'From the first tab');
  await waitForStatus(two, 'From the first tab', 'other_tab');
});

scene('three tabs of one user share one push socket', async (stage) => {
  const server = await stage.server();
  const proxy = await stage.proxy(server);
  const context = await stage.browserContext();
  const tabs = [];
  for (let i = 0; i < 3; i += 1) {
    const tab = await stage.tab(context, `${proxy.url}/#/?me=bob`);
    await loggedIn(tab);
    tabs.push(tab);
  }
  const pushSockets = () => proxy.paths.filter((path) => path.startsWith('/push/')).length;
  assert.equal(pushSockets(), 1);

  const alice = await stage.chat(server.url, 'alice', 'bob');
  await say(alice, 'To all your tabs');
  await waitForStatus(alice, 'To all your tabs', 'push');
  for (const tab of tabs) await tab.locator('[data-test=toast]').getByText('To all your tabs').waitFor();

  // The leader closes, and another tab connects.
  await tabs[0].close();
  await until('another tab has opened the socket', () => pushSockets() === 2);
  for (const tab of tabs.slice(1)) await loggedIn(tab);
  await until('the message reaches the two that are left', async () => {
    await say(alice, 'And now?');
    await waitForStatus(alice, 'And now?', 'push', 'none');
    return (await message(alice, 'And now?').last().getAttribute('data-status')) === 'push';
  });
  for (const tab of tabs.slice(1)) await tab.locator('[data-test=toast]').getByText('And now?').waitFor();
  assert.equal(pushSockets(), 2);
});

scene('the page asks before something unsent is lost', async (stage) => {
  const { url } = await stage.server();
  const page = await stage.chat(url, 'alice', 'bob');
  const asked = [];
  page.on('dialog', (dialog) => {
    asked.push(dialog.type());
    return dialog.accept();
  });
  await say(page, 'gone');
  await waitForStatus(page, 'gone', 'none');
  // All messages are sent: a reload needs no question. It loses the history, and the page says where it was.
  await page.reload();
  await connected(page);
  await page.locator('[data-test=log]').getByText('No messages in this tab').waitFor();
  assert.deepEqual(asked, []);
  await page.locator('[data-test=composer]').pressSequentially('A draft');
  await page.reload();
  await connected(page);
  assert.deepEqual(asked, ['beforeunload']);

  const leave = page.locator('nav').getByRole('button', { name: 'Sign out' });
  const dialog = page.locator('[data-test=confirm]');
  await page.locator('[data-test=composer]').fill('A draft');
  await leave.click();
  await dialog.getByText('Drafts and messages that are not sent: 1.').waitFor();
  await accessible(page, 'the question before signing out');
  assert.equal(await focused(page), 'Stay signed in');
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  assert.equal(await page.locator('[data-test=composer]').inputValue(), 'A draft');
  await page.locator('[data-test=composer]').fill('');
  await leave.click();
  await page.locator('#me').waitFor();
  assert.equal(await dialog.count(), 0);
});

scene('a new tab gets the messages, and the token, from another tab of the user', async (stage) => {
  const key = makeKey();
  stage.onClear(key.remove);
  const { url } = await stage.server(['--auth', 'jwt', '--jwt-key-file', key.file]);
  const chat = async (context, user, peer) => {
    const page = await stage.tab(context, `${url}/#/?token=${key.token(user, 3600)}&to=${peer}`);
    await connected(page);
    return page;
  };
  const context = await stage.browserContext();
  const one = await chat(context, 'alice', 'bob');
  const bob = await chat(await stage.browserContext(), 'bob', 'alice');
  await isThere(one);
  for (const [page, text] of [[one, 'first'], [bob, 'second'], [one, 'third']]) {
    await say(page, text);
    await message(page === one ? bob : one, text).waitFor();
  }
  await waitForStatus(one, 'third', 'seen');
  // A name is enough: the other tab has the token.
  const two = await stage.tab(context, `${url}/#/?me=alice&to=bob`);
  await connected(two);
  await message(two, 'third').waitFor();
  assert.deepEqual(await texts(two), ['first', 'second', 'third']);
  await waitForStatus(two, 'third', 'seen');
  assert.equal(await unread(two, 'bob').count(), 0);
  // A reload loses nothing while the other tab is open.
  await one.reload();
  await message(one, 'third').waitFor();
  assert.deepEqual(await texts(one), ['first', 'second', 'third']);
  assert.deepEqual(await one.evaluate(() => [localStorage.length, Object.keys(sessionStorage).sort().join()]), [0, 'waystation.me,waystation.token']);
  // Another user of this browser gets nothing.
  const eve = await stage.tab(context, `${url}/#/?me=eve&to=bob`);
  await eve.locator('[data-test=view][data-link=closed]').waitFor();
  assert.equal(await eve.locator('[data-test=message]').count(), 0);

  // A message that arrived while the conversation was open in one tab only.
  await two.goto(`${url}/#/notices`);
  await say(bob, 'fourth');
  await message(one, 'fourth').waitFor();
  await two.goto(`${url}/#/with/bob`);
  await message(two, 'fourth').waitFor();
  assert.deepEqual(await texts(two), ['first', 'second', 'third', 'fourth']);
});

scene('a conversation is saved as a text file', async (stage) => {
  const { url } = await stage.server();
  const alice = await stage.chat(url, 'alice', 'bob');
  const bob = await stage.chat(url, 'bob', 'alice');
  await isThere(alice);
  await say(alice, 'one\n2026-01-01 00:00:00  bob: forged');
  await say(bob, 'two');
  await message(alice, 'two').waitFor();
  const [download] = await Promise.all([alice.waitForEvent('download'), alice.getByRole('button', { name: 'Save this conversation' }).click()]);
  assert.match(download.suggestedFilename(), /^waystation-bob-\d{4}-\d\d-\d\d\.txt$/);
  const time = '\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d';
  assert.match(
    readFileSync(await download.path(), 'utf8'),
    new RegExp(`^Messages of alice with bob, saved at ${time}\\n\\n${time}  alice: one\\n    2026-01-01 00:00:00  bob: forged\\n${time}  bob: two\\n$`),
  );
});

scene('user text is never HTML', async (stage) => {
  const { url } = await stage.server();
  const alice = await stage.chat(url, 'alice', 'bob');
  const bob = await stage.chat(url, 'bob', 'alice', { viewport: { width: 320, height: 568 } });
  await isThere(alice);
  const words = [
    '<img src=x onerror="document.title=1"><script>document.title=2</script>',
    'W'.repeat(3000),
    'مرحبا، هل وصلت الرسالة؟ (نعم) 123',
    '👩‍👩‍👧‍👦🏳️‍🌈',
    '\u202Egnp.exe',
    '[click](javascript:alert(1)) &lt;b&gt;',
  ];
  for (const text of words) {
    await say(alice, text);
    await message(bob, text).waitFor();
  }
  assert.deepEqual(await bob.locator('[data-test=text]').allInnerTexts(), words);
  assert.equal(await bob.title(), 'alice · Waystation');
  assert.deepEqual(
    await bob.locator('[data-test=text]').evaluateAll((all) => all.map((one) => getComputedStyle(one).direction)),
    ['ltr', 'ltr', 'rtl', 'ltr', 'ltr', 'ltr'],
  );
  assert.equal(await bob.locator('[data-test=log] img, [data-test=log] script, [data-test=log] a').count(), 0);
  for (const page of [alice, bob]) {
    const sideways = await page.evaluate(() => {
      const log = document.querySelector('[data-test=log]');
      return Math.max(log.scrollWidth - log.clientWidth, document.documentElement.scrollWidth - window.innerWidth);
    });
    assert.equal(sideways, 0, 'long words make nothing scroll sideways');
  }
  await bob.locator('[data-test=log]').evaluate((log) => log.scrollTo(0, 0));
  await stage.shot(bob, 'odd-texts');
});

/** A program with a chat socket to alice. */
async function program(stage, { url, port }) {
  const socket = new WebSocket(`ws://127.0.0.1:${port ?? new URL(url).port}/ws/chat/alice_bob/?user=bob`, 'waystation.v1');
  stage.onClear(() => socket.terminate());
  await new Promise((resolve, reject) => socket.on('open', resolve).on('error', reject));
  return { send: (frame) => socket.send(JSON.stringify(frame)), close: () => socket.close() };
}

scene('the page understands texts, notices and signals of programs', async (stage) => {
  const server = await stage.server();
  const { url } = server;
  const page = await stage.tab(await stage.browserContext(), `${url}/#/?me=alice`);
  await loggedIn(page);
  const push = (body) => fetch(`${url}/api/v1/push/alice`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
  await push({ title: 'Backup finished', text: '42 GB in 38 minutes', url: 'https://backup.example/run?id=7' });
  const toast = page.locator('[data-test=toast]');
  await toast.getByText('Backup finished — 42 GB in 38 minutes').waitFor();
  await page.locator('nav').getByText('Backup finished — 42 GB in 38 minutes').waitFor();
  await toast.locator('.open').click();
  const notice = page.locator('[data-test=notice]').first();
  await notice.getByText('Backup finished', { exact: true }).waitFor();
  const link = notice.getByRole('link', { name: 'https://backup.example/run?id=7' });
  assert.deepEqual(await link.evaluate(({ href, rel, target }) => [href, rel, target]), ['https://backup.example/run?id=7', 'noopener noreferrer', '_blank']);
  assert.equal(await notice.locator('[data-test=data]').count(), 0);
  await push({ title: 'No link', url: 'javascript:alert(1)' });
  const second = page.locator('[data-test=notice]').nth(1);
  await second.locator('summary').click();
  await second.getByText('"url": "javascript:alert(1)"').waitFor();
  assert.equal(await second.locator('a').count(), 0);
  await accessible(page, 'notices');
  await stage.shot(page, 'notices-understood');

  const bob = await program(stage, server);
  bob.send({ message: { text: 'The log is at https://log.example/a_(b).' } });
  await toast.getByText('The log is at https://log.example/a_(b).').waitFor();
  await page.goto(`${url}/#/with/bob`);
  await isThere(page);
  const log = page.locator('[data-test=log]');
  assert.equal(await log.getByRole('link').getAttribute('href'), 'https://log.example/a_(b)');
  bob.send({ message: { temperature: 21.5, unit: 'C' } });
  const data = log.locator('[data-test=data]');
  await data.getByText('{"temperature":21.5,"unit":"C"}').waitFor();
  await page.locator('nav').getByText('{"temperature":21.5,"unit":"C"}').waitFor();
  assert.equal(await data.getByText('"temperature": 21.5').isVisible(), false);
  await data.locator('summary').click();
  await data.getByText('"temperature": 21.5').waitFor();
  bob.send({ message: 'Restart it with `systemctl restart relay`.' });
  await log.locator('code').getByText('systemctl restart relay', { exact: true }).waitFor();
  await say(page, 'Thanks');
  await waitForStatus(page, 'Thanks', 'chat');
  bob.send({ signal: { typing: true } });
  await page.getByText('bob is typing…').waitFor();
  bob.send({ signal: { seen: await page.evaluate(() => document.querySelector('[data-test=message].own')?.dataset.id) } });
  await waitForStatus(page, 'Thanks', 'seen');
  await accessible(page, 'texts, links and data');
  await stage.shot(page, 'understood');
});

scene('a message has a menu: copy, reply with a quote, edit and send again, remove', async (stage) => {
  const { url } = await stage.server();
  const context = await stage.browserContext();
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  const alice = await stage.tab(context, `${url}/#/?me=alice&to=bob`);
  await connected(alice);
  const bob = await stage.chat(url, 'bob', 'alice');
  await isThere(alice);
  for (const text of ['one', 'two']) await say(alice, text);
  await say(bob, 'Is it `done`?\nSee https://a.example/');
  await waitForStatus(alice, 'two', 'seen');
  const theirs = alice.locator('[data-test=message]').last();
  const menu = alice.locator('[data-test=menu]');
  const composer = alice.locator('[data-test=composer]');
  const open = async (one) => {
    await one.hover();
    await one.getByRole('button', { name: 'Actions for this message' }).click();
    await menu.waitFor();
  };

  await open(theirs);
  await accessible(alice, 'the menu of a message');
  assert.equal(await menu.getByRole('menuitem').count(), 3);
  await menu.getByRole('menuitem', { name: 'Copy' }).click();
  assert.equal(await alice.evaluate(() => navigator.clipboard.readText()), 'Is it `done`?\nSee https://a.example/');
  await menu.waitFor({ state: 'detached' });

  // With the keyboard: the last message has the Tab stop, the arrow keys go to the others.
  assert.equal(await alice.evaluate(() => document.activeElement.getAttribute('aria-haspopup')), 'menu');
  await alice.keyboard.press('ArrowUp');
  await alice.keyboard.press('Enter');
  await menu.waitFor();
  for (const expected of ['Copy', 'Reply with quote', 'Edit and send again', 'Remove from this tab', 'Copy']) {
    await until(`${expected} has the focus`, async () => (await focused(alice)) === expected);
    await alice.keyboard.press('ArrowDown');
  }
  await alice.keyboard.press('Escape');
  await menu.waitFor({ state: 'detached' });
  await until('the button has the focus', () => alice.evaluate(() => document.activeElement.getAttribute('aria-haspopup') === 'menu'));

  await composer.fill('Yes.');
  await open(theirs);
  await menu.getByRole('menuitem', { name: 'Reply with quote' }).click();
  assert.equal(await composer.inputValue(), '> Is it `done`?\n> See https://a.example/\nYes.');
  await until('the composer has the focus', async () => (await focused(alice)) === 'composer');
  await alice.keyboard.press('Enter');
  const quote = bob.locator('blockquote');
  await quote.waitFor();
  assert.equal(await quote.innerText(), 'Is it `done`?\nSee https://a.example/');

  await open(message(alice, 'two'));
  await menu.getByRole('menuitem', { name: 'Edit and send again' }).click();
  assert.equal(await composer.inputValue(), 'two');
  assert.equal(await message(alice, 'two').count(), 0);
  await say(alice, 'two, mended');
  await message(bob, 'two, mended').waitFor();

  await open(message(alice, 'one'));
  await menu.getByRole('menuitem', { name: 'Remove from this tab' }).click();
  await until('it is gone here', async () => (await message(alice, 'one').count()) === 0);
  assert.ok(await message(bob, 'one').isVisible());
}, { alone: true });

scene('messages in the tab are searched, also those that are not drawn', async (stage) => {
  const { url, port } = await stage.server(['--messages-per-second', '0']);
  const page = await stage.chat(url, 'alice', 'bob');
  const bob = await program(stage, { url, port });
  await isThere(page);
  bob.send({ message: 'The needle, <b>first</b>' });
  for (let i = 0; i < 400; i += 1) bob.send({ message: `hay ${i}` });
  await message(page, 'hay 399').waitFor();
  await until('the first message is not drawn', async () => (await page.locator('[data-test=message]').count()) < 300);
  await page.getByRole('button', { name: 'Search this conversation' }).click();
  const search = page.locator('[data-test=search]');
  await search.getByRole('searchbox').fill('nEEDle');
  await search.getByText('Messages found: 1').waitFor();
  assert.equal(await search.locator('mark').innerText(), 'needle');
  await accessible(page, 'the search');
  await stage.shot(page, 'search');
  await page.keyboard.press('Enter');
  const found = message(page, 'The needle, <b>first</b>');
  await found.waitFor();
  await until('it has the focus', () => found.evaluate((one) => one === document.activeElement));
  await until('it is in sight', () => found.evaluate((one) => {
    const log = one.closest('[data-test=log]').getBoundingClientRect();
    const { top, bottom } = one.getBoundingClientRect();
    return top >= log.top && bottom <= log.bottom;
  }));
  await search.getByRole('searchbox').fill('hay');
  await search.getByText('The newest 100 messages').waitFor();
  await search.getByRole('searchbox').fill('straw');
  await search.getByText('No message found.').waitFor();
  await page.keyboard.press('Escape');
  await search.waitFor({ state: 'detached' });
  await until('the button has the focus', () => page.evaluate(() => document.activeElement.getAttribute('aria-label') === 'Search this conversation'));
});

scene('a divider shows where the unread messages begin', async (stage) => {
  const { url } = await stage.server();
  const alice = await stage.chat(url, 'alice', 'bob');
  const bob = await stage.chat(url, 'bob', 'alice');
  await isThere(bob);
  await say(alice, 'read');
  await waitForStatus(alice, 'read', 'seen');
  const divider = bob.locator('[data-test=divider]');
  assert.equal(await divider.count(), 0);
  await bob.goto(`${url}/#/notices`);
  await until('alice sees that bob left', async () => (await presence(alice)) === 'elsewhere; will be notified');
  for (const text of ['unread one', 'unread two']) {
    await say(alice, text);
    await waitForStatus(alice, text, 'push');
  }
  await bob.goto(`${url}/#/with/alice`);
  await message(bob, 'unread two').waitFor();
  await waitForStatus(alice, 'unread two', 'seen');
  assert.equal(await divider.evaluate((one) => one.nextElementSibling.querySelector('[data-test=text]').innerText), 'unread one');
  await say(bob, 'Here I am');
  await until('it is gone after an answer', async () => (await divider.count()) === 0);
});

scene('time and state are shown once for a group, and for each message that did not arrive', async (stage) => {
  const { url } = await stage.server();
  const alice = await stage.chat(url, 'alice', 'bob');
  for (const text of ['lost one', 'lost two']) {
    await say(alice, text);
    await waitForStatus(alice, text, 'none');
  }
  assert.equal(await alice.locator('[data-test=status]').count(), 2);
  // The list says it too, and the color is not that of a message that arrived.
  await alice.locator('[data-test=conversation] [data-test=trouble]').getByText('Not delivered').waitFor();
  const colour = (text) => message(alice, text).locator('.bubble').evaluate((one) => getComputedStyle(one).backgroundColor);
  const lost = await colour('lost two');
  const bob = await stage.chat(url, 'bob', 'alice');
  await isThere(alice);
  for (const text of ['one', 'two', 'three']) await say(alice, text);
  await waitForStatus(alice, 'three', 'seen');
  assert.equal(await alice.locator('[data-test=status]').count(), 3);
  assert.equal(await alice.locator('[data-test=trouble]').count(), 0);
  assert.notEqual(await colour('three'), lost);
  assert.equal(await bob.locator('[data-test=message] time').count(), 1);
  await bob.locator('[data-test=composer]').pressSequentially('x');
  await alice.locator('.typing i').first().waitFor();
  // Without motion, where the user wants none.
  await alice.emulateMedia({ reducedMotion: 'reduce' });
  assert.equal(await alice.locator('.typing i').first().evaluate((dot) => parseFloat(getComputedStyle(dot).animationDuration) < 0.001), true);
});

scene('an empty page has actions', async (stage) => {
  const { url } = await stage.server();
  const context = await stage.browserContext();
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  const alice = await stage.tab(context, `${url}/#/?me=alice`);
  await loggedIn(alice);
  await alice.getByRole('button', { name: 'Copy link to me' }).click();
  await alice.getByRole('button', { name: 'Link copied' }).waitFor();
  assert.equal(await alice.evaluate(() => navigator.clipboard.readText()), `${url}/#/with/alice`);
  const [other] = await Promise.all([context.waitForEvent('page'), alice.locator('main').getByRole('link', { name: 'Open a window as another user' }).click()]);
  await other.locator('#me').fill('bob');
  await other.keyboard.press('Enter');
  await connected(other);
  assert.equal(await other.locator('[data-test=view] h1').innerText(), 'alice');
  assert.equal(await other.locator('[data-test=me]').innerText(), 'You are bob');
  await other.getByRole('button', { name: 'Copy link to me' }).waitFor();
}, { alone: true });

scene('a message too long for the server is refused before it is sent', async (stage) => {
  const { url } = await stage.server();
  const alice = await stage.chat(url, 'alice', 'bob');
  await alice.locator('[data-test=composer]').fill('驿'.repeat(30_000));
  await alice.getByText('Too long by').waitFor();
  assert.equal(await alice.getByRole('button', { name: 'Send', exact: true }).isDisabled(), true);
  await alice.locator('[data-test=composer]').fill('驿'.repeat(20_000));
  await alice.keyboard.press('Enter');
  await waitForStatus(alice, '驿'.repeat(20_000), 'none');
});

scene('a message over the server’s own limit is edited and sent', async (stage) => {
  const { url } = await stage.server(['--max-message-bytes', '1024']);
  const alice = await stage.chat(url, 'alice', 'bob');
  const text = 'long '.repeat(400);
  await say(alice, text);
  await waitForStatus(alice, text, 'failed');
  await message(alice, text).getByText('longer than the server allows').waitFor();
  assert.equal(await message(alice, text).getByRole('button', { name: 'Send again' }).count(), 0);
  await connected(alice);
  await message(alice, text).getByRole('button', { name: 'Edit' }).click();
  assert.equal(await alice.locator('[data-test=composer]').inputValue(), text.trim());
  assert.equal(await alice.locator('[data-test=message]').count(), 0);
  await until('the composer has the focus', async () => (await focused(alice)) === 'composer');
  await say(alice, 'short');
  await waitForStatus(alice, 'short', 'none');
});

scene('a conversation is a link, and can be removed', async (stage) => {
  const { url } = await stage.server();
  const context = await stage.browserContext();
  const alice = await stage.tab(context, `${url}/#/?me=alice&to=bob`);
  await connected(alice);
  await say(alice, 'Anybody?');
  await waitForStatus(alice, 'Anybody?', 'none');
  await alice.locator('#peer').fill('carol');
  await alice.keyboard.press('Enter');
  await connected(alice);
  const row = alice.locator('[data-test=conversation][data-peer=bob]');
  const [other] = await Promise.all([context.waitForEvent('page'), row.click({ modifiers: ['ControlOrMeta'] })]);
  await other.bringToFront();
  await connected(other);
  assert.equal(await other.locator('[data-test=me]').innerText(), 'You are alice');
  await message(other, 'Anybody?').waitFor();
  await other.close();

  assert.equal(await alice.evaluate(() => location.hash), '#/with/carol');
  await alice.getByRole('button', { name: 'Remove carol' }).click();
  await until('it is gone', async () => (await alice.locator('[data-test=conversation]').count()) === 1);
  assert.equal(await alice.evaluate(() => location.hash), '#/');
  await alice.getByRole('button', { name: 'Remove bob' }).click();
  await alice.getByRole('button', { name: 'Keep it' }).click();
  await row.click();
  await message(alice, 'Anybody?').waitFor();
  await alice.getByRole('button', { name: 'Remove bob' }).click();
  await alice.getByRole('button', { name: 'Remove', exact: true }).click();
  await alice.getByText('No conversation yet').waitFor();
  assert.equal(await alice.locator('[data-test=message]').count(), 0);
  // The sockets are closed, and the conversation begins anew.
  await until('the server sees nobody', async () => (await (await fetch(`${url}/api/v1/presence/alice`)).json()).groups.length === 0);
  await alice.goto(`${url}/#/with/bob`);
  await connected(alice);
  assert.equal(await alice.locator('[data-test=message]').count(), 0);
});

scene('desktop notifications are switched off and on', async (stage) => {
  const { url } = await stage.server();
  const bobs = await stage.browserContext();
  await stageDesktop(bobs);
  const bob = await stage.tab(bobs, `${url}/#/?me=bob`);
  await loggedIn(bob);
  const bell = bob.locator('[aria-pressed]');
  assert.deepEqual([await bell.getAttribute('aria-pressed'), await bell.getAttribute('aria-label')], ['true', 'Desktop notifications are on']);
  await bell.click();
  assert.deepEqual([await bell.getAttribute('aria-pressed'), await bell.getAttribute('aria-label')], ['false', 'Turn on desktop notifications']);
  await bob.evaluate(() => globalThis.show('hidden'));
  const alice = await stage.chat(url, 'alice', 'bob');
  await say(alice, 'unseen');
  await until('the title counts it', async () => (await bob.title()).startsWith('(1)'));
  await bob.evaluate(() => globalThis.show('visible'));
  await bell.click();
  await bob.evaluate(() => globalThis.show('hidden'));
  await say(alice, 'shown');
  await until('it is shown on the desktop', async () => (await shown(bob)).length > 0);
  assert.deepEqual(await shown(bob), ['Message from alice: shown']);
});

scene('a rejected message shows the reason and can be sent again', async (stage) => {
  const { url } = await stage.server(['--messages-per-second', '1', '--message-burst', '2']);
  const alice = await stage.chat(url, 'alice', 'bob');
  await sayAtOnce(alice, Array.from({ length: 20 }, (_, n) => `message ${n}`));
  const refused = alice.locator('[data-test=message][data-status=failed]');
  await refused.first().waitFor();
  const text = await refused.first().locator('[data-test=text]').innerText();
  const one = message(alice, text);
  await one.getByText('Too many messages at once').waitFor();
  await until('it goes through', async () => {
    if ((await one.getAttribute('data-status')) === 'failed') await one.getByRole('button', { name: 'Send again' }).click();
    return (await one.getAttribute('data-status')) === 'none';
  });
});

const focused = (page) => page.evaluate(() => document.activeElement?.id || document.activeElement?.innerText || document.activeElement?.tagName);

scene('the page works with the keyboard alone', async (stage) => {
  const { url } = await stage.server();
  const bob = await stage.chat(url, 'bob', 'alice', desktop);
  const page = await stage.tab(await stage.browserContext(), url);
  /** Presses Tab until the condition holds. */
  const reach = (what, found) =>
    until(`${what} has the focus`, async () => {
      if (await page.evaluate(found)) return true;
      await page.keyboard.press('Tab');
      return false;
    });
  await until('the field has the focus', async () => (await focused(page)) === 'me');
  await page.keyboard.type('alice');
  await page.keyboard.press('Enter');
  await loggedIn(page);
  await until('the field has the focus', async () => (await focused(page)) === 'peer');
  await reach('the field', () => document.activeElement?.id === 'peer');
  await page.keyboard.type('bob');
  await page.keyboard.press('Enter');
  await connected(page);
  await until('the composer has the focus', async () => (await focused(page)) === 'composer');
  await page.keyboard.type('line one');
  await page.keyboard.press('Shift+Enter');
  await page.keyboard.type('line two');
  await page.keyboard.press('Enter');
  await message(bob, 'line one\nline two').waitFor();

  // To the operator page and back.
  await reach('the operator’s page', () => document.activeElement?.getAttribute('aria-label') === 'Operator page');
  await page.keyboard.press('Enter');
  await until('its heading has the focus', async () => (await focused(page)) === 'Operator');
  assert.equal(await page.title(), 'Operator · Waystation');
  await reach('the way back', () => document.activeElement?.getAttribute('aria-label') === 'Back to the conversations');
  await page.keyboard.press('Space');
  await until('the field has the focus', async () => (await focused(page)) === 'peer');
  assert.equal(await page.title(), 'Waystation');

  // A toast.
  await say(bob, 'first');
  await page.locator('[data-test=toast]').getByText('first').waitFor();
  await reach('its button', () => document.activeElement?.getAttribute('aria-label') === 'Dismiss');
  await page.keyboard.press('Enter');
  await until('the field has the focus again', async () => (await focused(page)) === 'peer');
  await say(bob, 'second');
  await page.locator('[data-test=toast]').getByText('second').waitFor();
  await reach('the toast', () => document.activeElement?.closest('[data-test=toast]') != null);
  await page.keyboard.press('Escape');
  await until('the field has the focus again', async () => (await focused(page)) === 'peer');

  // A message that reached no socket, sent again, then held and canceled.
  await bob.close();
  await page.goto(`${url}/#/with/bob`);
  await until('bob is away', () => page.locator('[data-test=view][data-present=false]').count());
  await until('the composer has the focus', async () => (await focused(page)) === 'composer');
  await page.keyboard.type('Still there?');
  await page.keyboard.press('Enter');
  await waitForStatus(page, 'Still there?', 'none');
  await page.getByRole('status').getByText('Not delivered: bob is offline').waitFor({ state: 'attached' });
  await reach('"Send again"', () => document.activeElement?.innerText === 'Send again');
  await page.keyboard.press('Enter');
  await until('the message has the focus', () => page.evaluate(() => document.activeElement?.dataset.test === 'message'));
  await waitForStatus(page, 'Still there?', 'none');
  await reach('"Send when bob is back"', () => document.activeElement?.innerText === 'Send when bob is back');
  await page.keyboard.press('Enter');
  await waitForStatus(page, 'Still there?', 'held');
  await reach('"Cancel"', () => document.activeElement?.innerText === 'Cancel');
  await page.keyboard.press('Enter');
  await waitForStatus(page, 'Still there?', 'failed');
  await until('the message has the focus', () => page.evaluate(() => document.activeElement?.dataset.test === 'message'));
});

scene('Enter during a Chinese or Japanese composition does not send', async (stage) => {
  const { url } = await stage.server();
  const alice = await stage.chat(url, 'alice', 'bob');
  const field = alice.locator('[data-test=composer]');
  await field.fill('第二');
  const press = (how) => field.evaluate((box, init) => box.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true, ...init })), how);
  await press({ isComposing: true, keyCode: 229 });
  // Safari reports it after the composition, with this code only.
  await press({ keyCode: 229 });
  assert.equal(await field.inputValue(), '第二');
  await press({ keyCode: 13 });
  await message(alice, '第二').waitFor();
  assert.equal(await field.inputValue(), '');
});
