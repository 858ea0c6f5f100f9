import { defineConfig } from 'vite';

/** The client: one ES module without dependencies. */
export default defineConfig({
  publicDir: false,
  build: {
    target: 'es2020',
    outDir: 'lib',
    lib: { entry: 'src/waystation/index.ts', formats: ['es'], fileName: () => 'waystation.js' },
    minify: false,
  },
});
