import { webcrypto } from 'node:crypto';

// Node 18 has no global `crypto`.
if (globalThis.crypto === undefined) Object.defineProperty(globalThis, 'crypto', { value: webcrypto });
