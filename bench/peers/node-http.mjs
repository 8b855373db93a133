// The work hello of lib/servers.mjs with node:http. Prints its port.
import { createServer } from 'node:http';

const server = createServer((_request, response) => {
  response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': 13 });
  response.end('hello, world\n');
});

server.listen(0, '127.0.0.1', () => {
  console.log(server.address().port);
});
