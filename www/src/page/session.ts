import { computed, shallowRef } from 'vue';
import { isUser, readToken, type TokenReason } from '../waystation';

/**
 * Who this tab is. Kept for the tab alone, so that two tabs can be two users,
 * and only until it is closed.
 */
const meKey = 'waystation.me';
const tokenKey = 'waystation.token';

const me = shallowRef<string | null>(null);
const token = shallowRef<string | null>(null);

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

function forgetToken(): void {
  token.value = null;
  store(tokenKey, null);
}

export const session = {
  me: computed(() => me.value),
  token: computed(() => token.value),

  restore(): void {
    const name = stored(meKey);
    if (name !== null && isUser(name)) me.value = name;
    token.value = stored(tokenKey);
  },

  be(user: string): void {
    // A token says who one is: somebody else's is not taken along.
    if (token.value !== null && readToken(token.value)?.sub !== user) forgetToken();
    me.value = user;
    store(meKey, user);
  },

  /** Takes a token, and with it the user that it names. Returns false if it names none. */
  useToken(text: string): boolean {
    const user = readToken(text)?.sub ?? null;
    if (user === null || !isUser(user)) return false;
    token.value = text;
    store(tokenKey, text);
    this.be(user);
    return true;
  },

  leave(): void {
    me.value = null;
    store(meKey, null);
    forgetToken();
  },

  /** For the client: it goes on only if what it gets is not the token that was turned away. */
  bringToken: (_reason: TokenReason): string | null => token.value,
};
