export { useChat, type UseChatOptions, type UseChatReturn } from './useChat';
export { usePush, type UsePushOptions, type UsePushReturn } from './usePush';
