import { createApp } from 'vue';
import App from './App.vue';
import './style.css';
import { restoreFocus } from './page/focus';
import { setLanguage } from './page/i18n';
import { startBadge } from './page/notifications';
import { locale } from './page/preferences';
import { startRouting } from './page/route';
import { session } from './page/session';
import { warnBeforeUnload } from './page/unload';

async function start(): Promise<void> {
  // Together with the language, which a slow network brings no sooner.
  void import('./soon').catch(() => {});
  await setLanguage(locale.value);
  session.restore();
  startRouting((arrival, open) => void session.followLink(arrival, open));
  startBadge();
  warnBeforeUnload();
  restoreFocus();
  createApp(App).mount('#app');
}

void start();
