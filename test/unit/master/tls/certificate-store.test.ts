import t from 'tap';
import { openCertificateStore } from '../../../../src/master/tls/certificate-store.js';
import type { Certificates } from '../../../../src/master/tls/certificates.js';

function certificates(text: string): Certificates {
  const each = { path: '/a.pem', names: [], serial: '01', notAfter: new Date(0) };
  const pair = { certificate: Buffer.from(text), key: Buffer.from('key') };
  return {
    list: [{ ...each, ...pair }],
    ocsp: [],
    clientCa: null,
    requiresClient: false,
    warnings: [],
  };
}

t.test('reactors are sent certificates that have changed, and no others', async (t) => {
  const open = new Set<number>();
  let next = 10;
  let told = 0;
  const store = openCertificateStore(
    {
      storeSealed: () => {
        open.add(++next);
        return next;
      },
      closeDescriptor: (fd) => open.delete(fd),
    },
    certificates('first'),
  );
  store.onChange(() => told++);
  store.use(certificates('first'));
  t.equal(told, 0);
  store.use(certificates('second'));
  t.equal(told, 1);
  store.use(null);
  t.equal(told, 1, 'the port stays open, and so they stay');
  t.strictSame([...open], [store.fd()], 'the memory of the first is let go');
  store.close();
  t.equal(open.size, 0);
});
