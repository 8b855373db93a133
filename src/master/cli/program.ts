import { closeSync, constants, openSync, readFileSync } from 'node:fs';
import { isatty } from 'node:tty';
import type { Environment, ResolvedConfig } from '../../shared/config.js';
import { EXIT_OK, exitCodeOf, MoonringError, messageOf } from '../../shared/errors.js';
import { loadNative } from '../../shared/native.js';
import { packageRoot, version } from '../../shared/package-info.js';
import { MASTER_SIGNALS, type ReceivedSignal } from '../../shared/signals.js';
import { prepareGeneration } from '../reload/generation.js';
import { startMaster } from '../runtime/run.js';
import { inheritedListeners, makeNotifier, SERVICE_VARIABLES } from '../runtime/service-manager.js';
import type { Failure } from '../supervisor/state.js';
import { buildAddon } from './addon-build.js';
import { type CommandLine, readCommandLine } from './cli.js';
import { sendOrder } from './control.js';
import { askHealth, healthQuestion } from './health.js';
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
    case 'test':
      await runTests({
        paths: line.paths,
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
      const { resolved } = line;
      const native = loadNative(packageRoot, env['MOONRING_ADDON']);
      const { app, warnings } = await prepareGeneration({ native, env, resolved });
      for (const warning of [...resolved.warnings, ...warnings])
        process.stderr.write(`moonring: ${warning}\n`);
      process.stdout.write(`moonring: configuration and handler are fine (${app.path})\n`);
      return null;
    }
    case 'health': {
      const { healthy, message } = await askHealth(healthQuestion(line.resolved.config));
      if (!healthy) throw new MoonringError('ERR_MOONRING_UNHEALTHY', message);
      process.stdout.write(`moonring: ${message}\n`);
      return null;
    }
    case 'serve':
      return serve(line.resolved, inputs);
  }
}

function readLine({ argv, env, cwd }: ProgramInputs): CommandLine {
  return readCommandLine({ argv, env, cwd, readText: (path) => readFileSync(path, 'utf8') });
}

/** Until a signal, an order or an error ends it. */
async function serve(resolved: ResolvedConfig, inputs: ProgramInputs): Promise<Failure | null> {
  const { env } = inputs;
  // From the first moment on: Node would end at SIGHUP and open its inspector at SIGUSR1.
  const early: ReceivedSignal[] = [];
  let onSignal = (signal: ReceivedSignal): void => {
    early.push(signal);
  };
  watchSignals((signal) => onSignal(signal));
  const inheritedFds = inheritedListeners(env, process.pid);
  const notifySocket = env['NOTIFY_SOCKET'];
  // Meant for this process, not for its children.
  for (const name of SERVICE_VARIABLES) delete process.env[name];
  const master = await startMaster({
    resolved,
    reread: () => {
      const line = readLine(inputs);
      if (line.action !== 'serve') throw new TypeError('the command line has changed');
      return line.resolved;
    },
    env,
    inheritedFds,
    hooks: ({ native, log }) => {
      const notify = makeNotifier(native, notifySocket, log.log);
      return {
        onReady: (ready) => {
          log.announce({ ...ready }, 'ready');
          notify('READY=1');
          if (process.connected) process.send?.('ready');
        },
        onStopping: () => notify('STOPPING=1'),
      };
    },
  });
  onSignal = master.signal;
  for (const signal of early) master.signal(signal);
  return master.ended;
}

/**
 * All of them are handled, even those that do nothing: Node would end at SIGHUP and open its
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

/** A closed terminal is no process's controlling terminal any more. */
function hasTerminal(): boolean {
  try {
    closeSync(openSync('/dev/tty', constants.O_RDONLY | constants.O_NOCTTY | constants.O_NONBLOCK));
    return true;
  } catch {
    return false;
  }
}

/**
 * One order may arrive twice in the same instant: timeout(1) signals its child, then the group that
 * the child is in. What was sent before the first was handled is read in the next turn of the event
 * loop; after that turn a signal is a new order.
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
    lines.push(`llhttp ${native.llhttpVersion}`, `luajit ${native.luajitVersion}`);
  } catch (error) {
    lines.push(`native addon: ${messageOf(error)}`);
  }
  lines.push(`openssl ${process.versions.openssl}`, `node ${process.versions.node}`);
  return `${lines.join('\n')}\n`;
}
