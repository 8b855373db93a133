import { unlinkSync } from 'node:fs';
import type { NativeAddon } from '../../shared/native.js';
import type { NativeBoss, NativeStatsPage } from '../../shared/native-stats.js';
import type { Config } from '../../shared/options.js';
import { joinListeners, type Listeners } from './listeners.js';
import { type Inherited, listenersInChild } from './reactor-process.js';

/**
 * What outlives the reactors: listeners, stats page, boss and, for each slot, a control pair. The
 * master owns every one of these descriptors; reactors get copies.
 */
export interface Resources {
  readonly listeners: Listeners;
  readonly stats: NativeStatsPage;
  readonly boss: NativeBoss;
  /** The numbers of the listeners in a reactor. */
  readonly listenFdsInChild: readonly number[];
  /** Slots there may be at most. */
  readonly capacity: number;
  inheritedBy(slot: number): Inherited;
  /** Makes room for `count` slots. Throws ERR_MOONRING_LISTEN. */
  makeRoom(count: number): void;
  /** Nobody will serve the slot again; what waits in its own listener is lost. */
  closeSlot(slot: number): void;
  closeListeners(): void;
  close(): void;
}

/** Sparse memory and few descriptors a slot: enough to scale up later. */
const LEAST_CAPACITY = 16;
const MOST_CAPACITY = 1024;

export interface ResourceOptions {
  readonly native: NativeAddon;
  readonly listeners: Listeners;
  /** Who accepts: each reactor by itself, or the master. */
  readonly accept: 'reuseport' | 'boss';
  readonly config: Pick<Config, 'bossPolicy' | 'backlog'>;
  readonly processes: number;
}

interface SlotDescriptors {
  listenFd: number | null;
  /** Both ends, so that nothing in it is lost. */
  readonly control: readonly [masterFd: number, reactorFd: number];
}

export function openResources(options: ResourceOptions): Resources {
  const { native, listeners, accept, config, processes } = options;
  const capacity = Math.min(MOST_CAPACITY, Math.max(LEAST_CAPACITY, processes * 2));
  const stats = new native.StatsPage({ slots: capacity });
  const isBoss = accept === 'boss';
  const boss = new native.Boss({
    slots: capacity,
    listenFds: isBoss ? [...listeners.tcpFds, ...listeners.sharedFds] : [],
    policy: config.bossPolicy,
    stats,
  });
  const sharedFds = isBoss ? [] : listeners.sharedFds;
  const hasOwn = !isBoss && listeners.tcpFds.length > 0;
  const slots = makeSlots(options, hasOwn);
  let listening = true;

  const closeListeners = () => {
    if (!listening) return;
    listening = false;
    boss.closeListeners();
    slots.closeListeners();
    if (isBoss) for (const fd of listeners.tcpFds) native.closeDescriptor(fd);
    for (const fd of listeners.sharedFds) native.closeDescriptor(fd);
    if (listeners.socketPath !== null) removeSocket(listeners.socketPath);
  };
  slots.makeRoom(processes);
  boss.start();
  return {
    listeners,
    stats,
    boss,
    listenFdsInChild: listenersInChild(hasOwn, sharedFds.length),
    capacity,
    inheritedBy: (slot) => {
      const inboxFd = boss.inboxFds[slot];
      if (inboxFd === undefined) throw new TypeError(`there is no slot ${slot}`);
      return { ...slots.descriptorsOf(slot), sharedFds, statsFd: stats.fd, inboxFd };
    },
    makeRoom: slots.makeRoom,
    closeSlot: slots.closeListener,
    closeListeners,
    close: () => {
      closeListeners();
      boss.stop();
      slots.close();
      stats.close();
    },
  };
}

/** Listener and control pair of each slot. */
function makeSlots({ native, listeners, config }: ResourceOptions, hasOwn: boolean) {
  const slots: SlotDescriptors[] = [];
  let opened = 0;

  /** The first ones are open already. */
  function openListener(): number | null {
    const [address] = listeners.addresses;
    if (!hasOwn || address === undefined) return null;
    return listeners.tcpFds[opened++] ?? joinListeners(native, address, config.backlog);
  }

  function openSlot(slot: number): void {
    slots[slot] ??= { listenFd: null, control: native.socketPair() };
    slots[slot].listenFd ??= openListener();
  }

  function closeListener(slot: number): void {
    const known = slots[slot];
    if (known === undefined || known.listenFd === null) return;
    native.closeDescriptor(known.listenFd);
    known.listenFd = null;
  }

  return {
    descriptorsOf: (slot: number) => {
      const known = slots[slot];
      if (known === undefined) throw new TypeError(`there is no slot ${slot}`);
      return { listenFd: known.listenFd, controlFd: known.control[1] };
    },
    makeRoom: (count: number) => {
      const isNew = (slot: number) => (slots[slot]?.listenFd ?? null) === null;
      const added = [...Array(count).keys()].filter(isNew);
      try {
        added.forEach(openSlot);
      } catch (error) {
        // A listener that no reactor serves would take connections from the others.
        added.forEach(closeListener);
        throw error;
      }
    },
    closeListener,
    closeListeners: () => {
      for (const slot of slots.keys()) closeListener(slot);
    },
    close: () => {
      for (const { control } of slots) for (const fd of control) native.closeDescriptor(fd);
    },
  };
}

/** Somebody may have removed it before. */
export function removeSocket(path: string): void {
  try {
    unlinkSync(path);
  } catch {}
}
