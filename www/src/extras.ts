/** What users need with messages and files, in one chunk: each chunk costs its names in the first load. */
export { default as AttachmentTray } from './components/files/AttachmentTray.vue';
export { default as FileMessage } from './components/files/FileMessage.vue';
export { default as MessageMenu } from './components/MessageMenu.vue';
export { default as MessageSearch } from './components/MessageSearch.vue';
export { default as NoticesView } from './components/NoticesView.vue';
export { attachFiles } from './page/files/attach';
export { receiveFile } from './page/files/receive';
export { createFileSender } from './page/files/send';
export { saveConversation } from './page/save';
