import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { scene, until } from '../lib/harness.mjs';
import { lacks, lacksRoute } from '../lib/server.mjs';
import { loggedIn, say, verdict } from '../lib/world.mjs';

scene('an operator pushes a test and sees who is there', async (stage) => {
  const { url } = await stage.server();
  const alice = await stage.tab(await stage.person(), `${url}/#/?me=alice`);
  await loggedIn(alice);
  const operator = await stage.tab(await stage.person(), `${url}/#/operator`);
  await operator.locator('[data-test=push-user]').fill('alice');
  await operator.locator('[data-test=push-json]').fill('{"disk":"full"');
  await operator.getByRole('button', { name: 'Push', exact: true }).click();
  await operator.getByText('That is not JSON').waitFor();
  await operator.locator('[data-test=push-json]').fill('{"disk":"full"}');
  await operator.getByRole('button', { name: 'Push', exact: true }).click();
  await operator.getByText('Sockets reached: 1').waitFor();
  await alice.locator('[data-test=toast]').getByText('{"disk":"full"}').waitFor();
  await alice.locator('[data-test=toast] .open').click();
  await alice.locator('[data-test=notice]').getByText('"disk": "full"').waitFor();
  await stage.shot(alice, 'notices');

  await operator.locator('[data-test=presence-user]').fill('alice');
  await operator.getByRole('button', { name: 'Look', exact: true }).click();
  await operator.getByText('Push sockets: 1').waitFor();
  await operator.getByText('No open conversation').waitFor();
});

scene('on the operator’s page one stays logged in', async (stage) => {
  const { url } = await stage.server();
  const alice = await stage.tab(await stage.person(), `${url}/#/?me=alice`);
  await loggedIn(alice);
  await alice.goto(`${url}/#/operator`);
  await alice.locator('[data-test=push-user]').fill('alice');
  await alice.getByRole('button', { name: 'Push', exact: true }).click();
  await alice.getByText('Sockets reached: 1').waitFor();
  await alice.locator('[data-test=toast]').getByText('Test').waitFor();
});

scene('who is no operator is told what is missing', async (stage) => {
  const { url } = await stage.server(['--operators', '192.0.2.1']);
  const page = await stage.tab(await stage.person(), `${url}/#/operator`);
  await page.getByRole('alert').getByText('only to the addresses that this server counts among its operators').waitFor();
  await page.locator('[data-test=push-user]').fill('alice');
  await page.getByRole('button', { name: 'Push', exact: true }).click();
  await page.getByText('a token with the scope “push”').waitFor();
});

scene('an operator sees live figures', async (stage) => {
  const { url } = await stage.server();
  const operator = await stage.tab(await stage.person(), `${url}/#/operator`);
  await operator.locator('[data-test=metrics] tbody tr').first().waitFor();
  await stage.shot(operator, 'operator-figures');
}, { needs: lacksRoute('/metrics') });

scene('an operator searches the audit and saves it as CSV', async (stage) => {
  const folder = mkdtempSync(join(tmpdir(), 'waystation-e2e-'));
  stage.onClear(() => rmSync(folder, { recursive: true }));
  const { url } = await stage.server(['--audit', join(folder, 'audit.sqlite')]);
  const bob = await stage.tab(await stage.person(), `${url}/#/?me=bob`);
  await loggedIn(bob);
  const alice = await stage.chat(url, 'alice', 'bob');
  await say(alice, 'secret words');
  await verdict(alice, 'secret words', 'push');
  const operator = await stage.tab(await stage.person(), `${url}/#/operator`);
  await operator.locator('[data-test=audit-from]').fill('alice');
  const rows = operator.locator('[data-test=audit] tbody tr');
  // The audit is written behind the relay's back, a moment later.
  await until('the entry is there', async () => {
    await operator.locator('[data-test=audit-search]').click();
    return (await rows.count()) === 1;
  });
  await stage.shot(operator, 'operator-audit');
  const [download] = await Promise.all([operator.waitForEvent('download'), operator.locator('[data-test=audit-csv]').click()]);
  const csv = readFileSync(await download.path(), 'utf8');
  assert.match(csv, /^id,at,node,group,from,to,outcome,reached,bytes,message_id\r\n/);
  assert.match(csv, /alice_bob,alice,bob,/);
  assert.ok(!csv.includes('secret'));
  await operator.locator('[data-test=audit-from]').fill('carol');
  await operator.locator('[data-test=audit-search]').click();
  await operator.getByText('No entry matches.').waitFor();
}, { needs: lacks('audit', ['--audit', join(tmpdir(), 'waystation-e2e-never-opened.sqlite')]) });
