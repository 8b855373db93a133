// Serves the files of a directory compressed by node:zlib, for bench/compression.mjs. Prints its
// port.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { brotliCompress, constants, gzip } from 'node:zlib';

const [root, coding, level] = process.argv.slice(2);
const files = new Map();
const encode =
  coding === 'br'
    ? (data, done) =>
        brotliCompress(data, { params: { [constants.BROTLI_PARAM_QUALITY]: Number(level) } }, done)
    : (data, done) => gzip(data, { level: Number(level) }, done);

const server = createServer(({ url }, response) => {
  const path = url.slice(1);
  if (!files.has(path)) files.set(path, readFileSync(join(root, path)));
  encode(files.get(path), (error, data) => {
    if (error) throw error;
    response.writeHead(200, {
      'Content-Type': 'application/json',
      'Content-Encoding': coding,
      'Content-Length': data.length,
    });
    response.end(data);
  });
});

server.listen(0, '127.0.0.1', () => {
  console.log(server.address().port);
});
