import { encode } from 'uqr';

/** A QR code as an SVG path of one unit a module, with the quiet zone of four modules (ISO/IEC 18004, section 6.3.8). */
export function qrCode(text: string): { readonly size: number; readonly path: string } {
  const { data, size } = encode(text, { ecc: 'M', border: 4 });
  const path = data.map((row, y) => row.map((dark, x) => (dark ? `M${x} ${y}h1v1h-1z` : '')).join('')).join('');
  return { size, path };
}

/** Whether the address is of this machine, so that no other device can use it. */
export function isLocalAddress(address: string): boolean {
  const { hostname } = new URL(address);
  return hostname === 'localhost' || hostname.endsWith('.localhost') || hostname.startsWith('127.') || hostname === '[::1]';
}
