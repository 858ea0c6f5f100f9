import { describe, expect, it } from 'vitest';
import { listenToPage } from './page_events';
import { FakeBrowser } from './testing/fake_browser';

const names = ['online', 'offline', 'pagehide', 'pageshow'] as const;

describe('listenToPage', () => {
  it('reports the events of the page until it stops', () => {
    const tab = new FakeBrowser().tab();
    const heard: string[] = [];
    const listeners = Object.fromEntries(names.map((name) => [name, () => heard.push(name)]));
    const stop = listenToPage(tab.environment, { ...listeners, visible: () => heard.push('visible') });
    for (const name of names) tab.fire(name);
    tab.show('hidden');
    tab.show('visible');
    expect(heard).toEqual([...names, 'visible']);
    stop();
    for (const name of names) tab.fire(name);
    tab.show('visible');
    expect(heard).toHaveLength(5);
  });

  it('works without a page', () => {
    const { environment } = new FakeBrowser().tab();
    expect(() => listenToPage({ ...environment, page: null, document: null }, { online: () => {} })()).not.toThrow();
  });
});
