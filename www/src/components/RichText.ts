import { h, type FunctionalComponent } from 'vue';
import { splitText } from '../page/content';

/** A text with links and code spans. All parts are text nodes. */
export const RichText: FunctionalComponent<{ readonly text: string }> = ({ text }) =>
  splitText(text).map((part) => {
    if (part.kind === 'text') return part.text;
    if (part.href !== undefined) return h('a', { href: part.href, target: '_blank', rel: 'noopener noreferrer' }, part.text);
    return h('code', { class: part.kind }, part.text);
  });
RichText.props = ['text'];
