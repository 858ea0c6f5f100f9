import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { until } from './harness.mjs';

export const binary = process.env.WAYSTATION_BIN;
export const www = process.env.WAYSTATION_WWW;

export function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.on('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

/** Starts the server, on a loopback address unless the options have --listen, with the built page unless they have --www. Resolves when it listens. */
export async function startServer(options = [], port = 0) {
  const listen = options.includes('--listen') ? [] : ['--listen', `127.0.0.1:${port}`];
  const page = options.includes('--www') ? [] : ['--www', www];
  const child = spawn(binary, ['serve', ...listen, ...page, ...options], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let out = '';
  let log = '';
  let exit = null;
  let wanted = false;
  child.stdout.on('data', (data) => (out += data));
  child.stderr.on('data', (data) => (log += data));
  const gone = new Promise((resolve) => child.on('exit', (code, signal) => resolve((exit = signal ?? code))));
  const url = await until('the server listens', () => {
    if (exit !== null) throw new Error(`the server ended with ${exit}: ${log}`);
    return /listening on (https?:\/\/\S+)/.exec(out)?.[1];
  });
  return {
    url,
    port: Number(new URL(url).port),
    get log() {
      return log;
    },
    /** The exit code or signal of a crash; null otherwise. */
    get crash() {
      return wanted ? null : exit;
    },
    /** A clean shutdown, with close code 1001. */
    async stop() {
      wanted = true;
      child.kill('SIGTERM');
      return gone;
    },
    /** Kills the server without a shutdown. */
    async kill() {
      wanted = true;
      child.kill('SIGKILL');
      return gone;
    },
  };
}
