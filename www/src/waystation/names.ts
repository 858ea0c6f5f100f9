/** A user id: what the server accepts on every route. */
const userPattern = /^[0-9a-z]{1,64}$/;
const digitsPattern = /^[0-9]+$/;

export class NameError extends Error {
  override readonly name = 'NameError';
}

export function isUser(text: string): boolean {
  return userPattern.test(text);
}

/**
 * The order of the two users in a group name. Ids that are both all digits are
 * compared as numbers, of any length; every other pair, and equal numbers such
 * as `7` and `07`, byte by byte.
 */
export function compareUsers(a: string, b: string): -1 | 0 | 1 {
  if (digitsPattern.test(a) && digitsPattern.test(b)) {
    // Without leading zeros the longer one is the greater one, and equal
    // lengths compare as text: no number type has to hold 64 digits.
    const left = a.replace(/^0+/, '');
    const right = b.replace(/^0+/, '');
    if (left.length !== right.length) return left.length < right.length ? -1 : 1;
    if (left !== right) return left < right ? -1 : 1;
  }
  // Ids are ASCII, so UTF-16 order is byte order.
  return a === b ? 0 : a < b ? -1 : 1;
}

/** The group of two users: `<lo>_<hi>`. Throws NameError saying what is wrong with the pair. */
export function groupName(one: string, other: string): string {
  for (const user of [one, other]) {
    if (!isUser(user)) {
      throw new NameError(`"${user}" is not a user id: 1 to 64 characters of 0-9 and a-z are`);
    }
  }
  const order = compareUsers(one, other);
  if (order === 0) throw new NameError(`a group needs two different users, not "${one}" twice`);
  return order < 0 ? `${one}_${other}` : `${other}_${one}`;
}

/** The two users of a group name. Throws NameError; for a reversed name it gives the right form. */
export function parseGroup(group: string): readonly [lo: string, hi: string] {
  const parts = group.split('_');
  const [lo, hi] = parts;
  if (parts.length !== 2 || lo === undefined || hi === undefined) {
    throw new NameError(`"${group}" is not a group: two user ids joined by "_" are`);
  }
  const right = groupName(lo, hi);
  if (right !== group) throw new NameError(`"${group}" is in the wrong order: write "${right}"`);
  return [lo, hi];
}

/** The one that `user` talks to in `group`. Throws NameError if `user` is not in it. */
export function otherUser(group: string, user: string): string {
  const [lo, hi] = parseGroup(group);
  if (user === lo) return hi;
  if (user === hi) return lo;
  throw new NameError(`"${user}" is not one of the two users of "${group}"`);
}
