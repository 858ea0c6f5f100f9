// The service worker of the page: an offline shell. `finish.js` fills in the
// version and the files. It answers requests for the page's own files only:
// sockets, the API and everything else go to the server as if it did not exist.
const version = '__VERSION__';
const files = __FILES__;

const prefix = `waystation ${self.registration.scope} `;
const cacheName = prefix + version;
const scope = new URL(self.registration.scope);
/** How long the server may take for the page itself before the stored one is shown. */
const patienceMs = 4_000;

self.addEventListener('install', (event) => {
  event.waitUntil(
    (async () => {
      // The caches are in the order of their creation. After the return to an earlier version, this one has to be the last.
      await caches.delete(cacheName);
      const cache = await caches.open(cacheName);
      try {
        // Past the browser's HTTP cache, so that all files are of one version. A redirect leads to a login, not to the page.
        await cache.addAll(files.map((file) => new Request(new URL(file, scope), { cache: 'reload', redirect: 'error' })));
      } catch (error) {
        await caches.delete(cacheName);
        throw error;
      }
      await self.skipWaiting();
    })(),
  );
});

self.addEventListener('activate', (event) => {
  event.waitUntil(
    (async () => {
      // Open tabs of the version before still load parts of it. If the browser was closed during an install, its cache is empty.
      let kept = false;
      for (const name of (await caches.keys()).reverse()) {
        if (!name.startsWith(prefix) || name === cacheName) continue;
        if (!kept && (await (await caches.open(name)).match(scope)) !== undefined) kept = true;
        else await caches.delete(name);
      }
      await self.clients.claim();
    })(),
  );
});

/** The stored file of this version, or of the one before. */
async function stored(path) {
  const url = new URL(path, scope);
  const own = await (await caches.open(cacheName)).match(url);
  if (own !== undefined) return own;
  for (const name of await caches.keys()) {
    if (!name.startsWith(prefix)) continue;
    const other = await (await caches.open(name)).match(url);
    if (other !== undefined) return other;
  }
  return undefined;
}

/** The page itself: the server's, so that a new version shows at once. The stored one while the server does not answer. */
async function page(request) {
  const shell = await stored('./');
  if (shell === undefined) return fetch(request);
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), patienceMs);
  try {
    const answer = await fetch(request, { signal: abort.signal });
    return answer.status >= 502 && answer.status <= 504 ? shell : answer;
  } catch {
    return shell;
  } finally {
    clearTimeout(timer);
  }
}

self.addEventListener('fetch', (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== 'GET' || url.origin !== scope.origin || url.search !== '' || !url.pathname.startsWith(scope.pathname)) return;
  const path = url.pathname.slice(scope.pathname.length);
  if (request.mode === 'navigate') {
    if (path === '' || path === 'index.html') event.respondWith(page(request));
  } else if (files.includes(`./${path}`) || path.startsWith('assets/')) {
    // The names of other files in assets/ contain a hash of their content: one of an earlier version may be stored.
    event.respondWith(stored(`./${path}`).then((found) => found ?? fetch(request)));
  }
});

/** Answers a tab that asks whether it runs this version. Some browsers show notifications only through the worker. A click opens the tab that sent it. */
self.addEventListener('message', (event) => {
  const { data, source } = event;
  if (data?.script !== undefined) source.postMessage({ outdated: !files.includes(data.script) });
  if (data?.show === undefined) return;
  const { title, options, link } = data.show;
  event.waitUntil(self.registration.showNotification(title, { ...options, data: { link, client: source.id } }));
});

self.addEventListener('notificationclick', (event) => {
  const { link, client: id } = event.notification.data ?? {};
  event.notification.close();
  event.waitUntil(
    (async () => {
      const tab = await self.clients.get(id);
      if (tab === undefined) return self.clients.openWindow(new URL(link, scope));
      await tab.focus();
      tab.postMessage({ open: link });
    })(),
  );
});
