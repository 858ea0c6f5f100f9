import { describe, expect, it } from 'vitest';
import { compareUsers, groupName, isUser, NameError, otherUser, parseGroup } from './names';

describe('user ids', () => {
  it('are 1 to 64 digits and lower-case letters', () => {
    for (const good of ['0', 'alice', '195752', 'a0', 'z'.repeat(64)]) expect(isUser(good), good).toBe(true);
    for (const bad of ['', 'Alice', 'a_b', 'a-b', 'é', 'z'.repeat(65), 'a ', 'a\n']) expect(isUser(bad), bad).toBe(false);
  });
});

describe('group names', () => {
  it('compare ids of digits as numbers', () => {
    expect(groupName('10', '9')).toBe('9_10');
    expect(groupName('748418', '195752')).toBe('195752_748418');
    expect(groupName('0100', '99')).toBe('99_0100');
  });

  it('compare all other ids byte by byte', () => {
    expect(groupName('bob', 'alice')).toBe('alice_bob');
    expect(groupName('a', '10')).toBe('10_a');
    expect(groupName('9a', '10')).toBe('10_9a');
    expect(groupName('ab', 'a')).toBe('a_ab');
  });

  it('compare equal numbers byte by byte', () => {
    expect(groupName('7', '07')).toBe('07_7');
    expect(groupName('007', '07')).toBe('007_07');
    expect(groupName('0', '00')).toBe('0_00');
  });

  it('compare numbers of 64 digits exactly', () => {
    const even = `${'9'.repeat(63)}8`;
    const odd = `${'9'.repeat(63)}9`;
    expect(groupName(odd, even)).toBe(`${even}_${odd}`);
    expect(groupName(`1${'0'.repeat(63)}`, '9'.repeat(63))).toBe(`${'9'.repeat(63)}_1${'0'.repeat(63)}`);
    expect(groupName(`${'0'.repeat(63)}2`, '10')).toBe(`${'0'.repeat(63)}2_10`);
  });

  it('are the same for both users', () => {
    const users = ['0', '00', '7', '07', '9', '10', '9a', 'a', 'a9', 'a10', 'zz'];
    for (const a of users) {
      for (const b of users) {
        if (a === b) continue;
        expect(groupName(a, b)).toBe(groupName(b, a));
        expect(compareUsers(a, b)).toBe(-compareUsers(b, a));
      }
    }
  });

  it('reject an invalid pair with the reason', () => {
    expect(() => groupName('alice', 'alice')).toThrow(/two different users/);
    expect(() => groupName('alice', 'Bob')).toThrow(/user "Bob": not a user id/);
    expect(() => groupName('', 'bob')).toThrow(NameError);
  });

  it('are parsed into the two users', () => {
    expect(parseGroup('9_10')).toEqual(['9', '10']);
    expect(otherUser('alice_bob', 'alice')).toBe('bob');
    expect(otherUser('alice_bob', 'bob')).toBe('alice');
  });

  it('report the correct name if reversed', () => {
    expect(() => parseGroup('10_9')).toThrow(/use "9_10"/);
    expect(() => parseGroup('a_b_c')).toThrow(/two user ids joined by "_"/);
    expect(() => parseGroup('alice')).toThrow(/two user ids joined by "_"/);
    expect(() => otherUser('alice_bob', 'carol')).toThrow(/not one of the two users/);
  });
});
