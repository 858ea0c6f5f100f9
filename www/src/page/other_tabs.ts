/** Which users are signed in in the other tabs of this browser. Nothing about it is stored. */
const channel = 'BroadcastChannel' in globalThis ? new BroadcastChannel('waystation.users') : null;

/** Tabs in which nobody is signed in do not answer, so that the end of the answers is a matter of time. */
const answerMs = 300;

let collect: ((user: string) => void) | null = null;

/** Answers the other tabs from now on. `me`: the user of this tab, or null. */
export function answerOtherTabs(me: () => string | null): void {
  if (channel === null) return;
  channel.onmessage = ({ data }: MessageEvent<unknown>) => {
    const user = me();
    if (typeof data === 'string') collect?.(data);
    else if (user !== null) channel.postMessage(user);
  };
}

/** Asks the other tabs. Empty where the browser has no BroadcastChannel. */
export async function usersElsewhere(): Promise<ReadonlySet<string>> {
  const users = new Set<string>();
  if (channel === null) return users;
  collect = (user) => users.add(user);
  channel.postMessage(null);
  await new Promise((resolve) => setTimeout(resolve, answerMs));
  collect = null;
  return users;
}
