/** The users in the other tabs of this browser. The tabs ask each other, so that nothing is stored. */
const channel = 'BroadcastChannel' in globalThis ? new BroadcastChannel('waystation.users') : null;

/** Tabs without a user do not answer: the answers end after this time. */
const answerMs = 300;

let collect: ((user: string) => void) | null = null;

/** Starts to answer the other tabs. `me`: returns the user of this tab, or null. */
export function answerOtherTabs(me: () => string | null): void {
  if (channel === null) return;
  channel.onmessage = ({ data }: MessageEvent<unknown>) => {
    const user = me();
    if (typeof data === 'string') collect?.(data);
    else if (user !== null) channel.postMessage(user);
  };
}

/** Asks the other tabs for their users. Empty if the browser has no BroadcastChannel. */
export async function usersElsewhere(): Promise<ReadonlySet<string>> {
  const users = new Set<string>();
  if (channel === null) return users;
  collect = (user) => users.add(user);
  channel.postMessage(null);
  await new Promise((resolve) => setTimeout(resolve, answerMs));
  collect = null;
  return users;
}
