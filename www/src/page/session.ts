import { computed, shallowRef } from 'vue';
import { isUser, readToken, type TokenReason } from '../waystation';
import { answerOtherTabs, usersElsewhere } from './other_tabs';

/**
 * Who this tab is. Kept for the tab alone, so that two tabs can be two users,
 * and only until it is closed.
 */
const meKey = 'waystation.me';
const tokenKey = 'waystation.token';

interface Identity {
  readonly user: string;
  readonly token: string | null;
}

/** One user would replace another, in this tab or beside another tab's: nothing happens before the answer. */
export interface Replacement {
  readonly from: string;
  readonly to: string;
}

const me = shallowRef<string | null>(null);
const token = shallowRef<string | null>(null);
const question = shallowRef<(Replacement & { readonly accept: () => void }) | null>(null);
const waiting = shallowRef(false);

function stored(key: string): string | null {
  try {
    return sessionStorage.getItem(key);
  } catch {
    // Storage may be switched off; the page then forgets at a reload.
    return null;
  }
}

function store(key: string, value: string | null): void {
  try {
    if (value === null) sessionStorage.removeItem(key);
    else sessionStorage.setItem(key, value);
  } catch {
    // As above.
  }
}

function setToken(value: string | null): void {
  token.value = value;
  store(tokenKey, value);
}

function setUser(user: string | null): void {
  me.value = user;
  store(meKey, user);
}

/** Null for a token that names no user, or that a browser could not send. */
function identityOf(text: string): Identity | null {
  const user = readToken(text)?.sub ?? null;
  return user !== null && isUser(user) ? { user, token: text } : null;
}

const expiry = (text: string | null): number => readToken(text ?? '')?.expiresAt ?? 0;

/** The only place where a user begins, or changes. */
function assume({ user, token: fresh }: Identity): void {
  // A name without a token keeps the token of that user, and drops anybody else's.
  if (fresh !== null || readToken(token.value ?? '')?.sub !== user) setToken(fresh);
  setUser(user);
}

/** Asks before one user replaces another. `then` runs once the identity is taken. */
function request(identity: Identity, then: () => void, elsewhere: string | null = null): void {
  const from = me.value ?? elsewhere;
  const accept = (): void => {
    question.value = null;
    assume(identity);
    then();
  };
  if (from === null || from === identity.user) accept();
  // A second link does not change the question that is being read.
  else question.value ??= { from, to: identity.user, accept };
}

answerOtherTabs(() => me.value);

export const session = {
  me: computed(() => me.value),
  token: computed(() => token.value),
  /** What the user has to confirm, or null. */
  question: computed<Replacement | null>(() => question.value),
  /** A link waits for what the other tabs say. */
  waiting: computed(() => waiting.value),

  restore(): void {
    const name = stored(meKey);
    if (name !== null && isUser(name)) me.value = name;
    token.value = stored(tokenKey);
  },

  /** Signs in by name. Asks first where another user is signed in. */
  be(user: string): void {
    request({ user, token: null }, () => {});
  },

  /** Signs in by token, as the user that it names. Asks first where another user is signed in. Returns false if it names none. */
  useToken(text: string): boolean {
    const identity = identityOf(text);
    if (identity !== null) request(identity, () => {});
    return identity !== null;
  },

  /**
   * Signs in by link. Asks first where another user is signed in in this tab or, for a token, in another one: a link
   * may come from anybody. `open` shows the link's page; it does not run if the user is to stay who they are.
   */
  async follow({ me: name, token: text }: { readonly me: string | null; readonly token: string | null }, open: () => void): Promise<void> {
    const identity = text !== null ? identityOf(text) : name !== null ? { user: name, token: null } : null;
    // An old link of the same user does not undo a renewal.
    if (identity === null || (identity.user === me.value && identity.token !== null && expiry(identity.token) < expiry(token.value))) return open();
    if (me.value !== null || identity.token === null) return request(identity, open);
    if (waiting.value) return;
    waiting.value = true;
    const users = await usersElsewhere();
    waiting.value = false;
    request(identity, open, users.has(identity.user) ? null : ([...users][0] ?? null));
  },

  /** The answers to the question. */
  replace: () => question.value?.accept(),
  keep(): void {
    question.value = null;
  },

  leave(): void {
    setUser(null);
    setToken(null);
  },

  /** For the client: it goes on only if what it gets is not the token that was turned away. */
  bringToken: (_reason: TokenReason): string | null => token.value,
};
