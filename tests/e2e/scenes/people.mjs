import assert from 'node:assert/strict';
import readQr from 'jsqr';
import { scene, until } from '../lib/harness.mjs';
import { accessible, connected, desktop, loggedIn, message, phone, say, smallest } from '../lib/world.mjs';

/** The text of the QR code in this element, read from its pixels. */
async function scan(stage, element) {
  const png = (await element.screenshot()).toString('base64');
  // Another page: the policy of the server allows no data: images.
  const reader = await (await stage.browserContext()).newPage();
  const { width, height, pixels } = await reader.evaluate(async (data) => {
    const image = new Image();
    image.src = `data:image/png;base64,${data}`;
    await image.decode();
    const canvas = document.createElement('canvas');
    // A square, and small: the pixels pass as JSON.
    canvas.width = canvas.height = 240;
    const context = canvas.getContext('2d');
    context.drawImage(image, 0, 0, 240, 240);
    return { width: 240, height: 240, pixels: [...context.getImageData(0, 0, 240, 240).data] };
  }, png);
  return readQr(Uint8ClampedArray.from(pixels), width, height)?.data;
}

scene('a QR code holds the link to the user', async (stage) => {
  const { url } = await stage.server();
  for (const [name, options] of [['light', { ...desktop, colorScheme: 'light' }], ['phone', { ...phone, colorScheme: 'dark' }], ['smallest', smallest]]) {
    const me = name === 'smallest' ? 'w'.repeat(64) : 'alice';
    const page = await stage.tab(await stage.browserContext(options), `${url}/#/?me=${me}`);
    await loggedIn(page);
    const button = page.locator('[data-test=show-qr]:visible');
    await button.click();
    await page.locator('[data-test=qr]').waitFor();
    assert.equal(await scan(stage, page.locator('[data-test=qr] svg')), `${url}/#/with/${me}`);
    // A loopback address is of no use on a phone, and the page says so.
    await page.locator('[data-test=qr-local]').waitFor();
    await accessible(page, `the QR code, ${name}`);
    await stage.shot(page, `qr-${name}`);
    await page.keyboard.press('Escape');
    await page.locator('[data-test=qr]').waitFor({ state: 'detached' });
    assert.ok(await button.evaluate((one) => one === document.activeElement), 'the focus returns to the button');
  }
});

scene('people are remembered only if the user turns it on', async (stage) => {
  const { url } = await stage.server();
  const context = await stage.browserContext();
  const kept = (page) => page.evaluate(() => Object.entries(localStorage).filter(([key]) => key !== 'waystation.locale'));
  const talk = async (page, peer, text) => {
    await page.goto(`${url}/#/with/${peer}`);
    await connected(page);
    await say(page, text);
    await message(page, text).waitFor();
  };
  let page = await stage.tab(context, `${url}/#/?me=alice`);
  await loggedIn(page);
  await talk(page, 'bob', 'a secret');
  assert.deepEqual(await kept(page), []);
  await page.locator('[data-test=remember]').check();
  await talk(page, 'carol', 'another secret');
  await until('both names are kept', async () => (await kept(page)).length === 1);
  assert.deepEqual(await kept(page), [['waystation.people', '{"alice":["carol","bob"]}']]);
  await page.close();

  page = await stage.tab(context, `${url}/#/?me=alice`);
  await page.locator('[data-test=person]').first().waitFor();
  assert.deepEqual(await page.locator('[data-test=person]').allInnerTexts().then((all) => all.map((one) => one.split(/\s+/).pop())), ['carol', 'bob']);
  await accessible(page, 'people of before');
  await stage.shot(page, 'people');
  await page.getByRole('button', { name: 'Forget carol' }).click();
  await page.locator('[data-test=person]').click();
  await connected(page);
  assert.equal(new URL(page.url()).hash, '#/with/bob');
  await page.locator('[data-test=remember]').uncheck();
  assert.deepEqual(await kept(page), []);

  // Another user of this browser sees none of them.
  await page.locator('[data-test=remember]').check();
  await say(page, 'hello');
  await until('bob is kept', async () => (await kept(page)).length === 1);
  const eve = await stage.tab(context, `${url}/#/?me=eve`);
  await eve.locator('[data-test=remember]:checked').waitFor();
  assert.equal(await eve.locator('[data-test=person]').count(), 0);
});
