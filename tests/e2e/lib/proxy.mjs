import { connect, createServer } from 'node:net';

/**
 * A TCP proxy between browser and server: a network that can be slow, dead, cut
 * or refuse connections. With a `folder`, such as `/relay`, the proxy removes it from the path, as
 * a larger site does.
 */
export async function startProxy(targetPort, folder = '') {
  const pairs = new Set();
  const network = { delayMs: 0, dead: false, refuses: false };
  /** Close codes that browsers sent, in order. */
  const closeCodes = [];
  const paths = [];

  const server = createServer((client) => {
    if (network.refuses) {
      client.destroy();
      return;
    }
    const upstream = connect(targetPort, '127.0.0.1');
    const pair = [client, upstream];
    pairs.add(pair);
    const end = () => {
      pairs.delete(pair);
      client.destroy();
      upstream.destroy();
    };
    const carry = (from, to, look) => {
      from.on('data', (data) => {
        look?.(data);
        if (network.dead) return;
        const passed = from === client ? withoutFolder(data, folder) : data;
        if (network.delayMs === 0) to.write(passed);
        else setTimeout(() => !network.dead && to.writable && to.write(passed), network.delayMs);
      });
      from.on('close', () => setTimeout(end, network.delayMs));
      from.on('error', end);
    };
    carry(client, upstream, (data) => {
      const path = /^GET (\S+) HTTP/.exec(data.subarray(0, 300).toString('latin1'))?.[1];
      if (path !== undefined) paths.push(path);
      const code = closeCode(data);
      if (code !== null) closeCodes.push(code);
    });
    carry(upstream, client);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();

  return {
    url: `http://127.0.0.1:${port}`,
    network,
    closeCodes,
    paths,
    get open() {
      return pairs.size;
    },
    /** Resets every connection. */
    cut() {
      for (const [client, upstream] of pairs) {
        client.resetAndDestroy?.();
        client.destroy();
        upstream.destroy();
      }
    },
    stop() {
      this.cut();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

/** The request without the folder. A path outside the folder becomes one that does not exist. */
function withoutFolder(data, folder) {
  const request = /^([A-Z]+) (\/\S*) HTTP/.exec(data.subarray(0, 300).toString('latin1'));
  if (folder === '' || request === null) return data;
  const [whole, method, path] = request;
  const inside = path.startsWith(`${folder}/`) ? path.slice(folder.length) : '/outside';
  return Buffer.concat([Buffer.from(`${method} ${inside} HTTP`, 'latin1'), data.subarray(whole.length)]);
}

/** The code of a masked Close frame at the end of a browser's data. */
function closeCode(data) {
  if (data.length < 8) return null;
  const frame = data.subarray(data.length - 8);
  if (frame[0] !== 0x88 || frame[1] !== 0x82) return null;
  return ((frame[6] ^ frame[2]) << 8) | (frame[7] ^ frame[3]);
}
