/** What the page understands of a message or notification: PROTOCOL.md, "What the page understands". */
export interface Content {
  readonly title: string | null;
  readonly text: string | null;
  /** An http or https address. */
  readonly url: string | null;
  /** Members that the page does not understand are shown as JSON. */
  readonly hasMore: boolean;
}

const string = (value: unknown): string | null => (typeof value === 'string' && value !== '' ? value : null);

/** The address if it is http or https and names no user: `https://bank.example@host` looks like another site. */
export function webAddress(text: string): string | null {
  try {
    const { protocol, username, password, href } = new URL(text);
    return (protocol === 'http:' || protocol === 'https:') && username === '' && password === '' ? href : null;
  } catch {
    return null;
  }
}

export function readContent(value: unknown): Content {
  if (typeof value === 'string') return { title: null, text: value, url: null, hasMore: false };
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return { title: null, text: null, url: null, hasMore: true };
  const { title, text, url, ...rest } = value as Record<string, unknown>;
  const content = { title: string(title), text: string(text), url: webAddress(string(url) ?? '') };
  const understood = [[title, content.title], [text, content.text], [url, content.url]].every(([given, read]) => given === undefined || read !== null);
  // An address alone says nothing about itself.
  if (content.title === null && content.text === null) return { title: null, text: null, url: null, hasMore: true };
  return { ...content, hasMore: !understood || Object.keys(rest).length > 0 };
}

/** The content as one text, for previews, notifications and copies. JSON if nothing of it is understood. */
export function contentText(value: unknown): string {
  const { title, text } = readContent(value);
  return title === null ? (text ?? JSON.stringify(value)) : text === null ? title : `${title} — ${text}`;
}

/** The content as one line of plain text: without quotes, unless it has nothing else, and without marks of code. */
export function previewText(value: unknown): string {
  const text = contentText(value).replace(/`/g, '');
  return text.replace(/^(> .*\n?)+/, '').trim() || text;
}

/** A file as text, in previews and notifications. */
export const fileLabel = (name: string): string => `📎 ${name}`;

/** Whether a message is of a file: PROTOCOL.md, "Files". */
export const isFileMessage = (message: unknown): boolean => typeof message === 'object' && message !== null && 'file' in message;

export interface Part {
  readonly kind: 'text' | 'code' | 'block' | 'quote' | 'link';
  readonly text: string;
  /** The address of a link. */
  readonly href?: string;
}

// No invisible characters in an address, such as those that change the direction of the text.
const pattern = /((?:^> [^\n]*\n?)+)|```\n?([^`]+?)\n?```|`([^`\n]+)`|https?:\/\/[^\s<>"'`\p{Cf}，。；：！？、（）【】「」『』《》“”‘’…]+/gmu;
const closing = ')]}';
const opening = '([{';

/** An address in a sentence ends before the sentence's punctuation. */
function withoutPunctuation(address: string): string {
  /** Brackets that are closed more often than opened, in the order of `closing`. */
  const surplus = [0, 0, 0];
  for (const character of address) {
    const [open, close] = [opening.indexOf(character), closing.indexOf(character)];
    if (open >= 0) surplus[open]! -= 1;
    if (close >= 0) surplus[close]! += 1;
  }
  let end = address.length;
  for (; end > 0; end -= 1) {
    const last = address.charAt(end - 1);
    const bracket = closing.indexOf(last);
    if (bracket < 0 ? !'.,;:!?*_~'.includes(last) : surplus[bracket]! <= 0) break;
    if (bracket >= 0) surplus[bracket]! -= 1;
  }
  return address.slice(0, end);
}

/** The beginning of a message as a quote, for an answer to it. Without the quotes in it. */
export function quoteOf(text: string): string {
  const lines = text.split('\n').filter((line) => !line.startsWith('> ') && line.trim() !== '');
  const cut = lines.slice(0, 3).join('\n');
  const short = cut.length > 240 || lines.length > 3 ? `${cut.slice(0, 240).trimEnd()}…` : cut;
  return `${short.replace(/^/gm, '> ')}\n`;
}

/** Splits a text into quotes, code, links and the text between. */
export function splitText(text: string): readonly Part[] {
  const parts: Part[] = [];
  let done = 0;
  const add = (part: Part, from: number, to: number): void => {
    if (from > done) parts.push({ kind: 'text', text: text.slice(done, from) });
    parts.push(part);
    done = to;
  };
  for (const match of text.matchAll(pattern)) {
    const [whole, quote, block, span] = match;
    const from = match.index;
    if (quote !== undefined) add({ kind: 'quote', text: quote.replace(/^> /gm, '').trimEnd() }, from, from + whole.length);
    else if (block !== undefined) add({ kind: 'block', text: block }, from, from + whole.length);
    else if (span !== undefined) add({ kind: 'code', text: span }, from, from + whole.length);
    else {
      const address = withoutPunctuation(whole);
      const href = webAddress(address);
      if (href !== null) add({ kind: 'link', text: address, href }, from, from + address.length);
    }
  }
  if (done < text.length) parts.push({ kind: 'text', text: text.slice(done) });
  return parts;
}
