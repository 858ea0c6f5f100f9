import { shallowRef, watch } from 'vue';
import { inbox } from '../inbox';
import { go, readHash } from '../route';
import { session } from '../session';

/** The service worker: `build/worker.js`. It exists on https and loopback addresses only. */

/** The server has another version of the page than this tab runs. */
export const updateReady = shallowRef(false);

/** The page's script, whose name has a hash of its content, as the worker names it. */
const script = (): string => `./assets/${document.querySelector<HTMLScriptElement>('script[type=module]')?.src.split('/').pop() ?? ''}`;

/** Registers the worker, and follows its messages. */
export async function startWorker(): Promise<void> {
  const worker: ServiceWorkerContainer | undefined = navigator.serviceWorker;
  if (!import.meta.env.PROD || worker === undefined) return;
  worker.addEventListener('controllerchange', () => worker.controller?.postMessage({ script: script() }));
  worker.addEventListener('message', ({ data }: MessageEvent<{ readonly outdated?: boolean; readonly open?: string }>) => {
    if (data.outdated !== undefined) updateReady.value = data.outdated;
    if (data.open !== undefined) go(readHash(data.open).route);
  });
  watch(session.me, (_, before) => {
    if (before !== null) void closeNotifications(before);
  });
  try {
    const registration = await worker.register('./sw.js', { updateViaCache: 'none' });
    // A server that was restarted may have another version of the page.
    watch(inbox.isOpen, (open) => {
      if (open) registration.update().catch(() => {});
    });
  } catch {
    // The browser forbids workers here, as in a private window. The page works without one.
  }
}

/** Shows a notification where pages cannot, such as on phones. A click opens `link`. */
export async function showByWorker(title: string, options: NotificationOptions, link: string): Promise<void> {
  const registration = await navigator.serviceWorker?.getRegistration();
  registration?.active?.postMessage({ show: { title, options, link } });
}

/** The next user of this tab must not see the messages of the previous one. */
async function closeNotifications(user: string): Promise<void> {
  const registration = await navigator.serviceWorker.getRegistration();
  const start = JSON.stringify(['waystation', user]).slice(0, -1);
  for (const one of (await registration?.getNotifications()) ?? []) if (one.tag.startsWith(`${start},`)) one.close();
}
