/*
 * Runs the test suites of OpenResty libraries, which are Test::Nginx files, with moonring --compat
 * ngx, and prints a table of how many tests pass.
 *
 *     node test/openresty/run.mjs [options] <directory of a library>…
 *
 * Each block becomes a handler file: its init_by_lua code, then for each location the code of the
 * rewrite, access and content phases. Blocks that need other parts of nginx (subrequests, proxies,
 * several servers, filters, systemtap) are counted as skipped, with what they need.
 *
 * --compare         the libraries are those below MOONRING_TEST_OPENRESTY, a directory with their
 *                   repositories, and none may pass fewer tests than docs/openresty.md says
 * --only <text>     files whose name contains it, or `file.t:number` for one block
 * --verbose         what failed, and how
 * --skipped         what was skipped, and why
 * --jobs <number>   servers at a time (2)
 *
 * Redis and memcached are started if they are installed; MySQL's tests run if
 * TEST_NGINX_MYSQL_PORT names a server.
 */
import { execFileSync, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { parseConf } from './nginx-conf.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const root = resolve(here, '../..');
const READY_MS = 60_000;
const RESPONSE_MS = 10_000;

const { values: options, positionals: libraries } = parseArgs({
  allowPositionals: true,
  options: {
    compare: { type: 'boolean', default: false },
    only: { type: 'string' },
    verbose: { type: 'boolean', default: false },
    skipped: { type: 'boolean', default: false },
    jobs: { type: 'string', default: '2' },
  },
});

class Skip extends Error {}

// ---- From a block to a handler file. ----

/** Directives that do not affect anything tested here. */
const IGNORED = new Set(
  (
    'error_log access_log lua_package_path lua_package_cpath resolver resolver_timeout lua_code_cache ' +
    'lua_socket_log_errors lua_socket_buffer_size lua_socket_pool_size lua_check_client_abort ' +
    'lua_socket_keepalive_timeout lua_socket_connect_timeout lua_socket_send_timeout server_tokens ' +
    'lua_socket_read_timeout client_max_body_size client_body_buffer_size lua_need_request_body ' +
    'keepalive_timeout lua_http10_buffering lua_regex_cache_max_entries lua_regex_match_limit ' +
    'client_header_buffer_size large_client_header_buffers output_buffers postpone_output tcp_nodelay ' +
    'send_timeout client_body_timeout lua_max_pending_timers lua_max_running_timers sendfile default_type ' +
    'lua_ssl_verify_depth underscores_in_headers lingering_close lua_use_default_type lingering_time ' +
    'tcp_nopush chunked_transfer_encoding merge_slashes lua_sa_restart client_body_in_single_buffer ' +
    'client_body_in_file_only reset_timedout_connection server_name lua_capture_error_log'
  ).split(' '),
);

function luaString(text) {
  return `"${text.replace(/[\\"\r\n\0]/g, (c) => `\\${String(c.charCodeAt(0)).padStart(3, '0')}`)}"`;
}

/** An nginx string with variables, as a Lua expression. */
function interpolated(text) {
  const parts = text.split(/(\$\{?[a-zA-Z_]\w*\}?)/).filter((part) => part !== '');
  const values = parts.map((part) =>
    part.startsWith('$')
      ? `(ngx.var[${luaString(part.replace(/[${}]/g, ''))}] or "")`
      : luaString(part),
  );
  return values.length === 0 ? '""' : values.join(' .. ');
}

class Writer {
  constructor(directory, environment) {
    this.directory = directory;
    this.environment = environment;
    this.count = 0;
    this.variables = new Set();
    this.shared = [];
    this.init = '';
  }

  /** A file with the code; returns the expression that loads it. */
  chunk(code, name) {
    const path = join(this.directory, `chunk${++this.count}.txt`);
    writeFileSync(path, `return function(...) local arg = {...}; ${code}\nend`, 'latin1');
    return `chunk(${luaString(path)}, ${luaString(name)})`;
  }

  lua({ name, args, lua }) {
    if (lua !== undefined) return this.chunk(lua, name);
    if (!name.endsWith('_by_lua_file')) throw new Skip(name);
    const file = args[args.length - 1];
    const path = file.startsWith('/') ? file : join(this.directory, file);
    if (!existsSync(path)) throw new Skip(`${name} ${file}`);
    return this.chunk(readFileSync(path, 'latin1'), name);
  }

  /** Lua statements for the directives of a location. */
  steps(directives) {
    const phases = { set: '', rewrite: '', access: '', content: '' };
    for (const directive of directives) {
      const { name, args } = directive;
      if (/^(rewrite|access|content|server_rewrite)_by_lua/.test(name)) {
        const phase = name.replace(/_by_lua.*/, '').replace('server_', '');
        phases[phase] += `run(${this.lua(directive)})\n`;
      } else if (name === 'set') {
        const variable = args[0].slice(1);
        if (variable !== 'args') this.variables.add(variable);
        phases.set += `ngx.var[${luaString(variable)}] = ${interpolated(args[1] ?? '')}\n`;
      } else if (/^set_by_lua/.test(name)) {
        const variable = args[0].slice(1);
        this.variables.add(variable);
        const code =
          directive.lua === undefined
            ? null
            : { ...directive, lua: name === 'set_by_lua' ? args[1] : directive.lua };
        if (code === null) throw new Skip(name);
        phases.set += `ngx.var[${luaString(variable)}] = ${this.lua(code)}()\n`;
      } else if (name === 'return') {
        const [code, text] = args;
        if (text === undefined) phases.rewrite += `ngx.exit(${code})\n`;
        else
          phases.rewrite += `ngx.status = ${code} ngx.print(${interpolated(text)}) ngx.exit(ngx.OK)\n`;
      } else if (name === 'echo') {
        if (args[0]?.startsWith('-')) throw new Skip('echo -n');
        phases.content += `ngx.say(${args.map(interpolated).join(', " ", ') || '""'})\n`;
      } else if (!IGNORED.has(name)) {
        throw new Skip(`the directive ${name}`);
      }
    }
    return phases.set + phases.rewrite + phases.access + phases.content;
  }

  http(directives) {
    for (const directive of directives) {
      const { name, args } = directive;
      if (/^init_by_lua/.test(name)) this.init += `run(${this.lua(directive)})\n`;
      else if (/^init_worker_by_lua/.test(name)) this.worker = `run(${this.lua(directive)})\n`;
      else if (name === 'lua_shared_dict')
        this.shared.push(`${args[0]}=${/m$/i.test(args[1]) ? args[1] : '256k'}`);
      else if (
        !IGNORED.has(name) &&
        !(name.startsWith('lua_ssl_') && name !== 'lua_ssl_trusted_certificate')
      )
        throw new Skip(`the directive ${name}`);
    }
  }
}

function handlerOf(writer, config, library) {
  const locations = [];
  const server = [];
  for (const directive of config) {
    if (directive.name === 'location') {
      const [kind, path] = directive.args.length > 1 ? directive.args : ['', directive.args[0]];
      if (kind.startsWith('~')) throw new Skip('a location by a regular expression');
      if (directive.block.some(({ name }) => name === 'internal')) continue;
      locations.push({ kind, path, steps: writer.steps(directive.block) });
    } else server.push(directive);
  }
  const common = writer.steps(server);
  const table = locations.map(
    ({ kind, path, steps }) =>
      `{ exact = ${kind === '='}, path = ${luaString(path)}, run = function()\n${common}${steps} end },`,
  );
  const path = `${library}/lib/?.lua;${library}/?.lua;${library}/lib/?/init.lua;${library}/t/lib/?.lua;${writer.directory}/html/?.lua;`;
  const siblings = readdirSync(dirname(library)).map(
    (name) => `${dirname(library)}/${name}/lib/?.lua;${dirname(library)}/${name}/lib/?/init.lua`,
  );
  return `package.path = ${luaString(`${path}${siblings.join(';')};`)} .. package.path
local function chunk(path, name)
  local file = assert(io.open(path))
  local code = file:read '*a'
  file:close()
  return assert(loadstring(code, '=' .. name))()
end
local function run(fn) return fn() end
package.preload['luacov.runner'] = function() return { init = function() end } end
${[...writer.variables].map((name) => `ngx.define(${luaString(name)}, '')`).join('\n')}
${writer.init}${writer.worker ? `ngx.timer.at(0, function() ${writer.worker} end)` : ''}
local locations = { ${table.join('\n')} }
local function location_of(uri)
  local best
  for _, location in ipairs(locations) do
    if location.exact then
      if uri == location.path then return location end
    elseif uri:sub(1, #location.path) == location.path and (not best or #location.path > #best.path) then
      best = location
    end
  end
  return best
end
function handle()
  local location = location_of(ngx.var.uri)
  if not location then return ngx.exit(404) end
  location.run()
  if not ngx.headers_sent and ngx.status == 0 then ngx.send_headers() end
end
`;
}

// ---- One block. ----

function expand(text, environment) {
  return text.replace(
    /\$(TEST_NGINX_\w+|ServerPort|SERVER_PORT)/g,
    (whole, name) => environment[name] ?? whole,
  );
}

const UNSUPPORTED = [
  'stream_config',
  'stream_server_config',
  'http_upstream',
  'must_die',
  'no_http',
  'stap_out',
  'stap_out_like',
  'http3',
  'grpc',
  'quic_max_idle_timeout',
  'abort',
  'curl_error',
  'shutdown',
];

function check(block) {
  const { sections } = block;
  if (sections.broken !== undefined) throw new Skip(`its Perl: ${sections.broken.split('\n')[0]}`);
  if (sections.SKIP !== undefined) throw new Skip('SKIP');
  for (const name of UNSUPPORTED)
    if (sections[name] !== undefined) throw new Skip(`the section ${name}`);
  if (sections.config === undefined) throw new Skip('no config');
  if (sections.main_config?.includes('stream {')) throw new Skip('a stream server');
  if (
    /skip_nginx/.test(Object.keys(sections).join(' ')) &&
    />=?\s*(0|1)\./.test(sections.skip_nginx)
  )
    throw new Skip('skip_nginx');
}

function writeUserFiles(text, directory) {
  for (const part of `\n${text}`.split(/\n>>> */).slice(1)) {
    const end = part.indexOf('\n');
    const name = part.slice(0, end).trim().split(/\s/)[0];
    const path = join(directory, 'html', name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, part.slice(end + 1), 'latin1');
  }
}

async function freePort() {
  const server = createServer();
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

let ports = Promise.resolve();

async function runBlock(library, block, environment) {
  const directory = mkdtempSync(join(tmpdir(), 'moonring-openresty-'));
  const closers = [];
  try {
    check(block);
    const { sections } = block;
    mkdirSync(join(directory, 'html'), { recursive: true });
    if (typeof sections.user_files === 'string') writeUserFiles(sections.user_files, directory);
    const port = environment.TEST_NGINX_SERVER_PORT;
    const names = {
      ...environment,
      ServerPort: port,
      TEST_NGINX_HTML_DIR: join(directory, 'html'),
      TEST_NGINX_SERVER_ROOT: directory,
    };
    const fix = (text) => expand(text, names).replaceAll(environment.MOONRING_TEST_ROOT, directory);
    const writer = new Writer(directory, names);
    let handler;
    try {
      if (sections.http_config) writer.http(parseConf(fix(sections.http_config)));
      handler = handlerOf(writer, parseConf(fix(sections.config)), library);
    } catch (error) {
      throw error instanceof Skip ? error : new Skip(`its configuration: ${error.message}`);
    }
    const app = join(directory, 'handler.lua');
    writeFileSync(app, handler, 'latin1');
    if (sections.tcp_listen !== undefined || sections.udp_listen !== undefined) {
      // Ports that are fixed in the tests: one block at a time.
      const before = ports;
      let free;
      ports = new Promise((done) => {
        free = done;
      });
      await before;
      closers.unshift(free);
    }
    closers.unshift(await listen(sections));
    const server = await startServer(app, port, writer.shared, directory);
    closers.push(server.stop);
    const problem = await exchange(sections, port, server, fix);
    await server.stop();
    return problem === null
      ? { outcome: 'passed' }
      : { outcome: 'failed', why: problem + (options.verbose ? `\n${server.log()}` : '') };
  } catch (error) {
    if (error instanceof Skip) return { outcome: 'skipped', why: error.message };
    return { outcome: 'failed', why: error.message };
  } finally {
    for (const close of closers) await close();
    if (process.env.KEEP) console.log(directory);
    else rmSync(directory, { recursive: true, force: true });
  }
}

/** The servers that a block requests in tcp_listen and udp_listen. */
async function listen(sections) {
  const open = [];
  const text = (value) => (Array.isArray(value) ? value.join('') : (value ?? ''));
  if (sections.tcp_listen !== undefined) {
    const server = createServer((socket) => {
      let received = 0;
      const wanted = Number(sections.tcp_query_len ?? 0);
      const reply = () => {
        const delay =
          Number.parseFloat(sections.tcp_reply_delay ?? '0') *
          (/ms$/.test(sections.tcp_reply_delay ?? '') ? 1 : 1000);
        setTimeout(() => {
          if (sections.tcp_reply !== undefined)
            socket.write(Buffer.from(text(sections.tcp_reply), 'latin1'));
          if (sections.tcp_no_close === undefined) socket.end();
        }, delay);
      };
      socket.on('error', () => {});
      socket.on('data', (data) => {
        const before = received;
        received += data.length;
        if (before <= wanted && received >= wanted && (before < wanted || wanted === 0)) reply();
      });
    });
    const where = sections.tcp_listen.trim();
    await new Promise((done, failed) => {
      server.on('error', failed);
      if (/^\d+$/.test(where)) server.listen(Number(where), '127.0.0.1', done);
      else server.listen(where, done);
    }).catch((error) => {
      throw new Skip(`tcp_listen: ${error.message}`);
    });
    open.push(() => server.close());
  }
  if (sections.udp_listen !== undefined) {
    const where = sections.udp_listen.trim();
    if (!/^\d+$/.test(where)) throw new Skip('udp_listen on a Unix socket');
    const server = createSocket('udp4');
    const replies = Array.isArray(sections.udp_reply) ? sections.udp_reply : [sections.udp_reply];
    const delay =
      Number.parseFloat(sections.udp_reply_delay ?? '0') *
      (/ms$/.test(sections.udp_reply_delay ?? '') ? 1 : 1000);
    server.on('message', (_, peer) => {
      for (const reply of replies)
        if (typeof reply === 'string')
          setTimeout(
            () => server.send(Buffer.from(reply, 'latin1'), peer.port, peer.address),
            delay,
          );
    });
    await new Promise((done, failed) => {
      server.on('error', failed);
      server.bind(Number(where), '127.0.0.1', done);
    }).catch((error) => {
      throw new Skip(`udp_listen: ${error.message}`);
    });
    open.push(() => new Promise((done) => server.close(done)));
  }
  return async () => {
    for (const close of open) await close();
  };
}

async function startServer(app, port, shared, directory) {
  const args = [
    '--compat',
    'ngx',
    '--processes',
    '1',
    '--dispatch',
    'inline',
    '--port',
    String(port),
    '--admin',
    'off',
    '--log-level',
    'debug',
  ];
  for (const dictionary of shared) args.push('--shared', dictionary);
  const child = spawn(process.execPath, [join(root, 'dist/master.js'), ...args, app], {
    cwd: directory,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  const ended = new Promise((done) => child.on('exit', done));
  await new Promise((ready, failed) => {
    const timer = setTimeout(() => failed(new Error('the server does not start')), READY_MS);
    const take = (data) => {
      output += data.toString('latin1');
      if (output.includes('"msg":"ready"')) {
        clearTimeout(timer);
        ready();
      }
    };
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    child.on('exit', () => {
      clearTimeout(timer);
      failed(new Error(`the server has ended: ${output.slice(-1500)}`));
    });
  });
  return {
    log: () => readable(output),
    stop: async () => {
      child.kill('SIGINT');
      setTimeout(() => child.kill('SIGINT'), 500).unref();
      setTimeout(() => child.kill('SIGKILL'), 3000).unref();
      await ended;
    },
  };
}

const LEVELS = { 20: 'debug', 30: 'info', 40: 'warn', 50: 'error', 60: 'crit' };

/** The log in nginx's format. */
function readable(output) {
  return (
    output
      .split('\n')
      // Logged on a busy machine.
      .filter((line) => !/ computed for \d+ ms /.test(line))
      .map((line) => {
        try {
          const { level, msg } = JSON.parse(line);
          return `[${LEVELS[level]}] ${Buffer.from(msg, 'utf8').toString()}`;
        } catch {
          return line;
        }
      })
      .join('\n')
  );
}

function requestsOf(sections, port) {
  const more = sections.more_headers;
  const one = (request, index) => {
    const text =
      typeof request === 'string'
        ? request
        : Array.isArray(request)
          ? request.join('')
          : request.value;
    const headers = Array.isArray(more) ? (more[index] ?? '') : (more ?? '');
    return requestBytes(String(text), headers, port);
  };
  if (sections.raw_request !== undefined) {
    const raw = sections.raw_request;
    return [Buffer.from(Array.isArray(raw) ? raw.join('') : raw, 'latin1')];
  }
  const list = sections.pipelined_requests ?? sections.request;
  if (list === undefined) throw new Skip('no request');
  return (Array.isArray(list) ? list : [list]).map(one);
}

function requestBytes(text, more, port) {
  const line = /^\s*(\S+)[ \t]+(.*?)(?:[ \t]+(HTTP\/\d\.\d))?[ \t]*\r?(?:\n|$)/.exec(text);
  if (line === null) throw new Skip('a request of another form');
  let body = text.slice(line[0].length);
  body = body.replace(/\r?\n$/, '');
  const [, method, target, version = 'HTTP/1.1'] = line;
  const headers = more.split(/\r?\n/).filter((each) => each !== '');
  const has = (name) => headers.some((each) => each.toLowerCase().startsWith(`${name}:`));
  if (!has('host')) headers.unshift('Host: localhost');
  if (!has('connection')) headers.push('Connection: close');
  if (body !== '' && !has('content-length') && !has('transfer-encoding'))
    headers.push(`Content-Length: ${body.length}`);
  void port;
  return Buffer.from(
    `${method} ${target} ${version}\r\n${headers.join('\r\n')}\r\n\r\n${body}`,
    'latin1',
  );
}

function sendRequest(port, bytes) {
  return new Promise((done, failed) => {
    const socket = connect(port, '127.0.0.1');
    let received = '';
    const timer = setTimeout(() => {
      socket.destroy();
      failed(new Error(`no end of the response: ${received.slice(0, 500)}`));
    }, RESPONSE_MS);
    socket.on('data', (data) => {
      received += data.toString('latin1');
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      clearTimeout(timer);
      done(received);
    });
    socket.write(bytes);
  });
}

function parseResponse(text) {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return { status: 0, head: '', headers: {}, body: '' };
  const [first, ...fields] = text.slice(0, end).split('\r\n');
  const headers = {};
  for (const field of fields) {
    const colon = field.indexOf(':');
    const name = field.slice(0, colon).toLowerCase();
    const value = field.slice(colon + 1).trim();
    headers[name] = headers[name] === undefined ? value : `${headers[name]}, ${value}`;
  }
  let body = text.slice(end + 4);
  if (/chunked/i.test(headers['transfer-encoding'] ?? '')) body = dechunk(body);
  return { status: Number(first.split(' ')[1]), head: text.slice(0, end), headers, body };
}

function dechunk(text) {
  let body = '';
  for (;;) {
    const match = /^([0-9a-f]+)[^\r]*\r\n/i.exec(text);
    if (match === null) return body;
    const size = Number.parseInt(match[1], 16);
    if (size === 0) return body;
    body += text.slice(match[0].length, match[0].length + size);
    text = text.slice(match[0].length + size + 2);
  }
}

/** A Perl pattern as a JavaScript regular expression. */
function pattern(text) {
  const whole = /^\(\?\^?([a-z]*)(?:-[a-z]+)?:([\s\S]*)\)$/.exec(text);
  let source = (whole?.[2] ?? text).replace(/\n$/, '');
  let flags = 'm';
  for (const flag of whole?.[1] ?? 's') if ('is'.includes(flag)) flags += flag;
  if (whole?.[1]?.includes('x')) source = source.replace(/\\?#.*$|\s+/gm, '');
  source = source
    .replace(/\\A/g, '^')
    .replace(/\\z|\\Z/g, '$')
    .replace(/\(\?[a-z]+\)/g, '')
    .replace(/\\h/g, '[ \\t]')
    .replace(/\[:(\w+):\]/g, '\\w')
    .replace(/([*+?}])\+/g, '$1');
  try {
    return new RegExp(source, flags);
  } catch {
    throw new Skip('a pattern that only Perl knows');
  }
}

const at = (value, index) => (Array.isArray(value) ? value[index] : value);
const likeOf = (value) => (typeof value === 'object' && value !== null ? value.like : undefined);

/** How the response differs; null if it does not. */
function compare(sections, response, index, isRaw, fix) {
  const wanted = sections.error_code;
  const code = Number(at(wanted, index) ?? 200);
  if (sections.ignore_response !== undefined) return null;
  if (!isRaw && code !== response.status)
    return `status ${response.status} instead of ${code}: ${response.body.slice(0, 300)}`;
  const headers = sections.response_headers;
  for (const line of (at(headers, index) ?? '').split('\n').filter((each) => each.trim() !== '')) {
    const hidden = /^!\s*(\S+)/.exec(line);
    if (hidden !== null) {
      if (response.headers[hidden[1].toLowerCase()] !== undefined)
        return `the field ${hidden[1]} is there`;
      continue;
    }
    const colon = line.indexOf(':');
    const name = line.slice(0, colon).trim().toLowerCase();
    const value = fix(line.slice(colon + 1).trim());
    if (name === 'transfer-encoding' || name === 'content-length' || name === 'server') continue; // the server's own choice
    if ((response.headers[name] ?? '') !== value)
      return `the field ${name} is ${response.headers[name]}, not ${value}`;
  }
  // Error pages are the server's, without the line number.
  const isPage = response.status >= 400 && !/^\d/.test(response.body);
  const bodies = [response.body, ...(isPage ? [`${response.status} ${response.body}`] : [])];
  const body = at(sections.response_body, index);
  if (body !== undefined && body !== null && sections.ignore_response_body === undefined) {
    const like = likeOf(body);
    const is = (text) =>
      like !== undefined ? pattern(like).test(text) : fix(String(body)) === text;
    if (!bodies.some(is))
      return `the content is ${JSON.stringify(response.body.slice(0, 2000))}, not ${JSON.stringify(body)}`;
  }
  const like = at(sections.response_body_like, index);
  const isLike = (text) => pattern(likeOf(like) ?? fix(String(like))).test(text);
  if (like !== undefined && like !== null && !bodies.some(isLike))
    return `the content ${JSON.stringify(response.body.slice(0, 2000))} is not like ${JSON.stringify(like)}`;
  return null;
}

function logProblem(sections, log) {
  const lines = (value) =>
    (Array.isArray(value) ? value : value?.like ? [value] : (value ?? '').split('\n')).filter(
      (each) => each !== null && each !== '',
    );
  const asNginx = log.replaceAll('\n', ', client: 127.0.0.1\n'); // some match what follows
  for (const wanted of lines(sections.error_log)) {
    if (typeof wanted === 'string' && /^lua (tcp|udp|stream)? ?socket /.test(wanted)) continue; // sockets log nothing
    const like = likeOf(wanted);
    const found = like !== undefined ? pattern(like).test(log) : log.includes(wanted);
    if (!found && !asNginx.includes(wanted)) return `the log lacks ${JSON.stringify(wanted)}`;
  }
  for (const unwanted of lines(sections.no_error_log)) {
    const like = likeOf(unwanted);
    if (like !== undefined ? pattern(like).test(log) : log.includes(unwanted))
      return `the log has ${JSON.stringify(unwanted)}`;
  }
  return null;
}

async function exchange(sections, port, server, fix) {
  let requests = requestsOf(sections, port);
  const isRaw = sections.raw_request !== undefined && sections.error_code === undefined;
  if (sections.pipelined_requests !== undefined) {
    const bytes = Buffer.concat(
      requests.map((each, index) => {
        if (index === requests.length - 1) return each;
        return Buffer.from(each.toString('latin1').replace('\r\nConnection: close', ''), 'latin1');
      }),
    );
    const received = await sendRequest(port, bytes);
    const bodies = received.split(/(?=HTTP\/1\.1 \d{3} )/).map((each) => parseResponse(each));
    for (const [index, response] of bodies.entries()) {
      const problem = compare(sections, response, index, isRaw, fix);
      if (problem !== null) return problem;
    }
    requests = [];
  }
  for (const [index, bytes] of requests.entries()) {
    const response = parseResponse(await sendRequest(port, bytes));
    const problem = compare(sections, response, index, isRaw, fix);
    if (problem !== null) return problem;
  }
  const wait = Number.parseFloat(sections.wait ?? '0');
  if (wait > 0) await new Promise((done) => setTimeout(done, wait * 1000));
  let problem = logProblem(sections, server.log());
  // Records arrive through the master, a little later than the response.
  for (let i = 0; i < 10 && problem?.startsWith('the log lacks'); i++) {
    await new Promise((done) => setTimeout(done, 50));
    problem = logProblem(sections, server.log());
  }
  return problem;
}

// ---- All blocks. ----

/** Fixed in some tests. */
const USUAL_PORTS = [
  ['6379', 'TEST_NGINX_REDIS_PORT'],
  ['11211', 'TEST_NGINX_MEMCACHED_PORT'],
];

async function startService(command, args, port) {
  const child = spawn(command, args, { stdio: 'ignore' });
  let failed = false;
  child.on('error', () => {
    failed = true;
  });
  for (let i = 0; i < 100 && !failed; i++) {
    const isOpen = await new Promise((done) => {
      const socket = connect(port, '127.0.0.1', () => done(true));
      socket.on('error', () => done(false));
      socket.on('connect', () => socket.destroy());
    });
    if (isOpen) return () => child.kill();
    await new Promise((done) => setTimeout(done, 50));
  }
  return null;
}

async function runLibrary(library, environment) {
  const name = basename(library);
  const [onlyFile, onlyNumber] = (options.only ?? '').split(':');
  const files = existsSync(join(library, 't'))
    ? readdirSync(join(library, 't')).filter((file) => file.endsWith('.t'))
    : [];
  const counts = { name, passed: 0, failed: 0, skipped: 0 };
  const reasons = new Map();
  const queue = [];
  for (const file of files.sort().filter((each) => each.includes(onlyFile))) {
    let blocks;
    try {
      const output = execFileSync(
        'perl',
        [join(here, 'blocks.pl'), library, join(library, 't', file)],
        {
          env: { ...process.env, ...environment },
          maxBuffer: 64 * 1024 * 1024,
          stdio: ['ignore', 'pipe', 'pipe'],
        },
      );
      blocks = JSON.parse(output.toString('latin1') || '[]');
    } catch (error) {
      console.log(
        `${name} ${file}: cannot be read: ${error.stderr?.toString().split('\n')[0] ?? error.message}`,
      );
      continue;
    }
    blocks.forEach((block, index) => {
      if (onlyNumber === undefined || Number(onlyNumber) === index + 1)
        queue.push({ file, number: index + 1, block });
    });
  }
  const work = async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const port = String(await freePort());
      let text = JSON.stringify(next.block).replaceAll(environment.TEST_NGINX_SERVER_PORT, port);
      text = text.replaceAll(`\\"/${name}/`, `\\"${library}/`);
      for (const [usual, name] of USUAL_PORTS)
        text = text.replaceAll(usual, environment[name] ?? usual);
      const result = await runBlock(library, JSON.parse(text), {
        ...environment,
        TEST_NGINX_SERVER_PORT: port,
      });
      counts[result.outcome]++;
      if (result.outcome === 'skipped') reasons.set(result.why, (reasons.get(result.why) ?? 0) + 1);
      if (result.outcome === 'failed') {
        console.log(
          `${name} ${next.file}:${next.number} ${next.block.name.trim()}: ${options.verbose ? result.why : result.why.split('\n')[0].slice(0, 300)}`,
        );
      }
    }
  };
  await Promise.all(Array.from({ length: Number(options.jobs) }, work));
  if (options.skipped) {
    for (const [why, count] of [...reasons].sort((a, b) => b[1] - a[1]))
      console.log(`${name} skipped ${count}: ${why}`);
  }
  return counts;
}

const environment = {
  MOONRING_TEST_ROOT: '/nonexistent-test-root',
  TEST_NGINX_SERVER_PORT: '59871',
  TEST_NGINX_RESOLVER: '127.0.0.1',
  TEST_COVERAGE: '0',
};
/** The figures of docs/openresty.md: name -> how many tests of the library pass. */
function documented() {
  const page = readFileSync(join(root, 'docs/openresty.md'), 'utf8');
  const rows = [...page.matchAll(/^\| ([\w-]+) \| [^|]+ \| yes \| (\d+) of \d+ \|/gm)];
  return new Map(rows.map(([, name, passed]) => [name, Number(passed)]));
}

if (options.compare) {
  const directory = process.env.MOONRING_TEST_OPENRESTY;
  if (directory === undefined) {
    console.log('skipped: MOONRING_TEST_OPENRESTY names no directory with the libraries');
    process.exit(0);
  }
  const names = [...documented().keys()].filter((name) => existsSync(join(directory, name, 't')));
  libraries.push(...names.map((name) => join(directory, name)));
}
const services = [];
const redisSocket = join(tmpdir(), `moonring-redis-${process.pid}.sock`);
for (const [name, command, args] of [
  [
    'REDIS',
    'redis-server',
    (port) => ['--port', port, '--bind', '127.0.0.1', '--save', '', '--unixsocket', redisSocket],
  ],
  ['MEMCACHED', 'memcached', (port) => ['-p', port, '-l', '127.0.0.1', '-u', 'nobody']],
]) {
  const port = String(await freePort());
  const stop = await startService(command, args(port), Number(port));
  if (stop === null) continue;
  services.push(stop);
  environment[`TEST_NGINX_${name}_PORT`] = port;
  if (name === 'REDIS') environment.TEST_NGINX_REDIS_SOCKET = `unix:${redisSocket}`;
}
const rows = [];
try {
  for (const library of libraries) rows.push(await runLibrary(resolve(library), environment));
} finally {
  for (const stop of services) stop();
}
console.log('\n| library | passed | failed | need more of nginx |\n|---|---|---|---|');
for (const { name, passed, failed, skipped } of rows)
  console.log(`| ${name} | ${passed} | ${failed} | ${skipped} |`);
if (options.compare) {
  const wanted = documented();
  const worse = rows.filter(({ name, passed }) => passed < (wanted.get(name) ?? 0));
  for (const { name, passed } of worse)
    console.log(`${name}: ${passed} tests pass, not ${wanted.get(name)}`);
  console.log(`${rows.length - worse.length} checks passed, ${worse.length} failed`);
  process.exitCode = worse.length > 0 ? 1 : 0;
}
