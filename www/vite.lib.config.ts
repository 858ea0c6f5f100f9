import { defineConfig } from 'vite';

/** The client by itself: one ES module without a dependency. */
export default defineConfig({
  publicDir: false,
  build: {
    target: 'es2020',
    outDir: 'lib',
    lib: { entry: 'src/waystation/index.ts', formats: ['es'], fileName: () => 'waystation.js' },
    minify: false,
  },
});
