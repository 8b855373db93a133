import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type Address, formatAddress } from '../../shared/addresses.js';
import { MoonringError } from '../../shared/errors.js';
import type { Logger } from '../../shared/logger.js';
import type { NativeAddon } from '../../shared/native.js';
import type { OwnMetric, StatsSnapshot } from '../../shared/native-stats.js';
import { version } from '../../shared/package-info.js';
import { type InheritedAdmin, listenProblem, openAdminSocket } from '../runtime/listeners.js';
import type { ReloadResult } from '../supervisor/state.js';
import { EXPOSITION_TYPE, renderExposition } from './exposition.js';
import { metricFamilies } from './metrics.js';
import { PAGE_FIELDS, pageFile } from './page.js';
import { usageOf } from './process-usage.js';
import { isAlive, readyReactors, type Status, type StatusReport } from './status.js';

/**
 * The admin listener: health, metrics and status from shared memory, so it responds while every
 * handler is stuck. Orders are accepted only on its Unix socket, which only its owner may use.
 */
export interface AdminOptions {
  readonly native: NativeAddon;
  readonly addresses: readonly Address[];
  /** Listening sockets opened by a service manager, in place of the addresses. */
  readonly inherited: readonly InheritedAdmin[];
  /** They were not configured: if a port is in use, the next free one is used. */
  readonly isDefault: boolean;
  readonly log: Logger;
  readonly livenessGraceMs: number;
  readonly status: () => Status;
  readonly snapshot: () => StatsSnapshot;
  readonly ownMetrics: () => OwnMetric[];
  readonly orders: AdminOrders;
}

export interface AdminOrders {
  reload(): Promise<ReloadResult>;
  scale(processes: number): string | null;
  drain(): void;
}

export interface Admin {
  /** As bound. */
  readonly addresses: readonly Address[];
  close(): void;
}

/** The master needs descriptors for new reactors, so these connections are few and short. */
const MAX_CONNECTIONS = 32;
/** Tried after the default port. */
const NEARBY_PORTS = 100;
const TIMEOUTS = {
  keepAliveTimeout: 75_000,
  headersTimeout: 5000,
  requestTimeout: 10_000,
  connectionsCheckingInterval: 1000,
};

interface Answer {
  readonly status: number;
  readonly body: string | object;
  readonly type?: string;
}

/** Throws ERR_MOONRING_LISTEN. */
export async function openAdmin(options: AdminOptions): Promise<Admin> {
  const servers: Server[] = [];
  const bound: Address[] = [];
  const removers: (() => void)[] = [];
  const close = () => {
    for (const removeFile of removers) removeFile();
    for (const server of servers) {
      server.close();
      server.closeAllConnections();
    }
  };
  try {
    for (const { fd, address } of options.inherited) {
      const server = makeServer(options, address.type === 'unix');
      servers.push(server);
      bound.push(address);
      server.on('error', () => {}).listen({ fd });
    }
    for (const address of options.inherited.length > 0 ? [] : options.addresses) {
      const server = makeServer(options, address.type === 'unix');
      servers.push(server);
      if (address.type === 'tcp') bound.push(await listenNearby(server, address, options));
      else {
        const { fd, removeFile } = openAdminSocket(options.native, address.path);
        removers.push(removeFile);
        bound.push(address);
        // Failing to accept a connection is no reason to exit.
        server.on('error', () => {}).listen({ fd });
      }
    }
  } catch (error) {
    close();
    throw error;
  }
  return { addresses: bound, close };
}

type TcpAddress = Extract<Address, { readonly type: 'tcp' }>;

/** The default port, or the next free one if another server uses it. */
async function listenNearby(
  server: Server,
  wanted: TcpAddress,
  { isDefault, log }: AdminOptions,
): Promise<Address> {
  for (let address = wanted; ; address = { ...address, port: address.port + 1 }) {
    try {
      const bound = await listenTcp(server, address);
      if (address !== wanted) {
        const fields = { wanted: formatAddress(wanted), address: formatAddress(bound) };
        log('warn', fields, 'the default admin address is in use: using the next free port');
      }
      return bound;
    } catch (error) {
      const isLast = address.port === wanted.port + NEARBY_PORTS;
      if (!isDefault || isLast || !isInUse(error)) throw error;
    }
  }
}

function isInUse(error: unknown): boolean {
  const cause = error instanceof MoonringError ? error.cause : null;
  return cause instanceof Error && 'code' in cause && cause.code === 'EADDRINUSE';
}

function listenTcp(server: Server, address: TcpAddress): Promise<Address> {
  const { host, port } = address;
  return new Promise((resolve, reject) => {
    // Later errors (a connection that cannot be accepted) reject a settled promise: nothing happens.
    server.on('error', (cause) => {
      const choice = '--admin (port 0 picks a free one, off means none)';
      const message = `admin listener: ${listenProblem(cause, address, choice)}`;
      reject(new MoonringError('ERR_MOONRING_LISTEN', message, { cause }));
    });
    server.listen({ host, port, exclusive: true }, () => {
      const local = server.address();
      const isBound = typeof local === 'object' && local !== null;
      resolve(isBound ? { type: 'tcp', host: local.address, port: local.port } : address);
    });
  });
}

function makeServer(options: AdminOptions, takesOrders: boolean): Server {
  const server = createServer(TIMEOUTS, (request, response) => {
    answer(options, request, takesOrders).then(
      (result) => send(response, request, result),
      (error: unknown) => send(response, request, { status: 500, body: `${String(error)}\n` }),
    );
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.on('drop', () => server.closeIdleConnections());
  return server;
}

async function answer(
  options: AdminOptions,
  request: IncomingMessage,
  takesOrders: boolean,
): Promise<Answer> {
  request.resume();
  const target = request.url ?? '/';
  if (!URL.canParse(target, 'http://admin')) {
    return { status: 400, body: 'the target is not a path\n' };
  }
  const url = new URL(target, 'http://admin');
  if (request.method === 'GET' || request.method === 'HEAD') return look(options, url.pathname);
  if (request.method !== 'POST') return { status: 405, body: 'GET or POST\n' };
  if (!takesOrders) {
    return { status: 403, body: 'commands are accepted only on the Unix socket of --admin\n' };
  }
  return order(options.orders, url);
}

function look(options: AdminOptions, path: string): Answer {
  const status = options.status();
  switch (path) {
    case '/livez':
      return verdict(
        isAlive(status, options.livenessGraceMs),
        'every reactor has lost its heartbeat',
      );
    case '/readyz':
    case '/healthz':
      return verdict(status.ready, `not ready: ${readiness(status)}`);
    case '/startupz':
      return verdict(status.started, 'starting');
    case '/status':
      return {
        status: 200,
        body: { ...status, processes: usageOf(status) } satisfies StatusReport,
      };
    case '/metrics': {
      const { native, snapshot, ownMetrics } = options;
      const { luajitVersion: luajit, llhttpVersion: llhttp, statsLayout: layout } = native;
      const { node, openssl } = process.versions;
      const build = { version, luajit, llhttp, openssl, node };
      const processes = usageOf(status);
      const families = metricFamilies({
        status,
        snapshot: snapshot(),
        own: ownMetrics(),
        layout,
        build,
        processes,
      });
      return { status: 200, body: renderExposition(families), type: EXPOSITION_TYPE };
    }
    default: {
      const file = pageFile(path);
      if (file !== null) return { status: 200, body: file.text, type: file.type };
      return {
        status: 404,
        body: 'there are / /livez /readyz /startupz /healthz /metrics /status\n',
      };
    }
  }
}

async function order(orders: AdminOrders, url: URL): Promise<Answer> {
  switch (url.pathname) {
    case '/reload': {
      const { failure, generation, replaced } = await orders.reload();
      const problem = failure?.message ?? null;
      const body = { problem, code: failure?.code ?? null, generation, replaced };
      return { status: failure === null ? 200 : 409, body };
    }
    case '/drain':
      orders.drain();
      return { status: 202, body: { problem: null } };
    case '/scale': {
      const text = url.searchParams.get('processes') ?? '';
      const problem = orders.scale(/^\d{1,4}$/.test(text) ? Number(text) : Number.NaN);
      return { status: problem === null ? 202 : 409, body: { problem } };
    }
    default:
      return { status: 404, body: 'there are POST /reload /drain /scale?processes=N\n' };
  }
}

function readiness({ phase, reactors, minReactors }: Status): string {
  const ready = readyReactors(reactors);
  const isShort = phase === 'serving' || phase === 'starting';
  const few = `, ${ready} of ${reactors.length} reactors are ready and ${minReactors} must be`;
  return `${phase}${isShort && ready < minReactors ? few : ''}`;
}

function verdict(good: boolean, otherwise: string): Answer {
  return good ? { status: 200, body: 'ok\n' } : { status: 503, body: `${otherwise}\n` };
}

function send(response: ServerResponse, request: IncomingMessage, { status, body, type }: Answer) {
  const isText = typeof body === 'string';
  const text = isText ? body : `${JSON.stringify(body)}\n`;
  response.writeHead(status, {
    'Content-Type': type ?? (isText ? 'text/plain; charset=utf-8' : 'application/json'),
    'Content-Length': Buffer.byteLength(text),
    'Cache-Control': 'no-store',
    ...PAGE_FIELDS,
  });
  response.end(request.method === 'HEAD' ? undefined : text);
}
