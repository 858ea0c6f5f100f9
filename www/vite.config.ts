import vue from '@vitejs/plugin-vue';
import { defineConfig, type Plugin } from 'vite';

/** zh.ts has the keys of en.ts in the same order, as a test makes sure: the bundle needs them only once. */
const keysOnce: Plugin = {
  name: 'keys-once',
  apply: 'build',
  enforce: 'pre',
  transform(code, id) {
    if (!id.endsWith('/locales/zh.ts')) return null;
    const texts = code.match(/^  '[\w.]+': '.*',$/gm) ?? [];
    if (texts.length !== code.match(/^  '/gm)?.length) throw new Error('zh.ts: a text does not stand on one line, in single quotes');
    const values = texts.map((line) => line.slice(line.indexOf(': ') + 2)).join('\n');
    return `import { en } from './en'; const texts = [${values}]; export const zh = Object.fromEntries(Object.keys(en).map((key, n) => [key, texts[n]]));`;
  },
};

export default defineConfig({
  // What is static is made anew each time: 850 bytes less of the 60 KB that the page may have, for about a
  // twentieth more work with each message that arrives.
  plugins: [keysOnce, vue({ template: { compilerOptions: { hoistStatic: false } } })],
  // Relative addresses: the page also works below a folder of a larger site.
  base: './',
  define: {
    __VUE_OPTIONS_API__: false,
    __VUE_PROD_DEVTOOLS__: false,
    __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: false,
  },
  build: {
    target: 'es2020',
    // The server's Content-Security-Policy allows no data: scripts or fonts,
    // and a hashed file is cached for good anyway.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // Slower than esbuild, and smaller by a few of the 60 KB. What is inlined in several places is larger, compressed too.
    minify: 'terser',
    terserOptions: { compress: { passes: 3, inline: 1, keep_fargs: false, pure_getters: true, unsafe_arrows: true }, ecma: 2020, module: true },
  },
  // The page during development, the relay beside it.
  server: {
    proxy: Object.fromEntries(
      ['/ws', '/push', '/api', '/healthz', '/metrics'].map((route) => [
        route,
        { target: process.env.WAYSTATION_SERVER ?? 'http://127.0.0.1:8080', ws: true },
      ]),
    ),
  },
});
