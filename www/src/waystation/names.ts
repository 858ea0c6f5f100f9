/** The longest user id, in characters. */
export const maxUserLength = 64;
/** A user id, as the server accepts it on every route. A unit test of the server compares the two. */
const userPattern = /^[0-9a-z]{1,64}$/;
const digitsPattern = /^[0-9]+$/;

export class NameError extends Error {
  override readonly name = 'NameError';
}

/** The error for an invalid user id. */
export function userIdError(text: string): NameError {
  return new NameError(`user "${text}": not a user id; use 1 to ${maxUserLength} characters of 0-9 and a-z`);
}

export function isUser(text: string): boolean {
  return userPattern.test(text);
}

/**
 * The order of the two users in a group name. Two ids of digits only compare as numbers of any length. Every other pair
 * compares byte by byte, and so do equal numbers such as `7` and `07`.
 */
export function compareUsers(a: string, b: string): -1 | 0 | 1 {
  if (digitsPattern.test(a) && digitsPattern.test(b)) {
    // No number type holds 64 digits. Without leading zeros the longer id is
    // greater, and ids of equal length compare as text.
    const left = a.replace(/^0+/, '');
    const right = b.replace(/^0+/, '');
    if (left.length !== right.length) return left.length < right.length ? -1 : 1;
    if (left !== right) return left < right ? -1 : 1;
  }
  // Ids are ASCII, so UTF-16 order is byte order.
  return a === b ? 0 : a < b ? -1 : 1;
}

/** The group of two users: `<lo>_<hi>`. Throws NameError for an invalid or equal user id. */
export function groupName(one: string, other: string): string {
  for (const user of [one, other]) {
    if (!isUser(user)) throw userIdError(user);
  }
  const order = compareUsers(one, other);
  if (order === 0) throw new NameError(`group of "${one}": both users are the same; use two different users`);
  return order < 0 ? `${one}_${other}` : `${other}_${one}`;
}

/** The two users of a group name. Throws NameError; for a reversed name, the error has the correct one. */
export function parseGroup(group: string): readonly [lo: string, hi: string] {
  const parts = group.split('_');
  const [lo, hi] = parts;
  if (parts.length !== 2 || lo === undefined || hi === undefined) {
    throw new NameError(`group "${group}": not a group name; use two user ids joined by "_"`);
  }
  const right = groupName(lo, hi);
  if (right !== group) throw new NameError(`group "${group}": wrong order; use "${right}"`);
  return [lo, hi];
}

/** The other user of a group. Throws NameError if `user` is not in it. */
export function otherUser(group: string, user: string): string {
  const [lo, hi] = parseGroup(group);
  if (user === lo) return hi;
  if (user === hi) return lo;
  throw new NameError(`user "${user}": not one of the two users of "${group}"`);
}
