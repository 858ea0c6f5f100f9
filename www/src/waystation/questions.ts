import type { Frame } from './protocol';
import { SendError } from './send_error';

/** Questions to the server over one connection. One at a time, since an answer does not name its question. */
export interface Questions {
  /** Resolves with the text of the answer, which may be an error frame. Rejects with a SendError. */
  ask(text: string): Promise<string>;
  /** Call it for each frame. True if the frame answers a question. */
  received(frame: Frame, source: string): boolean;
  /** The connection is gone: the questions are rejected. */
  stop(): void;
}

interface Question {
  readonly text: string;
  readonly resolve: (source: string) => void;
  readonly reject: (error: SendError) => void;
}

/**
 * `send`: false if the connection is not open. `deadlineMs`: the longest time until an answer; then the questions are
 * rejected, and `onDeadline` is called.
 */
export function createQuestions(send: (text: string) => boolean, deadlineMs: number, onDeadline: () => void): Questions {
  /** The first one is sent. */
  let questions: Question[] = [];
  let timer: ReturnType<typeof setTimeout> | undefined;

  function rejectAll(make: () => SendError): void {
    clearTimeout(timer);
    const rejected = questions;
    questions = [];
    for (const { reject } of rejected) reject(make());
  }

  function sendFirst(): void {
    clearTimeout(timer);
    const [first] = questions;
    if (first === undefined) return;
    if (!send(first.text)) return rejectAll(() => new SendError('not_open', 'not_sent', 'question: not sent; there is no connection'));
    timer = setTimeout(() => {
      rejectAll(() => new SendError('no_answer', 'unknown', 'question: no answer before the deadline'));
      onDeadline();
    }, deadlineMs);
  }

  return {
    ask: (text) =>
      new Promise((resolve, reject) => {
        questions.push({ text, resolve, reject });
        if (questions.length === 1) sendFirst();
      }),
    received(frame, source) {
      const [first] = questions;
      // Of the other frames of a push socket, only a token is answered with an error.
      const isAnswer = frame.kind === 'missed' || (frame.kind === 'error' && frame.error.code !== 'bad_token');
      if (first === undefined || !isAnswer) return false;
      questions.shift();
      first.resolve(source);
      sendFirst();
      return true;
    },
    stop: () => rejectAll(() => new SendError('link_lost', 'unknown', 'question: the connection was lost before the answer')),
  };
}
