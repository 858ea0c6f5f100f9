/** What every user needs at once or soon, in one chunk that is loaded right after the first load. */
export { default as ConfirmDialog } from './components/ConfirmDialog.vue';
export { default as HomeView } from './components/HomeView.vue';
export { default as MissedCard } from './components/MissedCard.vue';
export { default as PeopleList } from './components/PeopleList.vue';
export { default as SettingsBar } from './components/SettingsBar.vue';
export { default as SignIn } from './components/SignIn.vue';
export { default as ToastStack } from './components/ToastStack.vue';
export { default as TokenForm } from './components/TokenForm.vue';
export { ignoreDrops } from './page/extras/drops';
export { showByWorker } from './page/extras/worker';
export { askHistory, shareHistory } from './page/history';
