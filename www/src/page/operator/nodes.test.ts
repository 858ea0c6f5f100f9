import { afterEach, describe, expect, it, vi } from 'vitest';
import { shallowRef } from 'vue';
import { readNodes } from './nodes';

// Visibility needs a browser.
vi.mock('../browser_state', () => ({ pageVisible: shallowRef(true) }));

describe('readNodes', () => {
  afterEach(() => vi.unstubAllGlobals());

  const serve = (body: string): unknown => vi.stubGlobal('fetch', async () => new Response(body));

  it('reads the nodes of a cluster', async () => {
    serve('{"nodes":[{"node":"n0","incarnation":"01ab","ready":true,"self":true,"last_seen":7},{"node":"n1","ready":false,"self":false}],"partial":true}');
    expect(await readNodes('')).toEqual({
      nodes: [
        { name: 'n0', incarnation: '01ab', ready: true, self: true, lastSeen: 7 },
        { name: 'n1', incarnation: '', ready: false, self: false, lastSeen: 0 },
      ],
      partial: true,
    });
  });

  it('has no node without a cluster, or from a server that answers something else', async () => {
    for (const body of ['{"nodes":[]}', '{}', '[]', '{"nodes":{"node":"n0"}}', '{"nodes":["n0",null]}']) {
      serve(body);
      expect(await readNodes('')).toEqual({ nodes: [], partial: false });
    }
  });
});
