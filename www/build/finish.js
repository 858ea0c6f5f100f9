// The last step of the build: types that resolve everywhere, the client next to
// the page and as a package in lib/, the service worker, and compressed copies of
// all files that get smaller. The server never compresses.
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { minify } from 'terser';

const dist = 'dist';
const compressible = /\.(css|html|js|json|map|svg|txt|webmanifest)$/;
/** Bytes with gzip: what the page shows itself with, what a new user loads until the first message, and all files together. */
const limits = { 'first load': 60 * 1024, 'first message': 72 * 1024, page: 120 * 1024 };

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

// The package waystation-client: what `npm pack ./lib` packs.
const { version } = JSON.parse(readFileSync('package.json', 'utf8'));
const client = { ...JSON.parse(readFileSync('build/client.package.json', 'utf8')), version };
writeFileSync('lib/package.json', `${JSON.stringify(client, null, 2)}\n`);
copyFileSync('../LICENSE', 'lib/LICENSE');
// In the same folders as in src, so that their links lead there.
for (const page of ['README.md', 'waystation/README.md', 'composables/useChat/index.md', 'composables/usePush/index.md']) {
  mkdirSync(dirname(join('lib', page)), { recursive: true });
  copyFileSync(join('src', page), join('lib', page));
}

// The service worker stores the page's own files. Its version changes with any of them and with its own code, so that browsers install it.
const shell = [...files(dist)].map((path) => relative(dist, path)).filter((name) => !/^(404\.|waystation\.js|sw\.js)|\.(br|gz)$/.test(name)).sort();
const source = readFileSync('build/worker.js', 'utf8');
const shellVersion = shell.reduce((hash, name) => hash.update(readFileSync(join(dist, name))), createHash('sha256').update(source)).digest('hex').slice(0, 16);
const worker = source
  .replace('__VERSION__', shellVersion)
  .replace('__FILES__', JSON.stringify(['./', ...shell.filter((name) => name !== 'index.html').map((name) => `./${name}`)]));
writeFileSync(join(dist, 'sw.js'), (await minify(worker, { ecma: 2020, compress: { passes: 2 } })).code);

const index = readFileSync(join(dist, 'index.html'), 'utf8');
/** index.html names its scripts, their static imports, and its styles. Other files are loaded when they are needed. */
const loadsFirst = (name) => name === 'index.html' || index.includes(`"./${name}"`);
/** The page also loads one of the languages at once. The largest counts. */
const isLanguage = (name) => /^assets\/(en|zh)-/.test(name);
let language = 0;
/** Loaded right after that, for signing in and for the list. */
const loadsSoon = (name) => /^assets\/(soon|texts|SettingsBar)-/.test(name);

const bytes = { 'first load': 0, 'first message': 0, page: 0 };
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
  if (name !== 'waystation.js') {
    const size = Math.min(gzip.length, content.length);
    bytes.page += size;
    if (loadsFirst(name)) bytes['first load'] += size;
    if (loadsSoon(name)) bytes['first message'] += size;
    if (isLanguage(name)) language = Math.max(language, size);
  }
  console.log(`${name.padEnd(36)} ${String(statSync(path).size).padStart(7)}  gzip ${String(gzip.length).padStart(6)}  brotli ${String(brotli.length).padStart(6)}`);
}

if (language === 0) throw new Error('no language found: is its name other than assets/en-*.js?');
bytes['first load'] += language;
bytes['first message'] += bytes['first load'];
for (const [what, limit] of Object.entries(limits)) {
  console.log(`${what}: ${bytes[what]} bytes with gzip; at most ${limit} are allowed`);
  if (bytes[what] <= limit) continue;
  console.error(`${what}: ${bytes[what]} bytes with gzip are too many; at most ${limit} are allowed`);
  process.exitCode = 1;
}
