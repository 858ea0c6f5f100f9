import { h, type FunctionalComponent, type VNodeArrayChildren } from 'vue';
import { splitText } from '../page/content';

/**
 * Code breaks at spaces, and words of more than 24 characters after separators. So no line ends within an option such as
 * `--quick`, or before the period of the sentence. 24 characters fit a line on the smallest screen.
 * A longer code would become too many elements.
 */
const codePieces = (code: string): VNodeArrayChildren =>
  code.length > 200 ? [code] : (code.match(/ +|[^ ]{1,24}(?= |$)|[^ /_:=&]*[/_:=&]+|[^ /_:=&]+/g) ?? []).map((piece, n) => [n > 0 ? h('wbr') : null, piece.length > 24 ? piece : h('span', piece)]);

/** A text with links, code and quotes. All parts are text nodes. */
export const RichText: FunctionalComponent<{ readonly text: string }> = ({ text }) =>
  splitText(text).map((part) => {
    if (part.kind === 'text') return part.text;
    if (part.href !== undefined) return h('a', { href: part.href, target: '_blank', rel: 'noopener noreferrer' }, part.text);
    if (part.kind === 'quote') return h('blockquote', part.text);
    return h('code', { class: part.kind }, part.kind === 'block' ? part.text : codePieces(part.text));
  });
RichText.props = ['text'];
