import { closeSync, constants, openSync, readFileSync } from 'node:fs';
import { isatty } from 'node:tty';
import type { Environment, ResolvedConfig } from '../../shared/config.js';
import { EXIT_OK, exitCodeOf, MoonringError, messageOf } from '../../shared/errors.js';
import { loadNative } from '../../shared/native.js';
import { packageRoot, version } from '../../shared/package-info.js';
import { MASTER_SIGNALS, type ReceivedSignal } from '../../shared/signals.js';
import { prepareGeneration } from '../reload/generation.js';
import { startMaster } from '../runtime/run.js';
import {
  inheritedListeners,
  SERVICE_VARIABLES,
  type ServiceManager,
  serviceManager,
} from '../runtime/service-manager.js';
import { sharedSizes } from '../runtime/shared-memory.js';
import { countProcesses, requireStartable } from '../runtime/startable.js';
import type { Failure } from '../supervisor/state.js';
import { runTop } from '../top/top.js';
import { buildAddon } from './addon-build.js';
import { type CommandLine, readCommandLine } from './cli.js';
import { sendOrder } from './control.js';
import { startOnceItLoads } from './first-load.js';
import { askHealth, healthQuestion } from './health.js';
import { initService } from './init.js';
import { printConfig } from './print-config.js';
import { listRoutes } from './routes.js';
import { requireDirectory, SITE_VARIABLE, type Site } from './serve.js';
import { runTests } from './test.js';

export interface ProgramInputs {
  readonly argv: readonly string[];
  readonly env: Environment;
  readonly cwd: string;
}

/** The whole program; returns its exit code. A failure is a message on standard error. */
export async function runProgram(inputs: ProgramInputs): Promise<number> {
  let failure: Failure | null;
  try {
    failure = await runAction(inputs);
  } catch (error) {
    if (!(error instanceof MoonringError)) throw error;
    failure = error;
  }
  if (failure === null) return EXIT_OK;
  process.stderr.write(`moonring: ${failure.message}\n`);
  return exitCodeOf(failure.code);
}

async function runAction(inputs: ProgramInputs): Promise<Failure | null> {
  const { env } = inputs;
  const line = readLine(inputs);
  switch (line.action) {
    case 'help':
      process.stdout.write(line.text);
      return null;
    case 'version':
      process.stdout.write(versionText(env));
      return null;
    case 'build':
      await buildAddon(packageRoot);
      return null;
    case 'completion':
      process.stdout.write(line.text);
      return null;
    case 'init':
      process.stdout.write(initService({ directory: line.directory, cwd: inputs.cwd }));
      return null;
    case 'print-config':
      process.stdout.write(printConfig(line.resolved));
      return null;
    case 'routes': {
      const native = loadNative(packageRoot, env['MOONRING_ADDON']);
      const { resolved } = line;
      process.stdout.write(await listRoutes({ native, env, resolved, cwd: inputs.cwd }));
      return null;
    }
    case 'test':
      await runTests({
        paths: line.paths,
        resolved: line.resolved,
        cwd: inputs.cwd,
        write: (text) => process.stdout.write(text),
        writeLog: (text) => process.stderr.write(text),
      });
      return null;
    case 'control': {
      const { order, timeoutMs, resolved } = line;
      const { admin } = resolved.config;
      process.stdout.write(await sendOrder({ order, admin, timeoutMs }));
      return null;
    }
    case 'check': {
      const { resolved, site } = line;
      if (site !== undefined) giveSite(site);
      const native = loadNative(packageRoot, env['MOONRING_ADDON']);
      const { app, certificates, warnings } = await prepareGeneration({
        native,
        env,
        resolved,
        shared: sharedSizes(resolved.config),
      });
      const processes = countProcesses(resolved.config);
      requireStartable(resolved, { speaksTls: certificates !== null, processes });
      for (const warning of [...resolved.warnings, ...warnings])
        process.stderr.write(`moonring: ${warning}\n`);
      const what =
        site === undefined
          ? `configuration and handler are fine (${app.path})`
          : `the configuration is fine (${site.root})`;
      process.stdout.write(`moonring: ${what}\n`);
      return null;
    }
    case 'health': {
      const { healthy, message } = await askHealth(healthQuestion(line.resolved.config));
      if (!healthy) throw new MoonringError('ERR_MOONRING_UNHEALTHY', message);
      process.stdout.write(`moonring: ${message}\n`);
      return null;
    }
    case 'top':
      await runTop({
        admin: line.resolved.config.admin,
        stdin: process.stdin,
        stdout: process.stdout,
        colour: !env['NO_COLOR'],
      });
      return null;
    case 'serve':
      if (line.site !== undefined) giveSite(line.site);
      return serve(line.resolved, inputs);
  }
}

function giveSite(site: Site): void {
  requireDirectory(site);
  // Read by lua/serve.lua in every process that loads it.
  process.env[SITE_VARIABLE] = JSON.stringify(site);
}

function readLine({ argv, env, cwd }: ProgramInputs): CommandLine {
  return readCommandLine({ argv, env, cwd, readText: (path) => readFileSync(path, 'utf8') });
}

/** Runs until a signal, an order or an error ends it. */
async function serve(resolved: ResolvedConfig, inputs: ProgramInputs): Promise<Failure | null> {
  const { env } = inputs;
  // From the start: Node would exit at SIGHUP and open its inspector at SIGUSR1.
  const early: ReceivedSignal[] = [];
  let endWait: () => void = () => {};
  const signalled = new Promise<void>((resolve) => {
    endWait = resolve;
  });
  let onSignal = (signal: ReceivedSignal): void => {
    early.push(signal);
    endWait();
  };
  watchSignals((signal) => onSignal(signal));
  const { pid } = process;
  const inherited = inheritedListeners(env, pid);
  const own = { ...env };
  let manager: ServiceManager | undefined;
  // Meant for this process, not for its children.
  for (const name of SERVICE_VARIABLES) delete process.env[name];
  const reread = () => {
    const line = readLine(inputs);
    if (line.action !== 'serve') throw new TypeError('the command line has changed');
    return line.resolved;
  };
  const start = (current: ResolvedConfig) =>
    startMaster({
      resolved: current,
      reread,
      env,
      inherited,
      hooks: ({ native, log }) => {
        const service = serviceManager({ native, env: own, pid, log: log.log });
        manager = service;
        return {
          onReady: (ready) => {
            log.announce({ ...ready }, 'ready');
            service.ready();
            if (process.connected) process.send?.('ready');
          },
          onReloading: service.reloading,
          onReloaded: service.reloaded,
          onStopping: service.stopping,
          onEnd: service.close,
        };
      },
    });
  const write = (text: string) => process.stderr.write(text);
  const master = await startOnceItLoads(resolved, { start, reread, signalled, write });
  if (master === null) return null;
  manager?.watch(master.isAlive);
  onSignal = master.signal;
  for (const signal of early) master.signal(signal);
  return master.ended;
}

/**
 * All of them are handled, even those that do nothing: Node would exit at SIGHUP and open its
 * inspector at SIGUSR1.
 */
function watchSignals(onSignal: (signal: ReceivedSignal) => void): void {
  // With nohup, or as a service, none of them is a terminal.
  const onTerminal = [0, 1, 2].some((fd) => isatty(fd)) && hasTerminal();
  for (const signal of MASTER_SIGNALS) {
    const handle = () => {
      onSignal(signal === 'SIGHUP' && onTerminal && !hasTerminal() ? 'hangup' : signal);
    };
    process.on(signal, once(handle));
  }
}

/** A closed terminal is no longer any process's controlling terminal. */
function hasTerminal(): boolean {
  try {
    closeSync(openSync('/dev/tty', constants.O_RDONLY | constants.O_NOCTTY | constants.O_NONBLOCK));
    return true;
  } catch {
    return false;
  }
}

/**
 * One order may arrive twice at the same time: timeout(1) signals its child, then the child's
 * group. Signals sent before the first was handled are read in the next turn of the event loop;
 * after that turn a signal is a new order.
 */
function once(handle: () => void): () => void {
  let handling = false;
  return () => {
    if (handling) return;
    handling = true;
    handle();
    setImmediate(() => setImmediate(() => (handling = false)));
  };
}

function versionText(env: Environment): string {
  const lines = [`moonring ${version}`];
  try {
    const native = loadNative(packageRoot, env['MOONRING_ADDON']);
    const interrupts = native.interruptsCompiled() ? ' (compiled loops can be interrupted)' : '';
    lines.push(`llhttp ${native.llhttpVersion}`, `luajit ${native.luajitVersion}${interrupts}`);
  } catch (error) {
    lines.push(`native addon: ${messageOf(error)}`);
  }
  lines.push(`openssl ${process.versions.openssl}`, `node ${process.versions.node}`);
  return `${lines.join('\n')}\n`;
}
