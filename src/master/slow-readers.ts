import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/**
 * Ends connections whose peers do not take their answers: the limits of Node's server are about
 * what is received. One that still waits for an answer to be made is left alone.
 */
export interface SlowReaders {
  /** A request of this connection has come; `answered` follows. */
  asked(socket: Socket): void;
  /** `end()` of the answer was called: it has to be taken within the limit. */
  answered(socket: Socket, response: ServerResponse): void;
  /** Ends the connection that has been sent to for the longest time, if there is one. */
  dropOldest(): void;
}

interface Peer {
  /** Requests whose answer is not made yet. */
  waiting: number;
  /** Answers that are made and not taken. */
  untaken: number;
}

export function limitSlowReaders(limitMs: number): SlowReaders {
  const peers = new Map<Socket, Peer>();
  /** Those with untaken answers, in the order in which that began. */
  const sentTo = new Set<Socket>();

  function peerOf(socket: Socket): Peer {
    const known = peers.get(socket);
    if (known !== undefined) return known;
    const peer = { waiting: 0, untaken: 0 };
    peers.set(socket, peer);
    socket.once('close', () => {
      peers.delete(socket);
      sentTo.delete(socket);
    });
    return peer;
  }

  function answered(socket: Socket, response: ServerResponse): void {
    const peer = peers.get(socket);
    if (peer === undefined) return;
    peer.waiting--;
    peer.untaken++;
    sentTo.add(socket);
    let timer: NodeJS.Timeout;
    const arm = () => {
      timer = setTimeout(() => (peer.waiting > 0 ? arm() : socket.destroy()), limitMs).unref();
    };
    arm();
    const over = () => {
      clearTimeout(timer);
      response.off('finish', over);
      socket.off('close', over);
      if (--peer.untaken === 0) sentTo.delete(socket);
    };
    response.once('finish', over);
    socket.once('close', over);
  }

  return {
    asked: (socket) => {
      peerOf(socket).waiting++;
    },
    answered,
    dropOldest: () => {
      for (const socket of sentTo) {
        if (peers.get(socket)?.waiting === 0) {
          socket.destroy();
          return;
        }
      }
    },
  };
}
