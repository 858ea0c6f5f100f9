import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import WebSocket from 'ws';
import { scene, until } from '../lib/harness.mjs';
import { makeKey } from '../lib/token.mjs';
import { accessible, connected, desktop, loggedIn, phone, say, waitForStatus } from '../lib/world.mjs';

scene('an operator sends a test push and sees sessions', async (stage) => {
  const { url } = await stage.server();
  const alice = await stage.tab(await stage.browserContext(), `${url}/#/?me=alice`);
  await loggedIn(alice);
  const operator = await stage.tab(await stage.browserContext(), `${url}/#/operator`);
  await operator.locator('[data-test=push-user]').fill('alice');
  await operator.locator('[data-test=push-json]').fill('{"disk":"full"');
  await operator.getByRole('button', { name: 'Push', exact: true }).click();
  await operator.getByText('Not valid JSON').waitFor();
  await operator.locator('[data-test=push-json]').fill('{"disk":"full"}');
  await operator.getByRole('button', { name: 'Push', exact: true }).click();
  await operator.getByText('Sockets reached: 1').waitFor();
  await alice.locator('[data-test=toast]').getByText('{"disk":"full"}').waitFor();
  await alice.locator('[data-test=toast] .open').click();
  await alice.locator('[data-test=notice] summary').click();
  await alice.locator('[data-test=notice]').getByText('"disk": "full"').waitFor();
  await stage.shot(alice, 'notices');

  await operator.locator('[data-test=presence-user]').fill('alice');
  await operator.getByRole('button', { name: 'Look up', exact: true }).click();
  await operator.getByText('Push sockets: 1').waitFor();
  await operator.getByText('No open conversation').waitFor();
});

scene('a user stays connected on the operator page', async (stage) => {
  const { url } = await stage.server();
  const alice = await stage.tab(await stage.browserContext(), `${url}/#/?me=alice`);
  await loggedIn(alice);
  await alice.goto(`${url}/#/operator`);
  await alice.locator('[data-test=push-user]').fill('alice');
  await alice.getByRole('button', { name: 'Push', exact: true }).click();
  await alice.getByText('Sockets reached: 1').waitFor();
  await alice.locator('[data-test=toast]').getByText('Test').waitFor();
});

scene('a user who is not an operator gets the reason', async (stage) => {
  const { url } = await stage.server(['--operators', '192.0.2.1']);
  const page = await stage.tab(await stage.browserContext(), `${url}/#/operator`);
  await page.locator('[data-test=overview]').getByRole('alert').getByText('not in the option “operators”').waitFor();
  await page.locator('[data-test=push-user]').fill('alice');
  await page.getByRole('button', { name: 'Push', exact: true }).click();
  // The statistics, the users and the push.
  await until('the push shows it, too', async () => (await page.getByText('not in the option').count()) === 3);
  assert.equal(await page.getByText('A token with').count(), 0);
});

scene('an operator sees live statistics', async (stage) => {
  const { url } = await stage.server();
  const operator = await stage.tab(await stage.browserContext(), `${url}/#/operator`);
  await operator.locator('[data-test=chart]').first().waitFor();
  await operator.getByText('Running').waitFor();
  // A server without tokens asks for none.
  assert.equal(await operator.getByLabel('Operator token').count(), 0);
  const connections = operator.locator('[data-test=chart]', { hasText: 'Connections' }).first();
  const alice = await stage.tab(await stage.browserContext(), `${url}/#/?me=alice`);
  await loggedIn(alice);
  await until('the chart has risen', async () => (await connections.locator('.now').innerText()) === '1');
  await operator.getByRole('img', { name: /^Connections: now 1, at most 1 / }).waitFor();
  await accessible(operator, 'charts');
  await stage.shot(operator, 'operator-statistics');
  await operator.getByText('All figures').click();
  await operator.locator('[data-test=metrics] tbody tr').first().waitFor();
  // Every member of /healthz has a label.
  const names = Object.keys(await (await fetch(`${url}/healthz`)).json()).map((name) => name.replaceAll('_', ' '));
  const shown = await operator.locator('.health dt').allInnerTexts();
  assert.equal(shown.length, names.length);
  assert.deepEqual(shown.filter((one) => names.includes(one)), []);
  assert.equal(await operator.locator('[data-test=nodes]').count(), 0);
});

scene('an operator sees the nodes of a cluster', async (stage) => {
  const folder = mkdtempSync(join(tmpdir(), 'waystation-e2e-'));
  stage.onClear(() => rmSync(folder, { recursive: true }));
  const key = join(folder, 'key');
  writeFileSync(key, `${Buffer.alloc(32, 1).toString('base64')}\n`, { mode: 0o600 });
  // Nothing listens there, so this node knows only itself.
  const { url } = await stage.server(['--cluster', `unix://${folder}/redis.sock`, '--cluster-key-file', key, '--node-name', 'n0']);
  const operator = await stage.tab(await stage.browserContext(), `${url}/#/operator`);
  const nodes = operator.locator('[data-test=nodes]');
  await nodes.getByText('The list may be incomplete').waitFor();
  assert.deepEqual(await nodes.locator('tbody th').allInnerTexts(), ['n0\nanswers this page']);
  assert.equal(await nodes.locator('tbody td').first().innerText(), 'not ready');
  await operator.getByText('Running; cannot reach the other nodes').waitFor();
  assert.equal(await operator.locator('[data-test=overview] .good').count(), 0);
  // So every answer may be incomplete.
  const section = (field) => operator.locator('section', { has: operator.locator(`[data-test=${field}]`) });
  const note = 'Some nodes did not answer. The answer may be incomplete.';
  await operator.locator('[data-test=present]').getByText(note).waitFor();
  await operator.locator('[data-test=push-user]').fill('alice');
  await operator.getByRole('button', { name: 'Push', exact: true }).click();
  await section('push-user').getByText(note).waitFor();
  const sessions = section('presence-user');
  await operator.locator('[data-test=presence-user]').fill('alice');
  await operator.getByRole('button', { name: 'Look up', exact: true }).click();
  await sessions.getByText(note).waitFor();
  await sessions.getByRole('button', { name: 'End all sessions' }).click();
  await operator.locator('[data-test=confirm]').getByRole('button', { name: 'End all sessions' }).click();
  await sessions.getByText('Sockets closed: 0').waitFor();
  await sessions.getByText(note).waitFor();
  await accessible(operator, 'the nodes');
  await operator.getByRole('button', { name: 'Language: 中文' }).click();
  await nodes.getByText('未就绪').waitFor();
});

scene('an operator sees who is there, page by page, and ends a user', async (stage) => {
  const { url } = await stage.server();
  const operator = await stage.tab(await stage.browserContext(), `${url}/#/operator`);
  const present = operator.locator('[data-test=present]');
  await present.getByText('Nobody is connected.').waitFor();
  const alice = await stage.tab(await stage.browserContext(), `${url}/#/?me=alice`);
  await loggedIn(alice);
  // It is live.
  const rows = present.locator('tbody tr');
  await rows.getByText('alice').waitFor();
  assert.deepEqual(await rows.first().locator('td.number').allInnerTexts(), ['1', '0']);

  const names = Array.from({ length: 25 }, (_, n) => `user${String(n).padStart(2, '0')}`);
  const sockets = names.map((name) => new WebSocket(`${url.replace('http', 'ws')}/push/${name}/`));
  stage.onClear(() => sockets.forEach((socket) => socket.close()));
  // While the sockets open, a page may be full of others.
  const shown = () => rows.locator('th').allInnerTexts();
  const shows = (what, list) => until(what, async () => (await shown()).join() === list.join());
  await shows('the first page', ['alice', ...names.slice(0, 19)]);
  await stage.shot(operator, 'operator-users');
  await accessible(operator, 'the users who are there');
  await present.getByRole('button', { name: 'Next' }).click();
  await present.getByText('Page 2').waitFor();
  await shows('the second page', names.slice(19));
  assert.ok(await present.getByRole('button', { name: 'Next' }).isDisabled());

  // Without a further click, the page goes back when nobody is left on this one.
  for (const socket of sockets.slice(19)) socket.close();
  await present.getByRole('button', { name: 'Next' }).waitFor({ state: 'detached' });
  await shows('the first page again', ['alice', ...names.slice(0, 19)]);

  await present.getByRole('button', { name: 'End all sessions of alice' }).click();
  const dialog = operator.locator('[data-test=confirm]');
  await dialog.getByText('End all sessions of alice?').waitFor();
  assert.equal(await operator.evaluate(() => document.activeElement.textContent), 'Cancel');
  await operator.keyboard.press('Enter');
  await dialog.waitFor({ state: 'detached' });
  assert.ok((await shown()).includes('alice'));
  await present.getByRole('button', { name: 'End all sessions of alice' }).click();
  await dialog.getByRole('button', { name: 'End all sessions' }).click();
  await present.getByText('Sockets closed: 1').waitFor();
  await alice.locator('[data-test=connection-status]').getByText('An administrator ended your session.').waitFor();
  await until('alice is gone', async () => !(await shown()).includes('alice'));
  await operator.getByRole('button', { name: 'Language: 中文' }).click();
  await present.getByText('在线用户').waitFor();
});

scene('an operator sees connections that were handed over', async (stage) => {
  const folder = mkdtempSync(join(tmpdir(), 'waystation-e2e-'));
  stage.onClear(() => rmSync(folder, { recursive: true }));
  const door = join(folder, 'door');
  const { url } = await stage.server(['--handover', door]);
  const operator = await stage.tab(await stage.browserContext(), `${url}/#/operator`);
  await operator.locator('[data-test=chart]').first().waitFor();
  assert.equal(await operator.locator('[data-test=handovers]').count(), 0);
  // A program that does not speak the door's protocol.
  const stranger = 'import socket,sys\ns=socket.socket(socket.AF_UNIX,socket.SOCK_SEQPACKET)\ns.connect(sys.argv[1])\ns.send(b"?")\ns.recv(9)';
  spawnSync('python3', ['-c', stranger, door], { timeout: 20_000 });
  const row = operator.locator('[data-test=handovers]');
  await until('one was refused', async () => (await row.count()) === 1 && (await row.locator('dd').allInnerTexts()).join(' ') === '0 0 1 0');
  await accessible(operator, 'the handovers');
});

scene('an operator searches the audit and saves it as CSV', async (stage) => {
  const folder = mkdtempSync(join(tmpdir(), 'waystation-e2e-'));
  stage.onClear(() => rmSync(folder, { recursive: true }));
  const { url } = await stage.server(['--audit-file', join(folder, 'audit.sqlite')]);
  const bob = await stage.tab(await stage.browserContext(), `${url}/#/?me=bob`);
  await loggedIn(bob);
  const alice = await stage.chat(url, 'alice', 'bob');
  await say(alice, 'secret words');
  await waitForStatus(alice, 'secret words', 'push');
  const operator = await stage.tab(await stage.browserContext(), `${url}/#/operator`);
  await operator.locator('[data-test=audit-from]').fill('alice');
  const rows = operator.locator('[data-test=audit] tbody tr');
  // The audit is written asynchronously.
  await until('the entry is there', async () => {
    await operator.locator('[data-test=audit-search]').click();
    return (await rows.count()) === 1;
  });
  await stage.shot(operator, 'operator-audit');
  const [download] = await Promise.all([operator.waitForEvent('download'), operator.locator('[data-test=audit-csv]').click()]);
  const csv = readFileSync(await download.path(), 'utf8');
  assert.match(csv, /^id,at,node,group,from,to,outcome,reached,bytes,message_id,lost,lost_until\r\n/);
  assert.match(csv, /alice_bob,alice,bob,/);
  assert.ok(!csv.includes('secret'));

  // Each filter alone, with a value that matches and one that does not.
  await operator.locator('[data-test=audit-from]').fill('');
  // With seconds, since the field omits zero seconds.
  const minute = (ms) => new Date(Math.floor((Date.now() + ms) / 60_000) * 60_000 + 1_000);
  // The time zone of the browser is Berlin.
  const local = (date) => new Intl.DateTimeFormat('sv-SE', { timeZone: 'Europe/Berlin', dateStyle: 'short', timeStyle: 'medium' }).format(date).replace(' ', 'T');
  for (const [label, good, bad] of [
    ['From', 'alice', 'carol'],
    ['To', 'bob', 'alice'],
    ['From or to', 'bob', 'carol'],
    ['Outcome', 'pushed', 'dropped'],
    ['Since', local(minute(-600_000)), local(minute(600_000))],
    ['Until', local(minute(600_000)), local(minute(-600_000))],
  ]) {
    const choice = label === 'Outcome';
    const field = choice ? operator.locator('[data-test=audit-outcome]') : operator.getByLabel(label, { exact: true });
    const set = (value) => (choice ? field.selectOption(value) : field.fill(value));
    await set(bad);
    await operator.locator('[data-test=audit-search]').click();
    await operator.getByText('No matching row.').waitFor();
    await set(good);
    await operator.locator('[data-test=audit-search]').click();
    await operator.getByText('Rows: 1').waitFor();
    await set('');
  }
  assert.equal(await rows.locator('td').nth(3).innerText(), 'pushed');
  await accessible(operator, 'the audit with an entry');
  await operator.getByRole('button', { name: 'Language: 中文' }).click();
  await rows.getByText('已推送').waitFor();
});

scene('the audit has presets, and details of a row', async (stage) => {
  const folder = mkdtempSync(join(tmpdir(), 'waystation-e2e-'));
  stage.onClear(() => rmSync(folder, { recursive: true }));
  const { url } = await stage.server(['--audit-file', join(folder, 'audit.sqlite')]);
  const bob = await stage.tab(await stage.browserContext(), `${url}/#/?me=bob`);
  await loggedIn(bob);
  const alice = await stage.chat(url, 'alice', 'bob');
  await say(alice, 'to bob');
  await waitForStatus(alice, 'to bob', 'push');
  await alice.goto(`${url}/#/with/carol`);
  await connected(alice);
  await say(alice, 'to nobody');
  await waitForStatus(alice, 'to nobody', 'none');
  const operator = await stage.tab(await stage.browserContext(), `${url}/#/operator`);
  const rows = operator.locator('[data-test=audit] tbody tr');
  const shows = (n, preset) =>
    until(`${n} rows`, async () => {
      await preset();
      await operator.getByText(/^Rows: |^No matching row/).waitFor();
      return (await rows.count()) === n;
    });
  await shows(2, () => operator.locator('[data-test=preset-today]').click());
  await shows(1, () => operator.locator('[data-test=preset-lost]').click());
  assert.equal(await rows.locator('td').nth(2).innerText(), 'carol');

  await rows.getByRole('button', { name: /^Details of / }).click();
  const drawer = operator.locator('[data-test=drawer]');
  await drawer.getByText('No socket of the receiver took the message.').waitFor();
  await accessible(operator, 'the details of a row');
  await stage.shot(operator, 'operator-drawer');
  await operator.keyboard.press('Escape');
  await drawer.waitFor({ state: 'detached' });
  await rows.getByRole('button', { name: /^Details of / }).click();
  await drawer.getByRole('button', { name: 'All rows of alice' }).click();
  await until('both rows', async () => (await rows.count()) === 2);

  await operator.locator('[data-test=presence-user]').fill('bob');
  await operator.getByRole('button', { name: 'Look up', exact: true }).click();
  await operator.locator('[data-test=audit-of-user]').click();
  await until('the row of bob', async () => (await rows.count()) === 1);
  assert.equal(await rows.locator('td').nth(2).innerText(), 'bob');
});

scene('the newest entries come first, and the page says that there are more', async (stage) => {
  const folder = mkdtempSync(join(tmpdir(), 'waystation-e2e-'));
  stage.onClear(() => rmSync(folder, { recursive: true }));
  const { url } = await stage.server(['--audit-file', join(folder, 'audit.sqlite')]);
  for (let n = 1; n <= 105; n += 1) {
    await fetch(`${url}/api/v1/push/bob`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '"'.padEnd(n + 1, '.') + '"' });
  }
  const operator = await stage.tab(await stage.browserContext(), `${url}/#/operator`);
  const rows = operator.locator('[data-test=audit] tbody tr');
  const bytes = (row) => row.locator('td').nth(5).innerText();
  await until('the last entry is there', async () => {
    await operator.locator('[data-test=audit-search]').click();
    await rows.first().waitFor();
    return (await bytes(rows.first())) === '107';
  });
  await operator.getByText('the newest 100, and more').waitFor();
  // One line per row, the newest without scrolling. On a phone the table scrolls sideways.
  const { height } = await rows.first().boundingBox();
  assert.ok(height < 40);
  const { y } = await rows.first().boundingBox();
  assert.ok(y + height < desktop.viewport.height);
  await operator.setViewportSize(phone.viewport);
  assert.equal((await rows.first().boundingBox()).height, height);
  await stage.shot(operator, 'operator-audit-on-a-phone');
  await operator.setViewportSize(desktop.viewport);
  await operator.getByRole('button', { name: 'More', exact: true }).click();
  await operator.getByText('Rows: 105').waitFor();
  assert.equal(await bytes(rows.last()), '3');
  assert.equal(await operator.getByRole('button', { name: 'More', exact: true }).count(), 0);
});

scene('with tokens, an operator needs the scope for what they do', async (stage) => {
  const key = makeKey();
  stage.onClear(key.remove);
  const folder = mkdtempSync(join(tmpdir(), 'waystation-e2e-'));
  stage.onClear(() => rmSync(folder, { recursive: true }));
  const { url } = await stage.server(['--auth', 'jwt', '--jwt-key-file', key.file, '--audit-file', join(folder, 'audit.sqlite')]);
  const alice = await stage.tab(await stage.browserContext(), `${url}/#/?token=${key.token('alice', 3600)}`);
  await loggedIn(alice);
  const operator = await stage.tab(await stage.browserContext(), `${url}/#/operator`);
  const token = async (scope) => {
    await operator.getByLabel('Operator token').fill(key.token('op', 3600, scope));
    await operator.keyboard.press('Tab');
  };
  const push = async () => {
    await operator.locator('[data-test=push-user]').fill('alice');
    await operator.getByRole('button', { name: 'Push', exact: true }).click();
  };
  const search = () => operator.locator('[data-test=audit-search]').click();
  const section = (field) => operator.locator('section', { has: operator.locator(`[data-test=${field}]`) });
  const present = operator.locator('[data-test=present]');

  await push();
  await operator.getByText('A token with the scope “push”').waitFor();
  assert.equal(await operator.getByText('address').count(), 0);
  await operator.getByLabel('Operator token').fill(key.token('op', -3600, 'push'));
  await push();
  await section('push-user').getByText(/The server answered 401: .*expired/).waitFor();
  await present.getByText(/The server answered 401: .*expired/).waitFor();
  await token('push');
  await push();
  await operator.getByText('Sockets reached: 1').waitFor();
  await alice.locator('[data-test=toast]').waitFor();
  await search();
  await section('audit-search').getByText('A token with the scope “admin”').waitFor();
  await present.getByText('A token with the scope “admin”').waitFor();
  await token('push admin');
  await present.locator('tbody').getByText('alice').waitFor();
  await search();
  await operator.getByText(/No matching row|Rows: /).waitFor();
  const sessions = section('presence-user');
  await operator.locator('[data-test=presence-user]').fill('alice');
  await operator.getByRole('button', { name: 'Look up', exact: true }).click();
  await operator.getByText('Push sockets: 1').waitFor();
  await sessions.getByRole('button', { name: 'End all sessions' }).click();
  const dialog = operator.locator('[data-test=confirm]');
  await dialog.getByText('End all sessions of alice?').waitFor();
  assert.equal(await operator.evaluate(() => document.activeElement.textContent), 'Cancel');
  await accessible(operator, 'the confirmation');
  await operator.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  await sessions.getByRole('button', { name: 'End all sessions' }).click();
  await dialog.getByRole('button', { name: 'End all sessions' }).click();
  await operator.getByText('Sockets closed: 1').waitFor();
  await alice.locator('[data-test=connection-status]').getByText('An administrator ended your session.').waitFor();
});
