import { webcrypto } from 'node:crypto';

// Browsers have it, and so has Node from version 19 on; the tests run on 18 too.
if (globalThis.crypto === undefined) Object.defineProperty(globalThis, 'crypto', { value: webcrypto });
