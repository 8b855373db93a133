// The work of bench/postgres.mjs with node:http and pg, with a prepared statement. Prints its port.
import { createServer } from 'node:http';
import pg from 'pg';

const pool = new pg.Pool({
  host: process.env.DATABASE,
  user: 'bench',
  database: 'postgres',
  max: 10,
});
const query = { name: 'item', text: 'SELECT id, name, price FROM items WHERE id = $1' };

const server = createServer(async (request, response) => {
  try {
    const id = Number(/\d+/.exec(request.url)[0]);
    const { rows } = await pool.query({ ...query, values: [id] });
    const body = JSON.stringify(rows[0]);
    response.writeHead(200, {
      'Content-Type': 'application/json',
      'Content-Length': Buffer.byteLength(body),
    });
    response.end(body);
  } catch (error) {
    response.writeHead(500);
    response.end(String(error));
  }
});

server.listen(0, '127.0.0.1', () => {
  console.log(server.address().port);
});
