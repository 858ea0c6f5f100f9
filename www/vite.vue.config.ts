import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

const client = fileURLToPath(new URL('src/waystation/index.ts', import.meta.url));

/** The Vue composables, which import the client's module. */
export default defineConfig({
  publicDir: false,
  build: {
    target: 'es2020',
    outDir: 'lib',
    emptyOutDir: false,
    lib: { entry: 'src/composables/index.ts', formats: ['es'], fileName: () => 'vue.js' },
    minify: false,
    rollupOptions: {
      external: ['vue', client],
      output: { paths: { [client]: './waystation.js' } },
    },
  },
});
