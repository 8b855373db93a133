import { once } from 'node:events';
import { createConnection, type Server } from 'node:net';

/** Listens on a free port of 127.0.0.1, and returns it. */
export async function listenLocally(server: Server): Promise<number> {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('it has no port');
  return address.port;
}

/** Whether a Unix socket accepts connections: its file exists a moment earlier. */
export async function listensAt(path: string): Promise<boolean> {
  const socket = createConnection(path);
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
