import { readFileSync } from 'node:fs';
import { runInNewContext } from 'node:vm';
import { beforeEach, describe, expect, it } from 'vitest';

const source = readFileSync(new URL('worker.js', import.meta.url), 'utf8');
const scope = 'http://relay.example/chat/';

interface Answer {
  readonly text: string;
}
type Handler = (event: unknown) => void;

/** The browser's caches, in the order of their creation. */
let stored: Map<string, Map<string, Answer>>;
/** The files of the server. */
let served: Map<string, string>;
/** An install of this version does not end: the browser is closed. */
let interrupted: string | null;

const caches = {
  keys: async () => [...stored.keys()],
  delete: async (name: string) => stored.delete(name),
  async open(name: string) {
    const cache = stored.get(name) ?? new Map<string, Answer>();
    stored.set(name, cache);
    return {
      match: async (url: URL) => cache.get(url.href),
      // All or none, as in a browser.
      async addAll(requests: readonly { readonly url: string }[]) {
        if (name.endsWith(` ${interrupted}`)) await new Promise(() => {});
        const found = requests.map(({ url }) => [url, served.get(url)] as const);
        const missing = found.find(([, text]) => text === undefined);
        if (missing !== undefined) throw new TypeError(`${missing[0]}: not found`);
        for (const [url, text] of found) cache.set(url, { text: text! });
      },
    };
  },
};

/** The worker of a version, with a file of its own. */
function start(version: string, files: readonly string[]): Map<string, Handler> {
  const handlers = new Map<string, Handler>();
  const self = {
    registration: { scope },
    clients: { claim: async () => {} },
    skipWaiting: async () => {},
    addEventListener: (name: string, handler: Handler) => void handlers.set(name, handler),
  };
  class Request {
    readonly url: string;
    constructor(url: URL) {
      this.url = url.href;
    }
  }
  const fetch = async ({ url }: { readonly url: string }): Promise<Answer> => {
    const text = served.get(url);
    if (text === undefined) throw new TypeError(`${url}: not found`);
    return { text };
  };
  const script = source.replace('__VERSION__', version).replace('__FILES__', JSON.stringify(files));
  runInNewContext(script, { self, caches, fetch, Request, URL, AbortController, setTimeout, clearTimeout });
  return handlers;
}

async function dispatch(handlers: Map<string, Handler>, name: string): Promise<void> {
  let work: Promise<unknown> = Promise.resolve();
  handlers.get(name)?.({ waitUntil: (promise: Promise<unknown>) => (work = promise) });
  await work;
}

const part = (version: string): string => `${scope}assets/part-${version}.js`;

/** The server has this version only. The browser installs it; `whole`: all files are served. */
async function deploy(version: string, whole = true): Promise<Map<string, Handler>> {
  served = new Map([[scope, `page ${version}`]]);
  if (whole) served.set(part(version), `part ${version}`);
  const worker = start(version, ['./', `./assets/part-${version}.js`]);
  await dispatch(worker, 'install');
  await dispatch(worker, 'activate');
  return worker;
}

/** The text of a part that a tab of this version loads. */
async function load(worker: Map<string, Handler>, version: string): Promise<string> {
  let response: Promise<Answer> | undefined;
  const request = { method: 'GET', mode: 'cors', url: part(version) };
  worker.get('fetch')?.({ request, respondWith: (promise: Promise<Answer>) => (response = promise) });
  return (await response!).text;
}

const versions = (): unknown[] => [...stored.keys()].map((name) => name.split(' ').pop());

beforeEach(() => {
  stored = new Map();
  interrupted = null;
});

describe('the service worker', () => {
  it('keeps the version before, for open tabs', async () => {
    await deploy('A');
    await deploy('B');
    const worker = await deploy('C');
    expect(versions()).toEqual(['B', 'C']);
    expect([await load(worker, 'B'), await load(worker, 'C')]).toEqual(['part B', 'part C']);
    await expect(load(worker, 'A')).rejects.toThrow('not found');
  });

  it('keeps the version that was used last, also after the return to an earlier one', async () => {
    for (const version of ['A', 'B', 'A']) await deploy(version);
    expect(versions()).toEqual(['B', 'A']);
    const worker = await deploy('C');
    expect(versions()).toEqual(['A', 'C']);
    expect(await load(worker, 'A')).toBe('part A');
  });

  it('leaves no cache behind if it cannot be installed', async () => {
    await deploy('A');
    await expect(deploy('B', false)).rejects.toThrow('part-B.js: not found');
    expect(versions()).toEqual(['A']);
    expect(await load(await deploy('C'), 'A')).toBe('part A');
  });

  it('ignores an install that the browser did not end', async () => {
    await deploy('A');
    interrupted = 'B';
    void deploy('B');
    const worker = await deploy('C');
    expect(versions()).toEqual(['A', 'C']);
    expect(await load(worker, 'A')).toBe('part A');
  });

  it('leaves the caches of other pages alone', async () => {
    const others = ['waystation http://relay.example/ A', 'another'];
    for (const name of others) stored.set(name, new Map());
    for (const version of ['A', 'B', 'C']) await deploy(version);
    expect([...stored.keys()].slice(0, 2)).toEqual(others);
    expect(versions().slice(2)).toEqual(['B', 'C']);
  });
});
