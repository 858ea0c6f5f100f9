import { lazyComponent } from '../page/lazy';

/** Components of files, which most users do not need. */
export const fileMessage = lazyComponent(() => import('./files/FileMessage.vue'));
export const attachmentTray = lazyComponent(() => import('./files/AttachmentTray.vue'));
