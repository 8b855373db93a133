// Counts instructions by stepping through them with ptrace (step-count.c): exact, whatever else
// runs.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createConnection } from 'node:net';
import { createInterface } from 'node:readline';

// A connection that sends the same request, in the form in which wrk writes it, `depth` times at
// once and waits for all the responses.
async function openClient({ port, path = '/' }, depth) {
  const request = `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`;
  const socket = createConnection(port, '127.0.0.1');
  await once(socket, 'connect');
  let responseLength = 0;
  const exchange = async (count) => {
    let received = 0;
    socket.write(request.repeat(count));
    while (responseLength === 0 || received < responseLength * count) {
      const [chunk] = await once(socket, 'data');
      received += chunk.length;
      if (responseLength === 0 && chunk.includes('\r\n\r\n')) responseLength = lengthOf(chunk);
    }
  };
  await exchange(1);
  return { batch: () => exchange(depth), close: () => socket.destroy() };
}

function lengthOf(chunk) {
  const text = chunk.toString('latin1');
  return text.indexOf('\r\n\r\n') + 4 + Number(/^content-length: (\d+)/im.exec(text)[1]);
}

/**
 * User-space instructions of the I/O thread per request. Counts between two batches, so that
 * attaching and connecting are not included.
 */
export async function countBySteps(helpers, server, { depth = 1, requests = 64 } = {}) {
  const client = await openClient(server, depth);
  const batches = Math.max(1, Math.round(requests / depth));
  for (let i = 0; i < 20; i++) {
    await client.batch();
  }
  const stepper = spawn(helpers.stepCount, [String(server.ioThread)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: stepper.stdout })[Symbol.asyncIterator]();
  const count = async () => {
    stepper.stdin.write('\n');
    return Number((await lines.next()).value);
  };
  await lines.next();
  await client.batch();
  const start = await count();
  for (let i = 0; i < batches; i++) {
    await client.batch();
  }
  const end = await count();
  stepper.stdin.end();
  await once(stepper, 'close');
  client.close();
  return (end - start) / (batches * depth);
}
