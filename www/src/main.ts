import { createApp } from 'vue';
import App from './App.vue';
import './style.css';
import { restoreFocus } from './page/focus';
import { startBadge } from './page/notifications';
import { startRouting } from './page/route';
import { session } from './page/session';

session.restore();
startRouting((arrival, open) => void session.followLink(arrival, open));
startBadge();
restoreFocus();
createApp(App).mount('#app');
