import { lazyComponent } from '../page/lazy';

/** Components that most users do not need at once. */
export const toastStack = lazyComponent(() => import('./ToastStack.vue'));
export const noticesView = lazyComponent(() => import('./NoticesView.vue'));
export const tokenForm = lazyComponent(() => import('./TokenForm.vue'));
export const fileMessage = lazyComponent(() => import('./files/FileMessage.vue'));
export const attachmentTray = lazyComponent(() => import('./files/AttachmentTray.vue'));
