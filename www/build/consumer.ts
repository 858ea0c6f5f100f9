// A program that uses the package. The suite e2e compiles it against the packed
// files and does not run it.
import { connectPush, groupName, openChat, SendError, type LinkState } from 'waystation-client';
import { useChat, usePush } from 'waystation-client/vue';

const chat = openChat(groupName('alice', 'bob'), {
  user: 'alice',
  token: async (reason) => (reason === 'connect' ? 'a.b.c' : null),
});
chat.on('state', (state: LinkState) => {
  if (state.name === 'waiting') console.log(state.retryAt - Date.now());
});
chat.send({ text: 'hello' }, { hold: true }).then(
  ({ route, reached }) => console.log(route, reached),
  (error: unknown) => console.log(error instanceof SendError ? error.outcome : error),
);
connectPush('alice').on('event', ({ from, message }) => console.log(from, message));

const { isOpen, missed } = usePush(() => 'alice', { onEvent: ({ from }, user) => console.log(from, user) });
const { present, reachable, held, send, cancel } = useChat('alice_bob', { user: 'alice' });
console.log(isOpen.value, present.value, reachable.value, held.value.length, send, cancel);
missed({ since: 0 }).then(({ from, next }) => console.log(from[0]?.user, next), console.error);
