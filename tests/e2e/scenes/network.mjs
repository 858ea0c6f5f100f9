import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { scene, until } from '../lib/harness.mjs';
import { freePort, www } from '../lib/server.mjs';
import { makeKey } from '../lib/token.mjs';
import {
  accessible, auditingServer, connected, desktop, isThere, loggedIn, message, say, waitForever, waitForStatus,
} from '../lib/world.mjs';

const line = (page) => page.locator('[data-test=connection-status]');
const waiting = (page) => page.locator('[data-test=connection-status][data-state=waiting]').waitFor();

scene('the page reconnects after the server was killed', async (stage) => {
  const port = await freePort();
  const before = await stage.server([], port);
  const alice = await stage.chat(before.url, 'alice', 'bob');
  const bob = await stage.chat(before.url, 'bob', 'alice');
  await isThere(alice);
  await say(alice, 'before');
  await message(bob, 'before').waitFor();

  await before.kill();
  await waiting(alice);
  await waiting(bob);
  await say(alice, 'while it was away');
  await waitForStatus(alice, 'while it was away', 'queued');
  await until('the line says that one message waits', async () => (await line(alice).innerText()).includes('Messages waiting: 1'));
  await stage.shot(alice, 'server-away');

  await stage.server([], port);
  await connected(bob);
  await connected(alice);
  await waitForStatus(alice, 'while it was away', 'chat', 'push', 'none', 'seen');
  await isThere(alice);
  await say(alice, 'after');
  await message(bob, 'after').waitFor();
  // The history is in the tab, not on the server.
  assert.ok(await message(bob, 'before').isVisible());
  await loggedIn(alice);
  await until('nothing is said to be wrong any more', async () => (await line(alice).count()) === 0);
}, { seconds: 120 });

scene('the page reconnects after a clean restart of the server', async (stage) => {
  const port = await freePort();
  const before = await stage.server([], port);
  const alice = await stage.chat(before.url, 'alice', 'bob');
  await before.stop();
  await waiting(alice);
  await stage.server([], port);
  // The page may reconnect before the click.
  await Promise.any([alice.getByRole('button', { name: 'Retry now' }).click(), connected(alice)]);
  await connected(alice);
}, { seconds: 90 });

scene('one connection that opens brings back the others of all tabs', async (stage) => {
  const port = await freePort();
  const before = await stage.server([], port);
  const context = await stage.browserContext();
  const first = await context.newPage();
  await waitForever(first);
  await first.goto(`${before.url}/#/?me=alice&to=bob`);
  await connected(first);
  await loggedIn(first);
  await before.kill();
  await until('both connections wait', async () => (await first.evaluate(() => globalThis.endless)) === 2);
  const after = await stage.server([], port);
  const second = await stage.tab(context, `${after.url}/#/?me=alice&to=carol`);
  await connected(second);
  await loggedIn(first);
  await connected(first);
}, { seconds: 60 });

scene('a message is sent although the conversation was closed', async (stage) => {
  const port = await freePort();
  const before = await stage.server([], port);
  const alice = await stage.chat(before.url, 'alice', 'bob');
  const proxied = await stage.proxy(before);
  const bob = await stage.chat(before.url, 'bob', 'alice');
  await isThere(bob);
  const home = (page) => page.locator('[data-test=conversation][data-peer=dora]').click();
  const back = (page, peer) => page.locator(`[data-test=conversation][data-peer=${peer}]`).click();

  // Sent: closed within the round trip.
  const carol = await stage.chat(proxied.url, 'carol', 'bob');
  await carol.locator('#peer').fill('dora');
  await carol.keyboard.press('Enter');
  await back(carol, 'bob');
  await connected(carol);
  proxied.network.delayMs = 500;
  await say(carol, 'on the way');
  await home(carol);
  await bob.locator('[data-test=toast]').getByText('on the way').waitFor();
  await back(carol, 'bob');
  await waitForStatus(carol, 'on the way', 'push');
  proxied.network.delayMs = 0;

  // Queued: closed while there is no connection.
  await alice.locator('#peer').fill('dora');
  await alice.keyboard.press('Enter');
  await back(alice, 'bob');
  await connected(alice);
  await before.kill();
  await waiting(alice);
  await say(alice, 'written away from home');
  await waitForStatus(alice, 'written away from home', 'queued');
  await home(alice);
  const after = await stage.server([], port);
  const ask = async (path) => (await fetch(after.url + path)).json();
  // The route depends on which socket reconnected first.
  await until('the message was sent', async () => {
    const { messages_chat: chat, messages_pushed: pushed, messages_undelivered: undelivered } = await ask('/healthz');
    return chat + pushed + undelivered === 1;
  }, 60);
  await until('alice has closed the conversation', async () => !(await ask('/api/v1/presence/alice')).groups.includes('alice_bob'));
  await back(alice, 'bob');
  await waitForStatus(alice, 'written away from home', 'chat', 'push', 'none', 'seen');
}, { seconds: 120 });

scene('the status names the lost connection', async (stage) => {
  const port = await freePort();
  const before = await stage.server([], port);
  const context = await stage.browserContext();
  // The push socket of this browser breaks as soon as it is open.
  await context.routeWebSocket(/\/push\//, (socket) => socket.close());
  const alice = await stage.tab(context, `${before.url}/#/?me=alice&to=bob`);
  await connected(alice);
  await line(alice).getByText('Notifications: The connection was lost.').waitFor();

  const small = await stage.server(['--max-connections-per-user', '1']);
  const bob = await stage.tab(await stage.browserContext(), `${small.url}/#/?me=bob`);
  await loggedIn(bob);
  await bob.goto(`${small.url}/#/with/alice`);
  await line(bob).getByText('This conversation: The server has reached its connection limit.').waitFor();

  const carol = await stage.tab(await stage.browserContext(), `${before.url}/#/?me=carol`);
  await loggedIn(carol);
  await carol.goto(`${before.url}/#/notices`);
  await carol.getByText('No notices yet.').waitFor();
  assert.equal(await line(carol).count(), 0);
  await before.kill();
  await waiting(carol);
  assert.ok(!(await line(carol).innerText()).includes('Notifications:'), 'there is but one');
  await stage.server([], port);
  await carol.getByRole('button', { name: 'Retry now' }).click().catch(() => {});
  await loggedIn(carol);
  await until('nothing is said to be wrong any more', async () => (await line(carol).count()) === 0);
}, { seconds: 90 });

scene('the page and its sockets work in a folder of a larger site', async (stage) => {
  const site = await stage.proxy(await stage.server(), '/relay');
  const alice = await stage.chat(`${site.url}/relay`, 'alice', 'bob');
  await loggedIn(alice);
  const bob = await stage.chat(`${site.url}/relay`, 'bob', 'alice');
  await isThere(alice);
  await say(alice, 'from below');
  await message(bob, 'from below').waitFor();
  await alice.goto(`${site.url}/relay/#/operator`);
  await alice.locator('[data-test=chart]').first().waitFor();
});

scene('two users chat over TLS', async (stage) => {
  const folder = mkdtempSync(join(tmpdir(), 'waystation-e2e-'));
  stage.onClear(() => rmSync(folder, { recursive: true }));
  const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'certificate.pem')];
  execFileSync(
    'openssl',
    ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30', '-subj', '/CN=localhost', '-keyout', key, '-out', certificate],
    { stdio: 'ignore' },
  );
  const { url } = await stage.server(['--listen', 'https://127.0.0.1:0', '--tls-certificate', certificate, '--tls-key', key]);
  assert.equal(new URL(url).protocol, 'https:');
  const trusting = { ...desktop, ignoreHTTPSErrors: true };
  const alice = await stage.chat(url, 'alice', 'bob', trusting);
  const bob = await stage.chat(url, 'bob', 'alice', trusting);
  assert.equal(await alice.evaluate(() => isSecureContext), true);
  await isThere(alice);
  await say(alice, 'hello');
  await message(bob, 'hello').waitFor();
  await waitForStatus(alice, 'hello', 'seen');
});

scene('on a slow network the message is shown as sending', async (stage) => {
  const server = await stage.server();
  const proxy = await stage.proxy(server);
  const bob = await stage.chat(server.url, 'bob', 'alice');
  const alice = await stage.chat(proxy.url, 'alice', 'bob');
  await isThere(alice);
  proxy.network.delayMs = 2000;
  await say(alice, 'slowly');
  await waitForStatus(alice, 'slowly', 'sending');
  await stage.shot(alice, 'slow-network');
  await message(bob, 'slowly').waitFor();
  await waitForStatus(alice, 'slowly', 'chat', 'seen');
});

scene('a dead network is detected', async (stage) => {
  // Without an audit, the page's question who tried to reach its user is answered with an error.
  const server = await auditingServer(stage);
  const proxy = await stage.proxy(server);
  const alice = await stage.chat(proxy.url, 'alice', 'bob');
  await loggedIn(alice);
  // The server must have answered a ping once.
  await alice.evaluate(() => window.dispatchEvent(new Event('online')));
  await say(alice, 'heard');
  await waitForStatus(alice, 'heard', 'none');
  assert.equal((await (await fetch(`${server.url}/healthz`)).json()).errors_sent, 0, 'a heartbeat is no error');
  proxy.network.dead = true;
  await say(alice, 'into the void');
  await alice.evaluate(() => window.dispatchEvent(new Event('online')));
  await line(alice).waitFor();
  await waitForStatus(alice, 'into the void', 'unknown');
  proxy.network.dead = false;
  proxy.cut();
  await connected(alice);
  await message(alice, 'into the void').getByRole('button', { name: 'Send again' }).click();
  await waitForStatus(alice, 'into the void', 'none');
}, { seconds: 120 });

scene('a device goes offline and online', async (stage) => {
  const server = await stage.server();
  const proxy = await stage.proxy(server);
  const context = await stage.browserContext();
  const alice = await stage.tab(context, `${proxy.url}/#/?me=alice&to=bob`);
  await connected(alice);
  await context.setOffline(true);
  proxy.cut();
  await line(alice).getByText('This device is offline').waitFor();
  await stage.shot(alice, 'offline');
  await say(alice, 'written offline');
  await waitForStatus(alice, 'written offline', 'queued');
  await context.setOffline(false);
  await connected(alice);
  await waitForStatus(alice, 'written offline', 'none');
}, { seconds: 90 });

scene('a refusal is shown with the server’s reason', async (stage) => {
  const { url } = await stage.server(['--max-connections-per-user', '2']);
  const one = await stage.chat(url, 'alice', 'bob');
  await loggedIn(one);
  const two = await stage.tab(await stage.browserContext(), `${url}/#/?me=alice&to=carol`);
  await line(two).getByText('The server has reached its connection limit.').waitFor();
  await one.close();
  await connected(two);
}, { seconds: 90 });

scene('a server with tokens gets the token form first', async (stage) => {
  const key = makeKey();
  stage.onClear(key.remove);
  const { url } = await stage.server(['--auth', 'jwt', '--jwt-key-file', key.file]);
  const page = await stage.tab(await stage.browserContext(), url);
  await until('the keyboard is in the field', () => page.evaluate(() => document.activeElement.id === 'token'));
  assert.equal(await page.locator('#me').count(), 0);
  await page.keyboard.type(key.token('alice', 3600));
  await page.keyboard.press('Enter');
  await loggedIn(page);
  // With a token in the cookie, the page asks for the name.
  const known = await stage.browserContext();
  await known.addCookies([{ name: 'waystation_token', value: key.token('bob', 3600), url }]);
  const bob = await stage.tab(known, url);
  await bob.locator('#me').fill('bob');
  await bob.keyboard.press('Enter');
  await loggedIn(bob);
});

scene('a token that the server refuses stays in the form, with the reason', async (stage) => {
  const [key, otherKey] = [makeKey(), makeKey()];
  stage.onClear(key.remove);
  stage.onClear(otherKey.remove);
  const { url } = await stage.server(['--auth', 'jwt', '--jwt-key-file', key.file]);
  const context = await stage.browserContext();
  const page = await stage.tab(context, url);
  const field = page.locator('#token');
  await field.waitFor();
  const expired = key.token('alice', -60);
  const reasons = [
    [expired, 'This token expired on ', '此令牌已于 '],
    [key.token('alice', 3600, undefined, { nbf: Math.floor(Date.now() / 1000) + 600 }), 'the token is not valid yet', '令牌尚未生效'],
    [otherKey.token('alice', 3600), 'it is signed with a key that the server does not know', '不是服务器认可的密钥'],
    ['not a token', 'Not a valid token', '令牌无效'],
  ];
  for (const [token, english, chinese] of reasons) {
    await field.fill(token);
    await page.keyboard.press('Enter');
    await page.getByRole('alert').getByText(english).waitFor();
    await until('the field has the focus', () => page.evaluate(() => document.activeElement.id === 'token'));
    assert.equal(await page.locator('[data-test=messenger]').count(), 0);
    await page.getByRole('button', { name: 'Language: 中文' }).click();
    await page.getByRole('alert').getByText(chinese).waitFor();
    await page.getByRole('button', { name: '语言: English' }).click();
  }
  await accessible(page, 'a refused token');
  await stage.shot(page, 'token-refused');
  // The same in a link, which signs in once it has a valid token.
  const linked = await stage.tab(context, `${url}/#/?token=${expired}&to=bob`);
  await linked.getByRole('alert').getByText('This token expired on ').waitFor();
  await linked.locator('#token').fill(key.token('alice', 3600));
  await linked.keyboard.press('Enter');
  await loggedIn(linked);
  // Another user's token asks first. If the server refuses it, the user stays.
  await linked.evaluate((token) => void (location.hash = `#/?token=${token}`), otherKey.token('eve', 3600));
  const dialog = linked.locator('[data-test=confirm]');
  await dialog.getByRole('button', { name: 'Continue as eve' }).click();
  await dialog.getByText('it is signed with a key that the server does not know').waitFor();
  await accessible(linked, 'a refused token of another user');
  await dialog.getByRole('button', { name: 'No, I am alice' }).click();
  assert.equal(await linked.locator('[data-test=me]').innerText(), 'You are alice');
  await loggedIn(linked);
});

scene('a new token reconnects after expiry', async (stage) => {
  const key = makeKey();
  stage.onClear(key.remove);
  const { url } = await stage.server(['--auth', 'jwt', '--jwt-key-file', key.file]);
  const page = await stage.tab(await stage.browserContext(), `${url}/#/?token=${key.token('alice', 15)}&to=bob`);
  await connected(page);
  assert.equal(await page.locator('[data-test=me]').innerText(), 'You are alice');
  assert.ok(!page.url().includes('token'), 'the address keeps no token');
  await page.locator('[data-test=connection-status][data-state=closed]').getByText('Your token has expired').waitFor({ timeout: 40_000 });
  await stage.shot(page, 'token-expired');
  await page.getByRole('button', { name: 'Enter a token' }).click();
  await page.locator('#token').fill('not a token');
  await page.getByRole('button', { name: 'Use the token' }).click();
  await page.getByText('Not a valid token').waitFor();
  await page.locator('#token').fill(key.token('alice', 3600));
  await page.getByRole('button', { name: 'Use the token' }).click();
  await connected(page);
  await loggedIn(page);
}, { seconds: 90 });

scene('without a token the page asks for one', async (stage) => {
  const key = makeKey();
  stage.onClear(key.remove);
  const { url } = await stage.server(['--auth', 'jwt', '--jwt-key-file', key.file]);
  const page = await stage.tab(await stage.browserContext(), `${url}/#/?me=alice&to=bob`);
  await page.locator('[data-test=connection-status][data-state=closed]').waitFor();
  await page.getByRole('button', { name: 'Enter a token' }).click();
  await page.locator('#token').fill(key.token('alice', 3600));
  await page.getByRole('button', { name: 'Use the token' }).click();
  await connected(page);
});

scene('the client renews a token on the open socket', async (stage) => {
  const key = makeKey();
  stage.onClear(key.remove);
  const { url } = await stage.server(['--auth', 'jwt', '--jwt-key-file', key.file]);
  const page = await stage.tab(await stage.browserContext(), url);
  await page.evaluate(async ([short, long]) => {
    const { connectPush, openChat } = await import('/waystation.js');
    const follow = (one) => {
      const states = [one.state.name];
      one.on('state', (state) => states.push(state.name === 'closed' ? state.reason.cause : state.name));
      return states;
    };
    const asked = [];
    const token = (reason) => {
      asked.push(reason);
      return reason === 'connect' ? short : long;
    };
    globalThis.asked = asked;
    globalThis.renewed = [follow(connectPush('alice', { token, shared: false })), follow(openChat('alice_bob', { user: 'alice', token }))];
    // It has no other token: it closes when the short one expires.
    globalThis.ended = follow(connectPush('alice', { token: short, shared: false }));
  }, [key.token('alice', 8), key.token('alice', 3600)]);
  await page.waitForFunction(() => globalThis.ended.at(-1) === 'expired', null, { timeout: 40_000 });
  assert.deepEqual(await page.evaluate(() => globalThis.renewed.map((states) => states.join())), ['connecting,open', 'connecting,open']);
  assert.deepEqual(await page.evaluate(() => globalThis.asked.sort().join()), 'connect,connect,expiring,expiring');
});

scene('a page of another origin gets the reason of a refusal', async (stage) => {
  const key = makeKey();
  stage.onClear(key.remove);
  // A page with the client, from an origin that the relay allows.
  const site = createServer(({ url: path }, response) => {
    const script = path === '/waystation.js';
    response.setHeader('Content-Type', script ? 'text/javascript' : 'text/html');
    response.end(script ? readFileSync(join(www, 'waystation.js')) : '<!doctype html><link rel="icon" href="data:,"><title>elsewhere</title>');
  });
  stage.onClear(() => site.close());
  await new Promise((resolve) => site.listen(0, '127.0.0.1', resolve));
  const home = `http://127.0.0.1:${site.address().port}`;
  const { url: relay } = await stage.server(['--auth', 'jwt', '--jwt-key-file', key.file, '--allowed-origins', home]);
  const page = await stage.tab(await stage.browserContext(), home);
  const ends = (options) =>
    page.evaluate(async ([server, token]) => {
      const { openChat, connectPush } = await import('/waystation.js');
      const links = [connectPush('alice', { server, token, shared: false }), openChat('alice_bob', { user: 'alice', server, token })];
      return Promise.all(
        links.map((link) => new Promise((resolve) => {
          link.on('state', (state) => {
            if (state.name === 'waiting' || state.name === 'open') resolve(state.cause ?? state.name);
            if (state.name === 'closed') resolve(`${state.reason.status} ${state.reason.code}`);
          });
        })),
      );
    }, options);
  assert.deepEqual(await ends([relay, key.token('alice', 3600)]), ['open', 'open']);
  assert.deepEqual(await ends([relay, key.token('carol', 3600)]), ['403 not_that_user', '403 not_a_member']);
  assert.deepEqual(await ends([relay, `${key.token('alice', 3600)}x`]), ['401 unauthenticated', '401 unauthenticated']);
  // Without a token, only the cookie identifies the user.
  await page.context().addCookies([{ name: 'waystation_token', value: key.token('carol', 3600), url: relay }]);
  assert.deepEqual(await ends([relay, null]), ['403 not_that_user', '403 not_a_member']);
});

scene('an administrator ends a session', async (stage) => {
  const { url } = await stage.server();
  const alice = await stage.chat(url, 'alice', 'bob');
  const response = await fetch(`${url}/api/v1/sessions/alice`, { method: 'DELETE' });
  assert.equal(response.status, 200);
  await line(alice).getByText('An administrator ended your session.').waitFor();
  await alice.getByRole('button', { name: 'Reconnect' }).click();
  await connected(alice);
});

scene('a page of another origin learns that the server does not allow it', async (stage) => {
  const { url: relay } = await stage.server();
  const { url: other } = await stage.server();
  // The policy of this page would forbid the connection; that of another site's page would not.
  const page = await (await stage.browserContext({ ...desktop, bypassCSP: true, serviceWorkers: 'block' })).newPage();
  await page.goto(other);
  const cause = (server) =>
    page.evaluate(async (address) => {
      const { connectPush } = await import('./waystation.js');
      const link = connectPush('alice', { server: address });
      try {
        return await new Promise((resolve) => link.on('state', (state) => state.name === 'waiting' && resolve(state.cause)));
      } finally {
        link.close();
      }
    }, server);
  assert.equal(await cause(relay), 'blocked');
  assert.equal(await cause(`http://127.0.0.1:${await freePort()}`), 'unreachable');
});
