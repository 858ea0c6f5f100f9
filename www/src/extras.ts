/** What most users need sooner or later, in one chunk: each chunk costs its names in the first load. */
export { default as AttachmentTray } from './components/files/AttachmentTray.vue';
export { default as FileMessage } from './components/files/FileMessage.vue';
export { default as MessageMenu } from './components/MessageMenu.vue';
export { default as MessageSearch } from './components/MessageSearch.vue';
export { default as MissedCard } from './components/MissedCard.vue';
export { default as NoticesView } from './components/NoticesView.vue';
export { default as PeopleList } from './components/PeopleList.vue';
export { default as SettingsBar } from './components/SettingsBar.vue';
export { default as ToastStack } from './components/ToastStack.vue';
export { default as TokenForm } from './components/TokenForm.vue';
export { showByWorker } from './page/extras/worker';
export { askHistory, shareHistory } from './page/history';
export { attachFiles } from './page/files/attach';
export { receiveFile } from './page/files/receive';
export { createFileSender } from './page/files/send';
export { saveConversation } from './page/save';
