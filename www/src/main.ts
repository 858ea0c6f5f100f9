import { createApp } from 'vue';
import App from './App.vue';
import './style.css';
import { keepFocus } from './page/focus';
import { startBadge } from './page/notify';
import { startRouting } from './page/route';
import { session } from './page/session';

session.restore();
startRouting(({ me, token }) => {
  if (token !== null) session.useToken(token);
  else if (me !== null) session.be(me);
});
startBadge();
keepFocus();
createApp(App).mount('#app');
