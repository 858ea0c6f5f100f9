import { createHmac, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** A key file for the server, and valid tokens. */
export function makeKey() {
  const secret = randomBytes(48);
  const folder = mkdtempSync(join(tmpdir(), 'waystation-e2e-'));
  const file = join(folder, 'key');
  writeFileSync(file, `${secret.toString('base64')}\n`, { mode: 0o600 });
  return {
    file,
    token(sub, seconds, scope, more = {}) {
      const claims = { sub, exp: Math.floor(Date.now() / 1000) + seconds, ...(scope === undefined ? {} : { scope }), ...more };
      const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`;
      return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
    },
    remove: () => rmSync(folder, { recursive: true }),
  };
}
