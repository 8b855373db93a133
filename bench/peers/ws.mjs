// The echo of websocket.mjs with npm's ws. Prints its port.
import { WebSocketServer } from 'ws';

const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false });
server.on('connection', (socket) => {
  socket.on('message', (message, binary) => socket.send(message, { binary }));
});
server.on('listening', () => console.log(server.address().port));
