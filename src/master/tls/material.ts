import type { Certificates } from './certificates.js';

/** The format of hs_tls_material_read in native/src/net/hs_tls_server.c. Pure. */
export function encodeMaterial(certificates: Certificates, ticketKeys: readonly Buffer[]): Buffer {
  const parts: Buffer[] = [];
  const add = (name: string, content: Buffer) => {
    parts.push(Buffer.from(`${name} ${content.length}\n`), content);
  };
  for (const { certificate, key } of certificates.list) {
    add('certificate', certificate);
    add('key', key);
  }
  for (const response of certificates.ocsp) add('ocsp', response);
  if (certificates.clientCa !== null) {
    add('client-ca', certificates.clientCa);
    if (certificates.requiresClient) add('client-required', Buffer.alloc(0));
  }
  add('ticket-keys', Buffer.concat(ticketKeys));
  return Buffer.concat(parts);
}
