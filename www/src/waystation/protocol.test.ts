import { describe, expect, it } from 'vitest';
import { encodeMessage, newMessageId, parseFrame } from './protocol';

describe('parseFrame', () => {
  it('reads each kind of frame', () => {
    const kinds = [
      ['message', '{"message":null,"from":"bob","id":null,"at":1}'],
      ['ack', '{"ack":{"id":"m1","route":"chat","reached":1,"at":1}}'],
      ['presence', '{"presence":{"user":"bob","present":true}}'],
      ['signal', '{"signal":null,"from":"bob"}'],
      ['event', '{"event":{"message":1,"group":null,"from":null,"id":null,"at":1}}'],
      ['error', '{"error":{"code":"bad_json","detail":"x"}}'],
      ['missed', '{"missed":{"from":[],"notifications":0,"complete":true,"next":"x"}}'],
    ];
    for (const [kind, text] of kinds) expect(parseFrame(text).kind).toBe(kind);
  });

  it('reports everything else as unknown', () => {
    for (const text of ['', '{', '1', 'null', '[]', '{}', '{"event":1}', '{"presence":{}}', '{"ack":[]}', '{"error":"x"}', '{"missed":{}}', '{"missed":[]}']) {
      expect(parseFrame(text).kind, text).toBe('unknown');
    }
    expect(parseFrame(new ArrayBuffer(2)).kind).toBe('unknown');
  });

  it('ignores members of the wrong type', () => {
    expect(parseFrame('{"message":1,"from":7,"id":{},"at":"x"}')).toEqual({ kind: 'message', message: 1, from: null, id: null, at: null });
    expect(parseFrame('{"ack":{"id":1,"route":"moon","reached":"x"}}')).toEqual({ kind: 'ack', id: null, route: 'unconfirmed', reached: 0, at: null, partial: false });
  });

  it('reads `reachable` if the server says it', () => {
    const frame = (more: string): unknown => parseFrame(`{"presence":{"user":"bob","present":false${more}}}`);
    expect(frame(',"reachable":true')).toMatchObject({ reachable: true });
    expect(frame(',"reachable":false')).toMatchObject({ reachable: false });
    for (const more of ['', ',"reachable":null', ',"reachable":"yes"']) expect(frame(more)).toMatchObject({ reachable: undefined });
  });

  it('ignores inherited keys', () => {
    expect(parseFrame('{"__proto__":{"message":1}}').kind).toBe('unknown');
    expect(parseFrame('{"constructor":1}').kind).toBe('unknown');
  });
});

describe('encodeMessage', () => {
  it('writes both protocols', () => {
    expect(encodeMessage('x', 'bob', 'm1')).toBe('{"message":"x","to_user":"bob","id":"m1"}');
    expect(encodeMessage('x', 'bob', null)).toBe('{"message":"x","to_user":"bob"}');
  });
});

describe('newMessageId', () => {
  it('is unique', () => {
    expect(new Set(Array.from({ length: 1000 }, newMessageId)).size).toBe(1000);
  });
});
