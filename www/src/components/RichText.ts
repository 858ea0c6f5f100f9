import { h, type FunctionalComponent } from 'vue';
import { splitText } from '../page/content';

/** A text with links, code and quotes. All parts are text nodes. */
export const RichText: FunctionalComponent<{ readonly text: string }> = ({ text }) =>
  splitText(text).map((part) => {
    if (part.kind === 'text') return part.text;
    if (part.href !== undefined) return h('a', { href: part.href, target: '_blank', rel: 'noopener noreferrer' }, part.text);
    return part.kind === 'quote' ? h('blockquote', part.text) : h('code', { class: part.kind }, part.text);
  });
RichText.props = ['text'];
