import { watch } from 'vue';
import { usePush } from '../composables';
import { pageVisible } from './browser_state';
import { previewText } from './content';
import { appendNotice } from './conversation_store';
import { addToast, notifyDesktop } from './notifications';
import { route } from './route';
import { server } from './server';
import { session } from './session';
import { receiveMessage } from './conversation';

/** The push socket of this tab's user, on every page. */
export const inbox = usePush(session.me, {
  server,
  token: session.fetchToken,
  onEvent({ from, message, id, at }) {
    if (from !== null) return receiveMessage(from, { id, message, at });
    const text = previewText(message);
    const isRead = route.value.page === 'notices' && pageVisible.value;
    appendNotice(message, at, isRead);
    if (!isRead) addToast(null, text);
    void notifyDesktop(null, text, id);
  },
});

watch(session.token, (token) => {
  if (token !== null) inbox.setToken(token);
});
