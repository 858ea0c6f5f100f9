import type { LinkTuning } from './link_state';
import type { Frame } from './protocol';
import { createTimers } from './timers';

/** What a heartbeat needs of its link. */
export interface HeartbeatLink {
  /** False if the connection is not open. */
  send(text: string): boolean;
  /** Whether the server answers a plain request. */
  isReachable(): Promise<boolean>;
  /** The connection is dead. */
  onDead(): void;
}

/** Detects dead connections. A browser shows the page neither the server's pings nor a broken network. */
export interface Heartbeat {
  /** A connection opened. */
  start(): void;
  /** The connection is gone. */
  stop(): void;
  /** Sends a ping now. */
  check(): void;
  /** Call it for each frame. True if the frame answers a ping. */
  received(frame: Frame): boolean;
}

export function createHeartbeat({ heartbeatMs, heartbeatDeadlineMs }: LinkTuning, link: HeartbeatLink): Heartbeat {
  const timers = createTimers<'ping' | 'answer'>();
  /** Changes with each connection, so that a late answer of `isReachable` has no effect on the next. */
  let connection = 0;
  let receivedAt = 0;
  let pingId = 0;
  /** The deadline of a ping is running. */
  let pending = false;
  /** Pings on this connection that the server has not answered. */
  let unanswered = 0;
  /** The server has answered a ping on this connection. */
  let answersPings = false;

  function schedule(): void {
    if (heartbeatMs === 0) return;
    timers.start('ping', Math.max(0, receivedAt + heartbeatMs - Date.now()), () => {
      if (Date.now() - receivedAt < heartbeatMs) return schedule();
      check();
      timers.start('ping', heartbeatMs, schedule);
    });
  }

  function check(): void {
    if (pending) return;
    pingId += 1;
    // A v1 server that does not know pings answers with an error, and shows that it is alive.
    if (!link.send(JSON.stringify({ ping: pingId, id: `ping-${pingId}` }))) return;
    pending = true;
    unanswered += 1;
    timers.start('answer', heartbeatDeadlineMs, () => void onDeadline());
  }

  async function onDeadline(): Promise<void> {
    pending = false;
    if (!answersPings) {
      // Silence alone proves nothing about a server that never answered a ping on this connection.
      const before = [connection, receivedAt];
      const reachable = await link.isReachable();
      if (connection !== before[0]) return;
      if (reachable || receivedAt !== before[1]) return schedule();
    }
    link.onDead();
  }

  function isAnswer(frame: Frame): boolean {
    if (frame.kind === 'pong') return true;
    if (unanswered === 0 || frame.kind !== 'error') return false;
    const { code, id } = frame.error;
    // With the ping's id it may be any error, such as `rate_limited`.
    return id === null ? code === 'bad_envelope' : id.startsWith('ping-');
  }

  return {
    start() {
      receivedAt = Date.now();
      answersPings = false;
      unanswered = 0;
      schedule();
    },
    stop() {
      connection += 1;
      pending = false;
      timers.stopAll();
    },
    check,
    received(frame) {
      receivedAt = Date.now();
      // Any frame shows that the connection is alive.
      pending = false;
      timers.stop('answer');
      if (!isAnswer(frame)) return false;
      if (unanswered > 0) unanswered -= 1;
      answersPings = true;
      return true;
    },
  };
}
