import { createApp } from 'vue';
import App from './App.vue';
import './style.css';
import { keepFocus } from './page/focus';
import { startBadge } from './page/notify';
import { startRouting } from './page/route';
import { session } from './page/session';

session.restore();
startRouting((arrival, open) => void session.follow(arrival, open));
startBadge();
keepFocus();
createApp(App).mount('#app');
