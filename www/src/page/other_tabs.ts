import { heldTabLocks, holdTabLock } from './tab_locks';

/** The users in the other tabs of this browser. The tabs ask each other, so that nothing is stored. */
const channel = 'BroadcastChannel' in globalThis ? new BroadcastChannel('waystation.users') : null;

/** Tabs without a user do not answer: the answers end after this time. */
const answerMs = 300;

// A frozen background tab does not answer, but it keeps its locks.
const signedInLock = (user: string): string => `waystation: ${user} signed in`;
const signedInUser = (lock: string): string | undefined => /^waystation: (\S+) signed in$/.exec(lock)?.[1];

let collect: ((user: string) => void) | null = null;

/** Starts to tell the other tabs the user. `me`: returns the user of this tab, or null; reactive. */
export function answerOtherTabs(me: () => string | null): void {
  holdTabLock(() => {
    const user = me();
    return user === null ? null : signedInLock(user);
  });
  if (channel === null) return;
  channel.onmessage = ({ data }: MessageEvent<unknown>) => {
    const user = me();
    if (typeof data === 'string') collect?.(data);
    else if (user !== null) channel.postMessage(user);
  };
}

/** The users of the other tabs, for a tab without one. Empty if the browser has neither BroadcastChannel nor Web Locks. */
export async function usersElsewhere(): Promise<ReadonlySet<string>> {
  const users = new Set<string>();
  if (channel !== null) {
    collect = (user) => users.add(user);
    channel.postMessage(null);
    await new Promise((resolve) => setTimeout(resolve, answerMs));
    collect = null;
  }
  for (const lock of await heldTabLocks()) {
    const user = signedInUser(lock);
    if (user !== undefined) users.add(user);
  }
  return users;
}
