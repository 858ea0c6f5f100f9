import type { Component } from 'vue';
import { lazyComponent, type LazyComponent } from '../page/lazy';

const soon = (pick: (module: typeof import('../soon')) => Component): LazyComponent =>
  lazyComponent(async () => ({ default: pick(await import('../soon')) }));
const extra = (pick: (extras: typeof import('../extras')) => Component): LazyComponent =>
  lazyComponent(async () => ({ default: pick(await import('../extras')) }));

/** Components that are loaded right after the first load. */
export const confirmDialog = soon(({ ConfirmDialog }) => ConfirmDialog);
export const homeView = soon(({ HomeView }) => HomeView);
export const missedCard = soon(({ MissedCard }) => MissedCard);
export const peopleList = soon(({ PeopleList }) => PeopleList);
export const settingsBar = soon(({ SettingsBar }) => SettingsBar);
export const signIn = soon(({ SignIn }) => SignIn);
export const toastStack = soon(({ ToastStack }) => ToastStack);
export const tokenForm = soon(({ TokenForm }) => TokenForm);
/** Components that are loaded with the first message, or when they are needed. */
export const attachmentTray = extra(({ AttachmentTray }) => AttachmentTray);
export const fileMessage = extra(({ FileMessage }) => FileMessage);
export const messageMenu = extra(({ MessageMenu }) => MessageMenu);
export const messageSearch = extra(({ MessageSearch }) => MessageSearch);
export const noticesView = extra(({ NoticesView }) => NoticesView);
export const qrDialog = lazyComponent(() => import('./QrDialog.vue'));
