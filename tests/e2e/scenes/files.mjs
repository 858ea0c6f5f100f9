import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import WebSocket from 'ws';
import { scene, until } from '../lib/harness.mjs';
import { accessible, connected, isThere, message, phone, say, smallest } from '../lib/world.mjs';

const file = (page, label) => page.locator('[data-test=message]').filter({ has: page.locator('[data-test=file]') }).filter({ hasText: label ?? '' });
const pick = (page, ...files) => page.locator('[data-test=picker]').setInputFiles(files.map(({ name, type = 'application/octet-stream', buffer }) => ({ name, mimeType: type, buffer })));
const attached = (page, count) => until(`${count} files are attached`, async () => (await page.locator('[data-test=attachment][data-ready=true]').count()) === count);
const send = (page) => page.getByRole('button', { name: 'Send', exact: true }).click();
const hash = (bytes) => createHash('sha256').update(bytes).digest('hex');
/** Bytes that look like no image. */
const noise = (size) => Buffer.from(Array.from({ length: size }, (_, n) => (n * n * 31 + n) % 251));

/** A photo as a camera writes it: a JPEG with a comment that stands for the location. */
async function photo(page, width, height) {
  const base64 = await page.evaluate(([w, h]) => {
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [w, h];
    const context = canvas.getContext('2d');
    const sky = context.createLinearGradient(0, 0, w, h);
    for (const [at, colour] of [[0, '#f4b860'], [0.5, '#c83e4d'], [1, '#32373b']]) sky.addColorStop(at, colour);
    context.fillStyle = sky;
    context.fillRect(0, 0, w, h);
    return canvas.toDataURL('image/jpeg').split(',')[1];
  }, [width, height]);
  const jpeg = Buffer.from(base64, 'base64');
  const comment = Buffer.from('LOCATION 48.137 N 11.575 E');
  return Buffer.concat([jpeg.subarray(0, 2), Buffer.from([0xff, 0xfe, 0, comment.length + 2]), comment, jpeg.subarray(2)]);
}

/** Connects as a program, and resolves with its socket. */
async function program(url, group, user) {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/ws/chat/${group}/?user=${user}`, ['waystation.v1']);
  await new Promise((resolve, reject) => {
    socket.on('open', resolve);
    socket.on('error', reject);
  });
  return socket;
}

scene('an image is sent small, without its location, and shown', async (stage) => {
  const { url } = await stage.server();
  const alice = await stage.chat(url, 'alice', 'bob');
  const bob = await stage.chat(url, 'bob', 'alice', phone);
  await isThere(alice);
  const original = await photo(alice, 3_000, 2_000);
  // The type does not matter. The browser decodes no TIFF.
  await pick(alice, { name: 'sunset.jpeg', type: 'application/octet-stream', buffer: original }, { name: 'scan.tif', buffer: Buffer.from('II*\0 LOCATION') });
  await attached(alice, 2);
  await alice.getByText('13 B, sent unchanged: its metadata, such as the location, stays in it.').waitFor();
  await accessible(alice, 'a file that keeps its metadata');
  await stage.shot(alice, 'files-unchanged');
  await alice.getByRole('button', { name: 'Remove scan.tif' }).click();
  await alice.locator('[data-test=composer]').fill('From the roof');
  await stage.shot(alice, 'files-attached');
  await accessible(alice, 'an attached file');
  await send(alice);
  const received = file(bob).locator('[data-test=image]');
  await received.waitFor();
  await message(bob, 'From the roof').waitFor();
  await until('the image is decoded', () => received.evaluate((image) => image.complete && image.naturalWidth > 0));
  assert.deepEqual(await received.evaluate((image) => [image.naturalWidth, image.naturalHeight, new URL(image.src).protocol]), [1_600, 1_067, 'blob:']);
  await file(bob).getByRole('button', { name: 'Show sunset.jpg in full size' }).click();
  await bob.locator('[data-test=picture]').waitFor();
  await accessible(bob, 'an image in full size');
  await stage.shot(bob, 'files-picture-phone');
  const [saved] = await Promise.all([bob.waitForEvent('download'), bob.locator('[data-test=picture]').getByRole('button', { name: 'Save' }).click()]);
  assert.equal(saved.suggestedFilename(), 'sunset.jpg');
  const content = readFileSync(await saved.path());
  assert.ok(!content.includes('LOCATION'), 'the location is sent');
  assert.ok(content.length < original.length);
  await bob.locator('[data-test=picture]').getByRole('button', { name: 'Close' }).click();
  await until('both are seen', async () => (await alice.locator('[data-test=message][data-status=seen]').count()) === 2);
  await bob.evaluate(() => document.activeElement?.blur());
  await stage.shot(alice, 'files-image');
  await stage.shot(bob, 'files-image-phone');
});

scene('files are sent in parts, also to a user in another conversation', async (stage) => {
  // Small parts: the server allows less than the page's default.
  const { url } = await stage.server(['--max-message-bytes', '20000']);
  const alice = await stage.chat(url, 'alice', 'bob');
  const bob = await stage.chat(url, 'bob', 'alice');
  await isThere(alice);
  const log = noise(150_000);
  await pick(alice, { name: 'disk.log', buffer: log }, { name: 'second.txt', buffer: Buffer.from('two') });
  await attached(alice, 2);
  await send(alice);
  const save = async (page, name) => {
    const [saved] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: `Save ${name}` }).click()]);
    assert.equal(saved.suggestedFilename(), name);
    return readFileSync(await saved.path());
  };
  assert.equal(hash(await save(bob, 'disk.log')), hash(log));
  assert.equal((await save(bob, 'second.txt')).toString(), 'two');
  const order = (page) => page.locator('[data-test=message] .content').evaluateAll((all) => all.map((one) => /[a-z]+\.[a-z]+|meanwhile/.exec(one.innerText)?.[0]));
  assert.deepEqual(await order(bob), ['disk.log', 'second.txt']);

  // Both see the same order, although the second file begins after the message.
  await pick(alice, { name: 'one.bin', buffer: log }, { name: 'two.bin', buffer: log });
  await attached(alice, 2);
  await send(alice);
  await say(alice, 'meanwhile');
  await bob.getByRole('button', { name: 'Save two.bin' }).waitFor();
  await until('all are seen', async () => (await alice.locator('[data-test=message]:not([data-status=seen])').count()) === 0);
  assert.deepEqual(await order(bob), await order(alice));
  assert.equal((await order(bob)).at(-1), 'two.bin');

  await bob.locator('#peer').fill('carol');
  await bob.keyboard.press('Enter');
  await connected(bob);
  await until('alice sees that bob left', () => alice.locator('[data-test=view][data-present=false]').count());
  await pick(alice, { name: 'pushed.bin', buffer: log });
  await attached(alice, 1);
  await send(alice);
  await bob.locator('[data-test=toast]').getByText('📎 pushed.bin').waitFor();
  await until('it is pushed', () => file(alice, 'pushed.bin').and(alice.locator('[data-status=push]')).count());
  await bob.locator('[data-test=toast] .open').first().click();
  assert.equal(hash(await save(bob, 'pushed.bin')), hash(log));

  // Another tab of alice has the files, too.
  const [tab] = await Promise.all([alice.context().waitForEvent('page'), alice.locator('[data-test=conversation][data-peer=bob]').click({ modifiers: ['Control'] })]);
  await connected(tab);
  assert.equal(hash(await save(tab, 'pushed.bin')), hash(log));
});

scene('a file is pasted, dropped, removed and canceled', async (stage) => {
  const { url } = await stage.server();
  const alice = await stage.chat(url, 'alice', 'bob');
  const bob = await stage.chat(url, 'bob', 'alice');
  await isThere(alice);
  const paste = (name, size, text = null) =>
    alice.locator('[data-test=composer]').evaluate((element, [called, bytes, rtf]) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([new Uint8Array(bytes)], called));
      if (rtf !== null) transfer.setData('text/rtf', rtf);
      element.dispatchEvent(new ClipboardEvent('paste', { clipboardData: transfer, bubbles: true, cancelable: true }));
    }, [name, size, text]);
  const folder = mkdtempSync(join(tmpdir(), 'waystation-e2e-'));
  stage.onClear(() => rmSync(folder, { recursive: true }));
  const client = await alice.context().newCDPSession(alice);
  /** Drags files over an element as a user does, and drops them unless the page refuses them. */
  const drag = async (target, sizes, shot = null) => {
    const files = Object.entries(sizes).map(([name, size]) => {
      writeFileSync(join(folder, name), Buffer.alloc(size));
      return join(folder, name);
    });
    const { x, y } = await alice.locator(target).boundingBox();
    for (const type of ['dragEnter', 'dragOver', 'drop']) {
      await client.send('Input.dispatchDragEvent', { type, x: x + 20, y: y + 20, data: { items: [], files, dragOperationsMask: 1 } });
      if (type === 'dragOver' && shot !== null) await stage.shot(alice, shot);
    }
  };
  // An office program copies a text with an image of it.
  await paste('image.png', 10, '{\\rtf1 a text}');
  await paste('pasted.bin', 10);
  await drag('[data-test=log]', { 'dropped.bin': 2_000_000, 'large.bin': 2_100_000, 'empty.bin': 0 }, 'files-dropping');
  // A file that is dropped in another place does not replace the page.
  await drag('nav', { 'beside.bin': 10 });
  await alice.getByText('Too large: at most 2 MiB are allowed.').waitFor();
  await alice.getByText('The file is empty.').waitFor();
  await attached(alice, 2);
  await accessible(alice, 'files that cannot be sent');
  await stage.shot(alice, 'files-refused');
  await alice.getByRole('button', { name: 'Remove pasted.bin' }).click();
  await attached(alice, 1);

  await send(alice);
  await file(bob, 'dropped.bin').locator('[data-test=progress]').waitFor();
  await stage.shot(bob, 'files-progress');
  await file(alice, 'dropped.bin').locator('[data-test=cancel-file]').click();
  await file(bob, 'dropped.bin').getByText('This file was canceled.').waitFor();
  await until('it is not sent', () => file(alice, 'dropped.bin').and(alice.locator('[data-status=failed]')).count());
  // Those that cannot be sent are gone with the rest of the draft.
  assert.equal(await file(bob).count(), 1);

  await file(alice, 'dropped.bin').getByRole('button', { name: 'Send again' }).click();
  await bob.getByRole('button', { name: 'Save dropped.bin' }).waitFor({ timeout: 30_000 });
  await stage.shot(bob, 'files-file');
  assert.equal(await file(bob).count(), 1);

  // Whoever is not connected gets no more than the first part.
  await bob.close();
  await until('bob is away', () => alice.locator('[data-test=view][data-present=false]').count());
  await pick(alice, { name: 'lost.bin', buffer: noise(500_000) });
  await attached(alice, 1);
  await send(alice);
  await until('it reached nobody', () => file(alice, 'lost.bin').and(alice.locator('[data-status=none]')).count());
});

scene('a file never becomes a page, and hostile parts are an error text', async (stage) => {
  const { url } = await stage.server(['--messages-per-second', '0']);
  const alice = await stage.chat(url, 'alice', 'bob', smallest);
  const bob = await program(url, 'alice_bob', 'bob');
  let n = 0;
  const post = (value) => bob.send(JSON.stringify({ message: { file: value }, to_user: 'alice', id: `m${(n += 1)}` }));
  const page = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"><script>globalThis.ran = true</script></svg>');
  const data = page.toString('base64');
  for (const [id, type, name] of [['f1', 'image/svg+xml', 'a.svg'], ['f2', 'text/html', 'b.html'], ['f3', 'image/png', 'photo\u202egnp.exe']]) {
    post({ id, name, type, size: page.length, offset: 0, data });
  }
  await file(alice, 'photo_gnp.exe').waitFor();
  assert.equal(await file(alice).count(), 3);
  assert.equal(await alice.locator('[data-test=image]').count(), 0);
  for (const name of ['a.svg', 'b.html', 'photo_gnp.exe']) {
    const [saved] = await Promise.all([alice.waitForEvent('download'), alice.getByRole('button', { name: `Save ${name}` }).click()]);
    assert.equal(saved.suggestedFilename(), name);
    assert.deepEqual(readFileSync(await saved.path()), page);
  }
  assert.equal(await alice.evaluate(() => globalThis.ran), undefined);

  // A PNG of a few bytes that would need 16 GiB, and one that is damaged.
  const png = (width, height) => {
    const bytes = Buffer.alloc(60);
    bytes.write('\x89PNG\r\n\x1a\n\0\0\0\rIHDR', 'latin1');
    bytes.writeUInt32BE(width, 16);
    bytes.writeUInt32BE(height, 20);
    return bytes;
  };
  for (const [id, bytes] of [['p1', png(65_000, 65_000)], ['p2', png(40, 40)]]) post({ id, name: `${id}.png`, type: 'image/png', size: 60, offset: 0, data: bytes.toString('base64') });
  for (const name of ['p1.png', 'p2.png']) await alice.getByRole('button', { name: `Save ${name}` }).waitFor();
  assert.equal(await alice.locator('[data-test=image]').count(), 0);

  // Parts out of order, without a beginning, over the size, and what is no file at all.
  post({ id: 'g1', name: 'gap.bin', type: '', size: 100, offset: 0, data: 'AAAA' });
  post({ id: 'g1', offset: 50, data: 'AAAA' });
  post({ id: 'g1', offset: 3, data: 'AAAA' });
  post({ id: 'g2', offset: 9, data: 'AAAA' });
  post({ id: 'g3', name: 'big.bin', type: '', size: 3_000_000, offset: 0, data: 'AAAA' });
  await file(alice, 'gap.bin').getByText('This file is damaged. Ask for it again.').waitFor();
  await alice.getByText('This file did not arrive completely. Ask for it again.').waitFor();
  await alice.locator('[data-test=data]').waitFor();
  for (let i = 0; i < 200; i += 1) post({ id: `h${i}`, name: `h${i}`, type: '', size: 2_000_000, offset: 0, data: 'AAAA' });
  await file(alice, 'h199').waitFor();
  await until('four are incomplete, and not given up', async () => (await alice.locator('[data-test=progress]').count()) === 4);
  await accessible(alice, 'broken files');
  await stage.shot(alice, 'files-broken-smallest');
  assert.equal(await alice.evaluate(() => document.documentElement.scrollWidth - window.innerWidth), 0);
  bob.close();
  assert.equal(await alice.evaluate(() => globalThis.ran), undefined);
});
