import type { NativeAddon } from '../../shared/native.js';
import type { Certificate, Certificates } from './certificates.js';
import { encodeMaterial } from './material.js';
import { firstTicketKeys, nextTicketKeys, ROTATION_MS } from './tickets.js';

/** The current certificates, in memory that reactors get by descriptor. */
export interface CertificateStore {
  /** `null`: no TLS. Owned by the store. */
  fd(): number | null;
  list(): readonly Certificate[];
  /** Reactors are notified of changes. Turning TLS off has no effect: the port is open. */
  use(certificates: Certificates | null): void;
  /** Called when reactors must get `fd` again. */
  onChange(tell: () => void): void;
  close(): void;
}

export function openCertificateStore(
  native: Pick<NativeAddon, 'storeSealed' | 'closeDescriptor'>,
  first: Certificates | null,
): CertificateStore {
  let current = first;
  let keys = firstTicketKeys();
  let stored: Buffer | null = null;
  let fd: number | null = null;
  let tell = () => {};

  /** Most reloads change nothing here. */
  const store = () => {
    if (current === null) return;
    const material = encodeMaterial(current, keys);
    if (stored?.equals(material) === true) return;
    const next = native.storeSealed(material);
    if (fd !== null) native.closeDescriptor(fd);
    stored = material;
    fd = next;
    tell();
  };
  store();
  const rotation = setInterval(() => {
    keys = nextTicketKeys(keys);
    store();
  }, ROTATION_MS);
  rotation.unref();
  return {
    fd: () => fd,
    list: () => current?.list ?? [],
    use: (certificates) => {
      if (current === null || certificates === null) return;
      current = certificates;
      store();
    },
    onChange: (then) => {
      tell = then;
    },
    close: () => {
      clearInterval(rotation);
      if (fd !== null) native.closeDescriptor(fd);
      fd = null;
    },
  };
}
