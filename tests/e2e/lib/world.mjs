import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { startProxy } from './proxy.mjs';
import { startProgram, startServer } from './server.mjs';

const require = createRequire(import.meta.url);
const axe = require.resolve('axe-core/axe.min.js');
const screenshots = process.env.WAYSTATION_SCREENSHOTS ?? fileURLToPath(new URL('../../../build/screenshots', import.meta.url));
mkdirSync(screenshots, { recursive: true });

export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    args: [
      // The tests may run as root, in a container, without a graphics card or a network.
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--disable-dev-shm-usage',
    ],
  });
}

export const desktop = { viewport: { width: 1180, height: 760 } };
export const phone = { viewport: { width: 390, height: 780 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true };
export const smallest = { viewport: { width: 320, height: 568 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true };

// The browser writes failed sockets and refused requests to the console, and runs no worker from a certificate that it does not trust, or without its script.
const expected = /WebSocket connection to|Failed to load resource|net::ERR_|An (SSL certificate|unknown) error occurred when fetching the script/;

/** The number of screenshots of failed scenes. */
let failures = 0;

/** Creates the resources of one scene, and removes them afterwards. */
export function makeWorld(browser) {
  return () => {
    const contexts = [];
    const servers = [];
    const proxies = [];
    const cleanups = [];
    const troubles = [];

    const stage = {
      async server(options, port) {
        const server = await startServer(options, port);
        servers.push(server);
        return server;
      },

      /** Another program of the scene: see startProgram. */
      async program(...what) {
        const program = await startProgram(...what);
        servers.push(program);
        return program;
      },

      async proxy(server, folder) {
        const proxy = await startProxy(server.port, folder);
        proxies.push(proxy);
        return proxy;
      },

      onClear(run) {
        cleanups.push(run);
      },

      /** A separate browser context. */
      async browserContext(options = desktop) {
        const context = await browser.newContext({ locale: 'en-GB', timezoneId: 'Europe/Berlin', ...options });
        context.setDefaultTimeout(15_000);
        contexts.push(context);
        return context;
      },

      async tab(context, url) {
        const page = await context.newPage();
        page.on('pageerror', (error) => troubles.push(`uncaught in the page: ${error.message}`));
        page.on('console', (message) => {
          if (['error', 'warning'].includes(message.type()) && !expected.test(message.text())) troubles.push(`console: ${message.text()}`);
        });
        await page.goto(url);
        return page;
      },

      /** Opens a conversation in a separate browser context. */
      async chat(base, me, to, options) {
        const page = await stage.tab(await stage.browserContext(options), `${base}/#/?me=${me}&to=${to}`);
        await connected(page);
        return page;
      },

      async shot(page, name) {
        await page.screenshot({ path: `${screenshots}/${name}.png`, animations: 'disabled' });
      },

      /** Fails on unexpected errors: uncaught, or of the Content-Security-Policy. */
      async check() {
        for (const { crash } of servers) if (crash !== null) troubles.push(`the server crashed with ${crash}`);
        assert.deepEqual(troubles, []);
      },

      async explain() {
        for (const { crash } of servers) if (crash !== null) troubles.push(`the server crashed with ${crash}`);
        for (const line of new Set(troubles)) console.log(`      ${line}`);
        for (const server of servers) console.log(server.log.split('\n').slice(-15).join('\n').replace(/^/gm, '      server: '));
        for (const context of contexts) {
          for (const page of context.pages()) await page.screenshot({ path: `${screenshots}/failure-${(failures += 1)}.png` }).catch(() => {});
        }
      },

      async clear() {
        const ends = [...contexts.map((one) => () => one.close()), ...[...proxies, ...servers].map((one) => () => one.stop()), ...cleanups];
        // One that fails, as with a crashed browser, leaves nothing of the others running.
        const problems = [];
        for (const end of ends) await Promise.resolve().then(end).catch((problem) => problems.push(problem));
        if (problems.length > 0) throw problems[0];
      },
    };
    return stage;
  };
}

/** Starts a server with an audit. */
export function auditingServer(stage) {
  const folder = mkdtempSync(join(tmpdir(), 'waystation-e2e-'));
  stage.onClear(() => rmSync(folder, { recursive: true }));
  return stage.server(['--audit-file', join(folder, 'audit.sqlite')]);
}

// --- actions and conditions ------------------------------------------------------------

export const connected = (page) => page.locator('[data-test=view][data-link=open]').waitFor();
export const loggedIn = (page) => page.locator('[data-test=messenger][data-push=open]').waitFor();
export const isThere = (page) => page.locator('[data-test=view][data-present=true]').waitFor();

/**
 * Pages that the test can hide with `globalThis.show('hidden')`, and a desktop
 * that keeps what is shown on it in `globalThis.shown`: of each tag, the newest.
 * `answer`: the user's answer to the permission request.
 */
export function stageDesktop(context, permission = 'granted', answer = 'granted') {
  return context.addInitScript(
    ([now, later]) => {
      globalThis.shown = [];
      globalThis.Notification = class {
        static permission = now;
        static async requestPermission() {
          return (this.permission = later);
        }
        static #tags = new Map();
        constructor(title, { body, tag }) {
          Notification.#tags.get(tag)?.close();
          Notification.#tags.set(tag, this);
          this.said = `${title}: ${body}`;
          globalThis.shown.push(this.said);
        }
        close() {
          const index = globalThis.shown.indexOf(this.said);
          if (index >= 0) globalThis.shown.splice(index, 1);
        }
      };
      let state = 'visible';
      Object.defineProperty(document, 'visibilityState', { get: () => state });
      globalThis.show = (next) => {
        state = next;
        document.dispatchEvent(new Event('visibilitychange'));
      };
    },
    [permission, answer],
  );
}

export async function say(page, text) {
  await page.locator('[data-test=composer]').fill(text);
  await page.locator('[data-test=composer]').press('Enter');
}

/** Sends messages without waiting for the test between them, so that a rate limit applies on a slow machine, too. */
export function sayAtOnce(page, texts) {
  return page.locator('[data-test=composer]').evaluate(async (field, all) => {
    for (const text of all) {
      field.value = text;
      field.dispatchEvent(new Event('input', { bubbles: true }));
      // The component renders the draft.
      await new Promise((resolve) => setTimeout(resolve));
      field.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true }));
      await new Promise((resolve) => setTimeout(resolve));
    }
  }, texts);
}

/** A page, or the pages of a context, whose connections make two attempts after a failure, and then wait until the user retries. */
export function waitForever(pages) {
  return pages.addInitScript(() => {
    // The delays without jitter: 500, 1000 and 2000 ms.
    Math.random = () => 1;
    globalThis.endless = 0;
    const start = globalThis.setTimeout;
    globalThis.setTimeout = (run, ms, ...more) => {
      if (ms === 2000) globalThis.endless += 1;
      return start(run, ms === 2000 ? 2 ** 31 - 1 : ms, ...more);
    };
  });
}

/** The message with exactly this text, apart from white space. */
export const message = (page, text) => {
  const words = JSON.stringify(text.replace(/\s+/g, ' ').trim());
  return page.locator('[data-test=message]', { has: page.locator(`[data-test=text]:text-is(${words})`) });
};

/** Waits until the message with this text has one of these statuses. */
export async function waitForStatus(page, text, ...wanted) {
  const found = message(page, text).last();
  await page.waitForFunction(
    ([element, statuses]) => statuses.includes(element.dataset.status),
    [await found.elementHandle(), wanted],
    { timeout: 30_000 },
  );
}

/** axe finds nothing serious or critical. */
export async function accessible(page, what) {
  // Animated elements do not have their final colors, and one may appear at any time: no motion. Typing dots move as long as they are shown.
  await page.emulateMedia({ reducedMotion: 'reduce' });
  await page.evaluate(() => {
    const ending = document.getAnimations().filter(({ effect }) => effect.getComputedTiming().endTime !== Infinity);
    return Promise.allSettled(ending.map(({ finished }) => finished));
  });
  // Added over the debugging protocol, since the page's policy allows no other scripts.
  await page.evaluate(readFileSync(axe, 'utf8'));
  const serious = await page.evaluate(async () => {
    const { violations } = await globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] });
    return violations
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .map(({ id, nodes }) => `${id}: ${nodes.map(({ html, any }) => `${html.slice(0, 160)} ${any[0]?.message ?? ''}`).join(' | ')}`);
  });
  assert.deepEqual(serious, [], what);
  assert.deepEqual(await faintFields(page), [], `${what}: fields that are hard to see (WCAG 1.4.11)`);
  await page.emulateMedia({ reducedMotion: null });
}

/** Fields whose border has a contrast below 3:1 with the background inside or outside. axe does not check that. */
function faintFields(page) {
  return page.evaluate(() => {
    const rgb = (colour) => colour.match(/[\d.]+/g).map(Number);
    const luminance = (colour) => {
      const [r, g, b] = rgb(colour).map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const contrast = (one, other) => {
      const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
      return (high + 0.05) / (low + 0.05);
    };
    const ground = (element) => {
      const colour = getComputedStyle(element).backgroundColor;
      return rgb(colour)[3] === 0 && element.parentElement !== null ? ground(element.parentElement) : colour;
    };
    return [...document.querySelectorAll('input, textarea, select')]
      .map((field) => {
        const line = getComputedStyle(field).borderTopColor;
        return [field.id || field.dataset.test, Math.min(contrast(line, ground(field)), contrast(line, ground(field.parentElement)))];
      })
      .filter(([, ratio]) => ratio < 3);
  });
}
