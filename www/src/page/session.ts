import { computed, shallowRef } from 'vue';
import { isUser, readToken, type TokenReason } from '../waystation';
import { answerOtherTabs, usersElsewhere } from './other_tabs';
import { expiry, isAccepted, problemOfToken, type TokenProblem } from './token_check';

/** The user of this tab. Each tab has its own sessionStorage until it is closed, so that two tabs can have two users. */
const meKey = 'waystation.me';
const tokenKey = 'waystation.token';

interface Identity {
  readonly user: string;
  readonly token: string | null;
}

/** A new user, waiting for the confirmation. `from`: the user of this tab, or of another tab if this one has none. */
export interface Replacement {
  readonly from: string;
  readonly to: string;
}

const me = shallowRef<string | null>(null);
const token = shallowRef<string | null>(null);
const replacement = shallowRef<(Replacement & { readonly accept: () => Promise<void> }) | null>(null);
const checkingTabs = shallowRef(false);
const checkingToken = shallowRef(false);
const tokenProblem = shallowRef<TokenProblem | null>(null);

function stored(key: string): string | null {
  try {
    return sessionStorage.getItem(key);
  } catch {
    // Without storage, the page forgets the user on reload.
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

/** Null for a token without a valid user, and for one that a browser cannot send. */
function identityOf(text: string): Identity | null {
  const user = readToken(text)?.sub ?? null;
  return user !== null && isUser(user) ? { user, token: text } : null;
}

/** The only function that sets or changes the user. */
function setIdentity({ user, token: fresh }: Identity): void {
  // A name without a token keeps the token of that user only.
  if (fresh !== null || readToken(token.value ?? '')?.sub !== user) setToken(fresh);
  setUser(user);
}

/** Changes with each attempt to set an identity, so that a late answer about a token has no effect. */
let attempt = 0;

/**
 * Sets the identity, or asks for a confirmation if it replaces another user. The server is asked about a token first, but
 * not before the confirmation. `then` runs after the identity is set.
 */
async function requestIdentity(identity: Identity, then: () => void, otherTabUser: string | null = null): Promise<void> {
  const from = me.value ?? otherTabUser;
  const accept = async (): Promise<void> => {
    const mine = ++attempt;
    tokenProblem.value = null;
    if (identity.token !== null) {
      checkingToken.value = true;
      const problem = await problemOfToken(identity.user, identity.token);
      if (mine !== attempt) return;
      checkingToken.value = false;
      tokenProblem.value = problem;
      if (problem !== null) return;
    }
    replacement.value = null;
    setIdentity(identity);
    then();
  };
  if (from === null || from === identity.user) return accept();
  // A second link must not change the question that the user is reading.
  replacement.value ??= { from, to: identity.user, accept };
}

/** Stops the attempt to set an identity. */
function stopAttempt(): void {
  attempt += 1;
  checkingToken.value = false;
  tokenProblem.value = null;
}

/**
 * Replaces this tab's token by one of a link for the same user, if the server accepts that one. Anyone can write claims
 * into a link, so that the page compares them only to ask the server for the later token first. If it does not answer,
 * an expired token is replaced, and another one stays.
 */
async function tryToken(user: string, fresh: string): Promise<void> {
  const present = token.value;
  if (fresh === present) return;
  // An old link must not replace a renewed token.
  if (present !== null && expiry(fresh) < expiry(present) && (await isAccepted(user, present)) !== false) return;
  const accepted = (await isAccepted(user, fresh)) ?? (present === null || expiry(present) <= Date.now());
  if (accepted && me.value === user && token.value === present) setToken(fresh);
}

answerOtherTabs(() => me.value);

export const session = {
  me: computed(() => me.value),
  token: computed(() => token.value),
  /** The change that the user has to confirm, or null. */
  replacement: computed<Replacement | null>(() => replacement.value),
  /** True while a link waits for the answers of the other tabs. */
  checkingTabs: computed(() => checkingTabs.value),
  /** True while the server is asked about a token. */
  checkingToken: computed(() => checkingToken.value),
  /** Why the last token was not used, or null. */
  tokenProblem: computed(() => tokenProblem.value),

  restore(): void {
    const name = stored(meKey);
    if (name !== null && isUser(name)) me.value = name;
    token.value = stored(tokenKey);
  },

  /** Signs in by name. Needs a confirmation if another user is signed in. */
  signIn(user: string): void {
    void requestIdentity({ user, token: null }, () => {});
  },

  /**
   * Signs in as the user of a token. Needs a confirmation if another user is signed in. Resolves after the server's answer.
   * `tokenProblem` is the reason if the token is not used.
   */
  async signInWithToken(text: string): Promise<void> {
    stopAttempt();
    const identity = identityOf(text);
    if (identity === null) tokenProblem.value = { kind: 'malformed' };
    else await requestIdentity(identity, () => {});
  },

  /**
   * Signs in by link. Anyone can send a link. Needs a confirmation if another user is signed in in this tab; for a token,
   * also in another tab. A token of this tab's user replaces the present one only as in `tryToken`. `open` shows the page
   * of the link, and does not run if the user declines.
   */
  async followLink({ me: name, token: text }: { readonly me: string | null; readonly token: string | null }, open: () => void): Promise<void> {
    const identity = text !== null ? identityOf(text) : name !== null ? { user: name, token: null } : null;
    if (identity === null) {
      if (text !== null && me.value === null) tokenProblem.value = { kind: 'malformed' };
      return open();
    }
    if (identity.user === me.value && identity.token !== null) {
      open();
      return tryToken(identity.user, identity.token);
    }
    if (me.value !== null || identity.token === null) return requestIdentity(identity, open);
    if (checkingTabs.value) return;
    checkingTabs.value = true;
    const users = await usersElsewhere();
    checkingTabs.value = false;
    return requestIdentity(identity, open, users.has(identity.user) ? null : ([...users][0] ?? null));
  },

  acceptReplacement: async (): Promise<void> => replacement.value?.accept(),
  declineReplacement(): void {
    stopAttempt();
    replacement.value = null;
  },

  /** The user edits the token, or leaves its form. */
  forgetTokenProblem: stopAttempt,

  signOut(): void {
    stopAttempt();
    setUser(null);
    setToken(null);
  },

  /** The token function of the client. */
  fetchToken: (_reason: TokenReason): string | null => token.value,
};
