export { openChat, type Chat, type ChatEvents, type ChatMessage, type ChatOptions, type SendOptions, type Ack } from './chat';
export { connectPush, type Push, type PushEvent, type PushEvents, type PushOptions } from './push';
export { defaultTuning, type ClosedReason, type LinkState, type LinkTuning, type WaitCause } from './link_state';
export { compareUsers, groupName, isUser, NameError, otherUser, parseGroup } from './names';
export { newMessageId, type Missed, type MissedFrom, type MissedQuestion, type Protocol, type Route, type ServerError } from './protocol';
export { SendError, type SendErrorCode } from './send_error';
export { readToken, type TokenClaims, type TokenReason, type TokenSource } from './token';
export { browserEnvironment, type Environment } from './environment';
