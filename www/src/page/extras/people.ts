import { computed, shallowRef, watch, type ComputedRef } from 'vue';
import { conversationList } from '../conversation_store';
import { session } from '../session';
import { isUser } from '../../waystation/names';

/** The key exists only while the user wants the names to be remembered. */
const key = 'waystation.people';
const maxPeople = 50;

type People = Readonly<Record<string, readonly string[]>>;

/** Null unless the user has turned it on. Anything may be stored under the key. */
function stored(): People | null {
  try {
    const value: unknown = JSON.parse(localStorage.getItem(key) ?? 'null');
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return null;
    const lists = Object.entries(value).filter(([user, list]) => isUser(user) && Array.isArray(list));
    return Object.fromEntries(lists.map(([user, list]) => [user, (list as unknown[]).filter((one): one is string => typeof one === 'string' && isUser(one)).slice(0, maxPeople)]));
  } catch {
    return null;
  }
}

function store(value: People | null): void {
  people.value = value;
  try {
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, JSON.stringify(value));
  } catch {
    // Without storage, the names last until the page is closed.
  }
}

const people = shallowRef(stored());

/** The names of a user, who may be called `constructor` or `__proto__`. */
const namesOf = (all: People | null, user: string | null): readonly string[] => new Map(Object.entries(all ?? {})).get(user ?? '') ?? [];

/** Follows changes of other tabs. Returns the function that stops. */
export function followOtherTabs(): () => void {
  const onStorage = (event: StorageEvent): void => {
    if (event.key === key || event.key === null) people.value = stored();
  };
  window.addEventListener('storage', onStorage);
  return () => window.removeEventListener('storage', onStorage);
}

/** Whether this browser remembers names: off unless the user turns it on. Off deletes those of all users. */
export const remembers = computed({
  get: () => people.value !== null,
  set: (on) => store(on ? {} : null),
});

/** The names that this tab's user has talked to, newest first, without those in the list of conversations. */
export const remembered: ComputedRef<readonly string[]> = computed(() => {
  const listed = new Set(conversationList.value.map(({ peer }) => peer));
  return namesOf(people.value, session.me.value).filter((peer) => !listed.has(peer));
});

export function forget(peer: string): void {
  const me = session.me.value;
  if (people.value === null || me === null) return;
  store({ ...people.value, [me]: namesOf(people.value, me).filter((one) => one !== peer) });
}

/** Stores the names of conversations with a message, as long as it is turned on. Returns the function that stops. */
export function rememberPeople(): () => void {
  return watch(
    [remembers, session.me, () => conversationList.value.filter(({ count }) => count > 0).map(({ peer }) => peer).join()],
    ([on, me, talkedTo]) => {
      if (!on || me === null || talkedTo === '') return;
      // Another tab may have stored a name meanwhile.
      const before = stored() ?? {};
      const list = [...new Set([...talkedTo.split(','), ...namesOf(before, me)])].slice(0, maxPeople);
      store({ ...before, [me]: list });
    },
    { immediate: true },
  );
}
