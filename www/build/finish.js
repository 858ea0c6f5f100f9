// The last step of the build: types that resolve everywhere, the client next to
// the page, and compressed copies of all files that get smaller. The server
// never compresses.
import { copyFileSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const dist = 'dist';
const compressible = /\.(css|html|js|json|map|svg|txt|webmanifest)$/;
const bundleLimit = 60 * 1024;

function* files(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* files(path);
    else yield path;
  }
}

// The compiler keeps the import paths of the sources. With file endings, every
// module resolution finds the types, including Node's.
for (const path of files('lib/types')) {
  const types = readFileSync(path, 'utf8').replace(/(from |import\()'(\.[^']*)'/g, (whole, before, target) => {
    const file = join(dirname(path), target);
    return `${before}'${existsSync(`${file}.d.ts`) ? target : `${target.replace(/\/$/, '')}/index`}.js'`;
  });
  writeFileSync(path, types);
}

copyFileSync('lib/waystation.js', join(dist, 'waystation.js'));

let bundle = 0;
for (const path of [...files(dist)].sort()) {
  if (!compressible.test(path)) continue;
  const content = readFileSync(path);
  const gzip = gzipSync(content, { level: 9 });
  const brotli = brotliCompressSync(content, {
    params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: content.length },
  });
  // A copy that is not smaller has no use.
  if (gzip.length < content.length) writeFileSync(`${path}.gz`, gzip);
  if (brotli.length < content.length) writeFileSync(`${path}.br`, brotli);
  const name = relative(dist, path);
  // waystation.js is for other pages: the page has the client in its own bundle.
  if (name !== 'waystation.js') bundle += Math.min(gzip.length, content.length);
  console.log(`${name.padEnd(36)} ${String(statSync(path).size).padStart(7)}  gzip ${String(gzip.length).padStart(6)}  brotli ${String(brotli.length).padStart(6)}`);
}

console.log(`page: ${bundle} bytes with gzip; at most ${bundleLimit} are allowed`);
if (bundle > bundleLimit) {
  console.error(`page: ${bundle} bytes with gzip are too many; at most ${bundleLimit} are allowed`);
  process.exit(1);
}
