import { watch } from 'vue';
import { usePush } from '../composables';
import { pageVisible } from './attention';
import { appendNotice, messageText } from './conversations';
import { addToast, notifyDesktop } from './notify';
import { route } from './route';
import { server } from './server';
import { session } from './session';
import { receive } from './talk';

/** What arrives for the user of this tab, whatever page is open. */
export const inbox = usePush(session.me, {
  server,
  token: session.bringToken,
  onEvent({ from, message, id, at }) {
    if (from !== null) return receive(from, { id, message, at });
    const text = messageText(message);
    const looking = route.value.page === 'notices' && pageVisible.value;
    appendNotice(message, at, looking);
    if (!looking) addToast(null, text);
    void notifyDesktop(null, text, id);
  },
});

watch(session.token, (token) => {
  if (token !== null) inbox.setToken(token);
});
