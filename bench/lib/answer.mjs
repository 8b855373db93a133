// Looks at what a server answers before its speed means anything.
import { once } from 'node:events';
import { createConnection } from 'node:net';

const TIMEOUT_MS = 5000;

/** A request as the load generators write it, with a User-Agent if `agent` is set. */
export function requestText(port, path, agent) {
  const field = agent ? `User-Agent: ${agent}\r\n` : '';
  return `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n${field}\r\n`;
}

function parseAnswer(text) {
  const headEnd = text.indexOf('\r\n\r\n');
  if (headEnd === -1) {
    return undefined;
  }
  const [statusLine, ...lines] = text.slice(0, headEnd).split('\r\n');
  const fields = new Map(
    lines.map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
  if (!fields.has('content-length')) {
    throw new Error('the answer has no Content-Length');
  }
  const bytes = headEnd + 4 + Number(fields.get('content-length'));
  if (text.length < bytes) {
    return undefined;
  }
  return { statusLine, fields, bytes, body: text.slice(headEnd + 4, bytes) };
}

async function exchange(socket, text) {
  socket.write(text);
  let received = '';
  for (;;) {
    const [chunk] = await once(socket, 'data', { signal: AbortSignal.timeout(TIMEOUT_MS) });
    received += chunk.toString('latin1');
    const answer = parseAnswer(received);
    if (answer) {
      return answer;
    }
  }
}

/** Asks twice on one connection; returns the second answer: { statusLine, fields, bytes, body }. */
export async function ask(port, path, agent) {
  const socket = createConnection(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    await exchange(socket, requestText(port, path, agent));
    return await exchange(socket, requestText(port, path, agent));
  } finally {
    socket.destroy();
  }
}

/** Why `answer` is not that of the given work; undefined if it is. */
export function faultOfAnswer(answer, { body, type }) {
  if (!/^HTTP\/1\.1 200\b/.test(answer.statusLine)) {
    return `answers ${answer.statusLine}`;
  }
  if (answer.body !== body) {
    return `answers another body: ${JSON.stringify(answer.body)}`;
  }
  const typeIs = answer.fields.get('content-type') ?? 'none';
  if (!typeIs.startsWith(type)) {
    return `answers with Content-Type ${typeIs}`;
  }
  return answer.fields.has('date') ? undefined : 'answers without Date';
}
