import vue from '@vitejs/plugin-vue';
import { defineConfig, type Plugin } from 'vite';

/** Stores the keys of the texts that are loaded later once, for a smaller bundle. zh.ts has the keys of en.ts in the same order; a test checks that. */
const keysOnce: Plugin = {
  name: 'keys-once',
  apply: 'build',
  enforce: 'pre',
  transform(code, id) {
    if (!/\/locales\/(operator|extras)\/zh\.ts$/.test(id)) return null;
    const texts = code.match(/^  '[\w.]+': '.*',$/gm) ?? [];
    if (texts.length !== code.match(/^  '/gm)?.length) throw new Error('zh.ts: a text has a wrong format; use one line and single quotes');
    const values = texts.map((line) => line.slice(line.indexOf(': ') + 2)).join('\n');
    return `import { en } from './en'; const texts = [${values}]; export const zh = Object.fromEntries(Object.keys(en).map((key, n) => [key, texts[n]]));`;
  },
};

export default defineConfig({
  // For a smaller bundle: short component ids, and no hoisting. Without hoisting, rendering a message costs about 5% more.
  plugins: [keysOnce, vue({ features: { componentIdGenerator: (path, _source, _production, hash) => hash(path).slice(0, 4) }, template: { compilerOptions: { hoistStatic: false } } })],
  // Relative addresses: the page also works in a folder of a larger site.
  base: './',
  define: {
    __VUE_OPTIONS_API__: false,
    __VUE_PROD_DEVTOOLS__: false,
    __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: false,
  },
  build: {
    target: 'es2020',
    // The server's Content-Security-Policy allows no data: addresses.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // Slower than esbuild, and smaller. Multiple inlining would increase the size, also after compression.
    minify: 'terser',
    terserOptions: { compress: { passes: 3, inline: 1, keep_fargs: false, pure_getters: true, unsafe_arrows: true }, ecma: 2020, module: true },
  },
  // `npm run dev`: requests to the relay.
  server: {
    proxy: Object.fromEntries(
      ['/ws', '/push', '/api', '/healthz', '/metrics'].map((route) => [
        route,
        { target: process.env.WAYSTATION_SERVER ?? 'http://127.0.0.1:8080', ws: true },
      ]),
    ),
  },
});
