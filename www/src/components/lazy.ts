import type { Component } from 'vue';
import { lazyComponent, type LazyComponent } from '../page/lazy';

const extra = (pick: (extras: typeof import('../extras')) => Component): LazyComponent =>
  lazyComponent(async () => ({ default: pick(await import('../extras')) }));

/** Components that no user needs at once. */
export const attachmentTray = extra((extras) => extras.AttachmentTray);
export const fileMessage = extra((extras) => extras.FileMessage);
export const messageMenu = extra((extras) => extras.MessageMenu);
export const messageSearch = extra((extras) => extras.MessageSearch);
export const missedCard = extra((extras) => extras.MissedCard);
export const noticesView = extra((extras) => extras.NoticesView);
export const peopleList = extra((extras) => extras.PeopleList);
export const settingsBar = extra((extras) => extras.SettingsBar);
export const toastStack = extra((extras) => extras.ToastStack);
export const tokenForm = extra((extras) => extras.TokenForm);
/** For users without an identity, who need nothing else at once. */
export const signIn = lazyComponent(() => import('./SignIn.vue'));
export const qrDialog = lazyComponent(() => import('./QrDialog.vue'));
