export type SendErrorCode =
  /** The offline queue is full. */
  | 'queue_full'
  /** The tab holds 100 messages or 1 MiB. */
  | 'hold_full'
  /** `cancel` was called. */
  | 'canceled'
  /** The frame is larger than `maxMessageBytes`. */
  | 'too_large'
  /** The message was in the offline queue for `queueDeadlineMs`. */
  | 'expired'
  /** The chat was closed before the message was sent. */
  | 'closed'
  /** Sent, but not acknowledged within `ackDeadlineMs`. */
  | 'no_ack'
  /** Sent, but the connection was lost before the answer. */
  | 'link_lost'
  /** A question: there is no connection. */
  | 'not_open'
  /** A question: the server did not answer it in time. */
  | 'no_answer'
  /** An error code of the server, such as `rate_limited`. */
  | (string & {});

/** Why a message or a question failed. */
export class SendError extends Error {
  override readonly name = 'SendError';

  constructor(
    readonly code: SendErrorCode,
    /** `unknown`: the message may have arrived. Sending it again may deliver it twice. */
    readonly outcome: 'not_sent' | 'refused' | 'unknown',
    message: string,
  ) {
    super(message);
  }
}
