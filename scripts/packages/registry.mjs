/*
 * A registry on the loopback interface with the platform packages of packages/, so that package
 * managers choose among them as they will once they are published.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';

import { packagesDirectory } from '../lib/prebuilt.mjs';
import { root } from '../lib/root.mjs';
import { targets } from './targets.mjs';

/** @returns {Promise<{ url: string, close: () => void }>} the value for `@moonring:registry` */
export async function startRegistry() {
  const server = createServer((request, response) => {
    const path = decodeURIComponent(request.url ?? '');
    const name = Object.keys(targets).find((each) => path.startsWith(`/@moonring/${each}`));
    const manifest = name && readManifest(name);
    if (!manifest) {
      response.writeHead(404).end('{}');
      return;
    }
    const { version } = manifest;
    const file = join(packagesDirectory, `moonring-${name}-${version}.tgz`);
    const tarball = existsSync(file) ? readFileSync(file) : Buffer.alloc(0);
    if (path.endsWith('.tgz')) {
      response.end(tarball);
      return;
    }
    const digest = (kind, form) => createHash(kind).update(tarball).digest(form);
    const dist = {
      tarball: `${url}@moonring/${name}/-/${name}-${version}.tgz`,
      integrity: `sha512-${digest('sha512', 'base64')}`,
      shasum: digest('sha1', 'hex'),
    };
    const versions = { [version]: { ...manifest, dist } };
    response.setHeader('content-type', 'application/json');
    // pnpm requires the publication time of a version.
    const time = { [version]: '2026-01-01T00:00:00.000Z' };
    const page = { name: manifest.name, 'dist-tags': { latest: version }, versions, time };
    response.end(JSON.stringify(page));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${server.address().port}/`;
  return { url, close: () => server.close() };
}

/** A package that was not built is listed, for other machines to skip. */
function readManifest(name) {
  const path = join(packagesDirectory, name, 'package.json');
  if (existsSync(path)) return JSON.parse(readFileSync(path, 'utf8'));
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const { os, cpu, libc } = targets[name];
  return {
    name: `@moonring/${name}`,
    version,
    os: [os],
    cpu: [cpu],
    ...(libc && { libc: [libc] }),
  };
}
