/** The signals of the page. Signals of other programs are ignored. */
export type Signal = { readonly typing: boolean } | { readonly seen: string };

export function readSignal(value: unknown): Signal | null {
  if (typeof value !== 'object' || value === null) return null;
  if ('typing' in value && typeof value.typing === 'boolean') return { typing: value.typing };
  if ('seen' in value && typeof value.seen === 'string') return { seen: value.seen };
  return null;
}
