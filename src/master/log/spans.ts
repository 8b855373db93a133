import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { MoonringError, messageOf } from '../../shared/errors.js';
import type { Logger } from '../../shared/logger.js';

/**
 * Spans of requests, and of what their handlers ask of other servers, for an OpenTelemetry collector.
 * Reactors write them as lines; the exporter of the official SDK sends them from here in batches.
 * The user installs the SDK: it is large, and few need it.
 */
export interface SpanExport {
  /** False for a line that is not a span. */
  take(line: string): boolean;
  counts(): SpanCounts;
  /** Sends pending spans, within a short time. */
  close(): Promise<void>;
}

export interface SpanCounts {
  /** Those that the collector has accepted. */
  readonly sent: number;
  /** Those that it has not, and those for which the queue had no room. */
  readonly lost: number;
}

/** As package.json names them, among the peers that are optional: with the major version of each. */
const API = '@opentelemetry/api@1';
const SDK = '@opentelemetry/sdk-trace-base@2';
const EXPORTER = '@opentelemetry/exporter-trace-otlp-http@0';

const PREFIX = '{"span":';
/** How long the end of the server waits for an unresponsive collector. */
const LAST_SPANS_MS = 1000;
const WARN_EVERY_MS = 60_000;
/** Spans that wait for a collector at most, if the variable of the SDK names no other number. */
const QUEUE_MAX = 2048;
/** Of the API: kind of a span of a server and of a client, status, flag. */
const [SERVER, CLIENT] = [1, 2];
const [STATUS_UNSET, STATUS_ERROR] = [0, 2];
const SAMPLED = 1;

/* What is used of the packages. */
interface Exporter {
  export(spans: readonly ReadableSpan[], done: (result: ExportResult) => void): void;
  shutdown(): Promise<void>;
  forceFlush?(): Promise<void>;
}

interface ExportResult {
  readonly code: number;
  readonly error?: Error;
}

interface Processor {
  onEnd(span: ReadableSpan): void;
  shutdown(): Promise<void>;
}

type Time = readonly [seconds: number, nanoseconds: number];

interface SpanContext {
  readonly traceId: string;
  readonly spanId: string;
  readonly traceFlags: number;
  readonly isRemote?: boolean;
}

/** `ReadableSpan` of the SDK. */
interface ReadableSpan extends SpanFields {
  readonly spanContext: () => SpanContext;
  readonly resource: unknown;
  readonly instrumentationScope: { readonly name: string; readonly version: string };
  readonly links: readonly never[];
  readonly events: readonly never[];
  readonly ended: true;
  readonly droppedAttributesCount: 0;
  readonly droppedEventsCount: 0;
  readonly droppedLinksCount: 0;
}

export interface SpanFields {
  readonly name: string;
  readonly kind: number;
  readonly context: SpanContext;
  readonly parentSpanContext?: SpanContext;
  readonly startTime: Time;
  readonly endTime: Time;
  readonly duration: Time;
  readonly status: { readonly code: number; readonly message?: string };
  readonly attributes: Readonly<Record<string, string | number>>;
}

/** Throws ERR_MOONRING_CONFIG if the packages are not installed. */
export async function openSpans(
  endpoint: string,
  version: string,
  log: Logger,
): Promise<SpanExport> {
  const { OTLPTraceExporter, BatchSpanProcessor } = await loadPackages();
  const base = endpoint.endsWith('/') ? endpoint : `${endpoint}/`;
  const exporter = new OTLPTraceExporter({ url: new URL('v1/traces', base).href });
  const maxQueueSize = Number(process.env['OTEL_BSP_MAX_QUEUE_SIZE']) || QUEUE_MAX;
  const counts = { taken: 0, handedOn: 0, exported: 0, sent: 0, lost: 0 };
  const observed = observe(exporter, { endpoint, log, counts });
  const processor = new BatchSpanProcessor(observed, { maxQueueSize });
  const common = {
    resource: {
      attributes: {
        'service.name': process.env['OTEL_SERVICE_NAME'] ?? 'moonring',
        'service.version': version,
        'host.name': hostname(),
        'process.pid': process.pid,
      },
    },
    instrumentationScope: { name: 'moonring', version },
    links: [],
    events: [],
    ended: true,
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
  } as const;
  return {
    take: (line) => {
      const fields = line.startsWith(PREFIX) ? spanOf(line, randomId) : null;
      if (fields === null) return false;
      // The processor would drop it, and count it for nobody.
      if (counts.taken - counts.handedOn >= maxQueueSize) {
        counts.lost += 1;
        return true;
      }
      counts.taken += 1;
      processor.onEnd({ ...fields, ...common, spanContext: () => fields.context });
      return true;
    },
    counts: () => ({ sent: counts.sent, lost: counts.lost }),
    close: async () => {
      const late = new Promise<void>((resolve) => setTimeout(resolve, LAST_SPANS_MS).unref());
      await Promise.race([processor.shutdown().catch(() => {}), late]);
      const left = counts.taken - counts.exported;
      if (left > 0) log('warn', { endpoint, spans: left }, 'spans could not be exported in time');
    },
  };
}

async function loadPackages() {
  try {
    const [exporter, sdk] = await Promise.all([EXPORTER, SDK].map(load));
    return { ...exporter, ...sdk } as unknown as {
      readonly OTLPTraceExporter: new (options: { readonly url: string }) => Exporter;
      readonly BatchSpanProcessor: new (
        exporter: Exporter,
        options: { readonly maxQueueSize: number },
      ) => Processor;
    };
  } catch (cause) {
    const command = `npm install ${[API, SDK, EXPORTER].join(' ')}`;
    const message = `--otlp needs packages that are installed beside moonring: ${command}, with --global if moonring is (${messageOf(cause)})`;
    throw new MoonringError('ERR_MOONRING_CONFIG', message, { cause });
  }
}

/** Through a variable: the compiler must not require optional packages. */
function load(versioned: string): Promise<Record<string, unknown>> {
  const name = versioned.slice(0, versioned.lastIndexOf('@'));
  return import(name);
}

/** Counts the spans, and logs from time to time that they cannot be delivered. */
function observe(exporter: Exporter, { endpoint, log, counts }: Observation): Exporter {
  let quietUntilMs = 0;
  return {
    export: (spans, done) => {
      counts.handedOn += spans.length;
      exporter.export(spans, (result) => {
        counts.exported += spans.length;
        counts[result.code === 0 ? 'sent' : 'lost'] += spans.length;
        if (result.code !== 0 && performance.now() >= quietUntilMs) {
          quietUntilMs = performance.now() + WARN_EVERY_MS;
          const fields = { err: result.error, endpoint, spans: spans.length };
          log('warn', fields, 'spans could not be exported');
        }
        done(result);
      });
    },
    shutdown: () => exporter.shutdown(),
  };
}

interface Observation {
  readonly endpoint: string;
  readonly log: Logger;
  readonly counts: { handedOn: number; exported: number; sent: number; lost: number };
}

function randomId(bytes: number): string {
  return randomBytes(bytes).toString('hex');
}

/**
 * The span of a line that a reactor wrote, with new ids where it has none; `null` for anything else:
 * a handler may print what it likes.
 */
export function spanOf(line: string, newId: (bytes: number) => string): SpanFields | null {
  const record = parse(line);
  const span = objectIn(record, 'span');
  const begunUs = numberIn(span, 'begun');
  const durationMs = numberIn(record, 'responseTime');
  if (begunUs === null || durationMs === null) return null;
  const traceId = idIn(span, 'traceId', 32) ?? newId(16);
  const parentId = idIn(span, 'parentId', 16);
  const isCall = textIn(span, 'kind') === 'client';
  const parent = { traceId, spanId: parentId ?? '', traceFlags: SAMPLED, isRemote: !isCall };
  const endUs = begunUs + Math.round(durationMs * 1000);
  return {
    ...(isCall ? callOf(span) : requestOf(record)),
    context: { traceId, spanId: idIn(span, 'spanId', 16) ?? newId(8), traceFlags: SAMPLED },
    ...(parentId === null ? {} : { parentSpanContext: parent }),
    startTime: timeOf(begunUs),
    endTime: timeOf(endUs),
    duration: timeOf(endUs - begunUs),
  };
}

type Described = Pick<SpanFields, 'name' | 'kind' | 'status' | 'attributes'>;

/** What a handler has asked of another server: the runtime has described it by the conventions. */
function callOf(span: Fields): Described {
  const attributes = known(objectIn(span, 'attributes'));
  const code = 'error.type' in attributes ? STATUS_ERROR : STATUS_UNSET;
  return { name: textIn(span, 'name') ?? 'call', kind: CLIENT, status: { code }, attributes };
}

/** By the conventions for HTTP. Queries are left out: they may hold secrets. */
function requestOf(record: Fields): Described {
  const request = objectIn(record, 'req');
  const method = textIn(request, 'method') ?? '_OTHER';
  const status = numberIn(objectIn(record, 'res'), 'statusCode');
  const isError = status !== null && status >= 500;
  const [path] = (textIn(request, 'url') ?? '').split('?');
  const attributes = known({
    'http.request.method': method,
    'http.response.status_code': status,
    'url.path': path,
    ...hostOf(textIn(request, 'host')),
    'client.address': textIn(request, 'clientAddress') ?? textIn(request, 'remoteAddress'),
    'network.peer.address': textIn(request, 'remoteAddress'),
    'network.peer.port': numberIn(request, 'remotePort'),
    'http.response.body.size': numberIn(record, 'bytesOut'),
    'error.type': isError ? String(status) : null,
    'moonring.reactor': numberIn(record, 'reactor'),
    'moonring.generation': numberIn(record, 'gen'),
    'moonring.request.id': textIn(record, 'reqId'),
  });
  const code = isError ? STATUS_ERROR : STATUS_UNSET;
  return { name: method, kind: SERVER, status: { code }, attributes };
}

function known(values: Fields): Readonly<Record<string, string | number>> {
  const entries = Object.entries(values).flatMap(([key, value]): [string, string | number][] =>
    typeof value === 'string' || typeof value === 'number' ? [[key, value]] : [],
  );
  return Object.fromEntries(entries);
}

/** A Host field has the port only if it is not the scheme's. */
function hostOf(text: string | null): Readonly<Record<string, string | number | null>> {
  const match = /^(\[[^\]]+\]|[^:]+)(?::(\d{1,5}))?$/.exec(text ?? '');
  const port = match?.[2];
  return {
    'server.address': match?.[1] ?? null,
    'server.port': port === undefined ? null : Number(port),
  };
}

function timeOf(us: number): Time {
  return [Math.floor(us / 1e6), Math.round(us % 1e6) * 1000];
}

type Fields = Readonly<Record<string, unknown>>;

function parse(line: string): Fields {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}

function objectIn(fields: Fields, name: string): Fields {
  const value = fields[name];
  return typeof value === 'object' && value !== null ? { ...value } : {};
}

function textIn(fields: Fields, name: string): string | null {
  const value = fields[name];
  return typeof value === 'string' ? value : null;
}

function numberIn(fields: Fields, name: string): number | null {
  const value = fields[name];
  return typeof value === 'number' ? value : null;
}

function idIn(fields: Fields, name: string, length: number): string | null {
  const value = textIn(fields, name);
  return value !== null && value.length === length && /^[0-9a-f]+$/.test(value) ? value : null;
}
