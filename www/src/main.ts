import { createApp } from 'vue';
import App from './App.vue';
import './style.css';
import { restoreFocus } from './page/focus';
import { startBadge } from './page/notifications';
import { startRouting } from './page/route';
import { session } from './page/session';
import { warnBeforeUnload } from './page/unload';

session.restore();
startRouting((arrival, open) => void session.followLink(arrival, open));
startBadge();
warnBeforeUnload();
restoreFocus();
createApp(App).mount('#app');
