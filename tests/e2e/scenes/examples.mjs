// The examples of embed/examples for a page behind its own login.
import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { scene } from '../lib/harness.mjs';
import { binary, freePort } from '../lib/server.mjs';
import { makeKey } from '../lib/token.mjs';

const open = 1;
const closed = 3;
const examples = fileURLToPath(new URL('../../../embed/examples', import.meta.url));

function makeFolder(stage) {
  const folder = mkdtempSync(join(tmpdir(), 'waystation-examples-'));
  chmodSync(folder, 0o755); // nginx's workers run as another user
  stage.onClear(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** Django's development server with chat_site.py. */
const startDjango = (stage, folder, address, ...options) =>
  stage.program('/usr/bin/python3', ['-u', `${examples}/django/chat_site.py`, address, ...options], /Starting development server/, { cwd: folder });

/** Logs in, and waits until the push socket is open. */
async function logIn(stage, site, name) {
  const context = await stage.browserContext();
  await context.addInitScript(() => {
    globalThis.sockets = [];
    globalThis.WebSocket = class extends WebSocket {
      constructor(...what) {
        super(...what);
        globalThis.sockets.push(this);
      }
    };
  });
  const page = await stage.tab(context, site);
  await page.locator('[name=username]').fill(name);
  await page.locator('[name=password]').fill(`${name}-demo`);
  await page.locator('button.login').click();
  await page.locator('.me', { hasText: name }).waitFor();
  await pushIs(page, open);
  return page;
}

/** Waits until the push socket has this readyState. */
const pushIs = (page, state) =>
  page.waitForFunction((wanted) => globalThis.sockets.some(({ url, readyState }) => url.includes('/push/') && readyState === wanted), state);

async function say(page, text) {
  await page.locator('[name=text]').fill(text);
  await page.locator('button.send:enabled').click();
}

/** Two users of a site talk to each other. `push` is the address of alice’s push sockets. */
async function converse(stage, site, push) {
  const stranger = await (await stage.browserContext()).request.get(push, { failOnStatusCode: false });
  assert.equal(stranger.status(), 401);

  const alice = await logIn(stage, site, 'alice');
  const bob = await logIn(stage, site, 'bob');
  assert.doesNotMatch(await alice.evaluate(() => document.cookie), /waystation_token|session/);

  // Not in the conversation: by push.
  await alice.locator('button.user', { hasText: 'bob' }).click();
  await say(alice, 'hello');
  await bob.locator('.notice', { hasText: 'alice, elsewhere: hello' }).waitFor();

  // In the conversation: on both sides, and nothing by push.
  await bob.locator('button.user', { hasText: 'alice' }).click();
  await bob.locator('button.send:enabled').waitFor();
  await say(bob, 'I am here');
  for (const page of [alice, bob]) await page.locator('.message', { hasText: 'bob: I am here' }).waitFor();
  await say(alice, 'Good');
  for (const page of [alice, bob]) await page.locator('.message', { hasText: 'alice: Good' }).waitFor();
  assert.equal(await bob.locator('.notice').count(), 1);

  // A notification of the site, and the end of a session.
  const second = await logIn(stage, site, 'alice');
  await alice.locator('.notice', { hasText: 'New login of your account' }).waitFor();
  await second.locator('button.logout').click();
  await second.locator('button.login').waitFor();
  await pushIs(alice, closed);
  await pushIs(bob, open);
  const after = await second.context().request.get(push, { failOnStatusCode: false });
  assert.equal(after.status(), 401);
}

scene('example: Django’s login, with a token', async (stage) => {
  const folder = makeFolder(stage);
  const key = makeKey();
  stage.onClear(key.remove);
  const address = `127.0.0.1:${await freePort()}`;
  const relay = await stage.server(['--auth', 'jwt', '--jwt-key-file', key.file, '--allowed-origins', `http://${address}`]);
  await startDjango(stage, folder, address, '--relay', `127.0.0.1:${relay.port}`, '--key-file', key.file);
  await converse(stage, `http://${address}/`, `${relay.url}/push/1/`);
});

scene('example: nginx asks the login', async (stage) => {
  const folder = makeFolder(stage);
  const ports = { 8000: await freePort(), 9000: await freePort() };
  const relay = await stage.server(['--auth', 'header', '--trusted-proxies', '127.0.0.1', '--scopes-header', 'X-Forwarded-Scopes']);
  await startDjango(stage, folder, `127.0.0.1:${ports[9000]}`, '--auth-request', '--relay', `127.0.0.1:${relay.port}`);
  const site = readFileSync(`${examples}/auth_request/nginx.conf`, 'utf8').replace(/\b(8000|8080|9000)\b/g, (port) => ports[port] ?? relay.port);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder}/${name};`);
  writeFileSync(`${folder}/nginx.conf`, `pid ${folder}/pid; events {} http { access_log off; ${temporary.join(' ')}\n${site}}\n`);
  await stage.program(process.env.NGINX ?? '/usr/sbin/nginx', ['-p', folder, '-e', 'stderr', '-c', `${folder}/nginx.conf`, '-g', 'daemon off; error_log stderr notice;'], /start worker process/);
  await converse(stage, `http://127.0.0.1:${ports[8000]}/`, `http://127.0.0.1:${ports[8000]}/push/1/`);
});

scene('example: a program’s own login', async (stage) => {
  const program = `${dirname(binary)}/examples/own_login`;
  const { ready: site } = await stage.program(program, ['0', `${examples}/own_login/page.html`], /(http:\S+)/);
  await converse(stage, `${site}/`, `${site}/push/alice/`);
});
