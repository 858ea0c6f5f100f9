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

/** Starts a program. Resolves when it has written `ready`, whose first group is the result's `ready`. */
export async function startProgram(command, args, ready, options = {}) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  let out = '';
  let log = '';
  let exit = null;
  let wanted = false;
  child.stdout.on('data', (data) => (out += data));
  child.stderr.on('data', (data) => (log += data));
  const gone = new Promise((resolve) => {
    child.on('exit', (code, signal) => resolve((exit = signal ?? code)));
    child.on('error', (error) => resolve((exit = error.message)));
  });
  const found = await until(`${command} is ready`, () => {
    if (exit !== null) throw new Error(`${command} ended with ${exit}: ${log}`);
    return ready.exec(out) ?? ready.exec(log);
  });
  return {
    ready: found[1],
    get log() {
      return log;
    },
    /** The exit code or signal of a crash; null otherwise. */
    get crash() {
      return wanted ? null : exit;
    },
    /** A clean shutdown; of the server, with close code 1001. */
    async stop() {
      wanted = true;
      child.kill('SIGTERM');
      return gone;
    },
    /** Kills the program without a shutdown. */
    async kill() {
      wanted = true;
      child.kill('SIGKILL');
      return gone;
    },
  };
}

/** Starts the server, on a loopback address unless the options have --listen, with the built page unless they have --www. Resolves when it listens. */
export async function startServer(options = [], port = 0) {
  const listen = options.includes('--listen') ? [] : ['--listen', `127.0.0.1:${port}`];
  const page = options.includes('--www') ? [] : ['--www', www];
  const server = await startProgram(binary, ['serve', ...listen, ...page, ...options], /listening on (https?:\/\/\S+)/);
  return Object.assign(server, { url: server.ready, port: Number(new URL(server.ready).port) });
}
