import cluster from 'node:cluster';
import { writeSync } from 'node:fs';
import { unreachable } from '../shared/assert.js';
import { messageOf } from '../shared/errors.js';
import { formatLogLine } from '../shared/logger.js';
import { decodeToReactor, type ToMaster, type ToReactor } from '../shared/messages.js';
import {
  loadNative,
  type NativeAddon,
  type NativeReactor,
  type ReactorOptions,
} from '../shared/native.js';
import { packageRoot } from '../shared/package-info.js';
import { PRELOAD_VARIABLES } from '../shared/preload.js';
import { MASTER_SIGNALS } from '../shared/signals.js';
import { FIRST_STATE, type LifecycleEffect, type LifecycleEvent, step } from './lifecycle.js';

/** Longer than the master's start timeout, which ends us earlier unless the master is gone. */
const LOADING_ALARM_S = 30;

/**
 * From the order to end until the exit. Anything longer is a hang: a handler that does not return,
 * or the shutdown of Node's platform. Without a master nothing else would end the process.
 */
const ENDING_ALARM_S = 3;

/** Runs one reactor; resolves with the exit code when it has ended. */
export function runReactor(): Promise<0 | 1> {
  // The terminal and service managers signal the whole group. Only the master acts on it.
  for (const signal of MASTER_SIGNALS) process.on(signal, () => {});
  for (const name of PRELOAD_VARIABLES) delete process.env[name];
  return new Promise((resolve) => {
    const dispatch = makeShell(resolve);
    dispatch({ type: 'boot', pid: process.pid });
  });
}

type Dispatch = (event: LifecycleEvent) => void;

function makeShell(onEnd: (code: 0 | 1) => void): Dispatch {
  let state = FIRST_STATE;
  let loaded: Loaded | null = null;
  let sent: Promise<void> = Promise.resolve();
  const channel = openChannel({
    onMessage: (message) => dispatch({ type: 'message', message }),
    onUnreadable: (problem) => dispatch({ type: 'unreadable', problem }),
    onDisconnect: () => dispatch({ type: 'disconnected' }),
  });

  function dispatch(event: LifecycleEvent): void {
    const next = step(state, event);
    state = next.state;
    for (const effect of next.effects) perform(effect);
  }

  function perform(effect: LifecycleEffect): void {
    switch (effect.type) {
      case 'send':
        sent = channel.send(effect.message);
        return;
      case 'load':
        loaded = load(effect.options, dispatch);
        return;
      case 'serve':
        loaded?.reactor.serve();
        return;
      case 'drain':
        loaded?.reactor.drain(effect.timeoutMs);
        return;
      case 'hand-over':
        loaded?.reactor.handOver(effect.timeoutMs);
        return;
      case 'reopen-logs':
        loaded?.reactor.reopenLogs();
        return;
      case 'prepare':
        if (loaded !== null) prepare(loaded, effect.generation, dispatch);
        return;
      case 'switch-over': {
        const { generation } = effect;
        const done = loaded?.reactor.switchOver(generation) === true;
        dispatch({ type: 'switched', done, generation });
        return;
      }
      case 'discard':
        loaded?.reactor.discard();
        return;
      case 'certificates':
        if (loaded !== null) takeCertificates(loaded);
        return;
      case 'stop':
        loaded?.native.alarm(ENDING_ALARM_S);
        loaded?.reactor.stop();
        return;
      case 'arm-timer':
        setTimeout(() => dispatch({ type: 'timer' }), effect.delayMs);
        return;
      case 'log':
        logFatal(effect.message);
        return;
      case 'exit':
        loaded?.native.alarm(ENDING_ALARM_S);
        // Messages are sent in order, so wait for the last one.
        sent.then(() => onEnd(effect.code));
        return;
      case 'die':
        process.kill(process.pid, 'SIGKILL');
        return;
      default:
        unreachable(effect);
    }
  }

  return dispatch;
}

interface Loaded {
  readonly native: NativeAddon;
  readonly reactor: NativeReactor;
  readonly appsFd: number;
}

function load(options: ReactorOptions, dispatch: Dispatch): Loaded | null {
  try {
    const native = loadNative(packageRoot, process.env['MOONRING_ADDON']);
    // Being inherited cleared the flag.
    const { listenFds, controlFd, statsFd, inboxFd, accessLogFd, appsFd, sharedRegions } = options;
    const sharedFds = [...sharedRegions.map(({ fd }) => fd), ...options.topicsFds];
    const fds = [...listenFds, ...sharedFds, controlFd, statsFd, inboxFd, accessLogFd, appsFd];
    for (const fd of fds) native.setCloseOnExec(fd);
    const appFd = options.isKept ? native.receiveDescriptor(appsFd) : -1;
    const tlsFd = options.tlsPort === 0 ? -1 : native.receiveDescriptor(appsFd);
    const reactor = new native.Reactor({ ...options, appFd, tlsFd }, (event) =>
      dispatch({ type: 'native', event, allocator: native.allocator() }),
    );
    native.alarm(LOADING_ALARM_S);
    reactor.load();
    native.alarm(0);
    return { native, reactor, appsFd };
  } catch (error) {
    dispatch({ type: 'not-made', problem: messageOf(error) });
    return null;
  }
}

function prepare({ native, reactor, appsFd }: Loaded, generation: number, dispatch: Dispatch) {
  let reason: string | null;
  try {
    reason = reactor.prepare(native.receiveDescriptor(appsFd), generation);
  } catch (error) {
    reason = messageOf(error);
  }
  if (reason !== null) dispatch({ type: 'unprepared', generation, reason });
}

/** The current ones stay in use if they cannot be replaced. */
function takeCertificates({ native, reactor, appsFd }: Loaded): void {
  let problem: string | null;
  try {
    problem = reactor.setCertificates(native.receiveDescriptor(appsFd));
  } catch (error) {
    problem = messageOf(error);
  }
  if (problem !== null) writeRecord('error', `the new certificates are not used: ${problem}`);
}

function logFatal(message: string): void {
  writeRecord('fatal', message);
}

function writeRecord(level: 'error' | 'fatal', message: string): void {
  writeSync(2, formatLogLine(level, { nowMs: Date.now(), pid: process.pid }, {}, message));
}

interface ChannelEvents {
  readonly onMessage: (message: ToReactor) => void;
  readonly onUnreadable: (problem: string) => void;
  readonly onDisconnect: () => void;
}

interface Channel {
  /** Resolves when the message was sent, or can no longer be sent. */
  send(message: ToMaster): Promise<void>;
}

/** The IPC channel to the master. */
function openChannel(events: ChannelEvents): Channel {
  // Otherwise node:cluster exits at once when the master is gone, in the middle of responses.
  if (cluster.worker !== undefined) cluster.worker.exitedAfterDisconnect = true;
  process.on('message', (value: unknown) => {
    let message: ToReactor;
    try {
      message = decodeToReactor(value);
    } catch (error) {
      events.onUnreadable(messageOf(error));
      return;
    }
    events.onMessage(message);
  });
  process.on('disconnect', events.onDisconnect);
  return { send };
}

function send(message: ToMaster): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined || !process.connected) {
      resolve();
      return;
    }
    process.send(message, undefined, undefined, () => resolve());
  });
}
