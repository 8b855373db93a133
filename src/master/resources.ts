import { unlinkSync } from 'node:fs';
import type { NativeAddon } from '../shared/native.js';
import type { NativeBoss, NativeStatsPage } from '../shared/native-stats.js';
import type { Config } from '../shared/options.js';
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
  const slots: SlotDescriptors[] = [];
  let listening = true;

  function listenFdFor(slot: number): number | null {
    const [address] = listeners.addresses;
    if (!hasOwn || address === undefined) return null;
    return listeners.tcpFds[slot] ?? joinListeners(native, address, config.backlog);
  }

  function closeSlot(slot: number): void {
    const descriptors = slots[slot];
    if (descriptors?.listenFd == null) return;
    native.closeDescriptor(descriptors.listenFd);
    descriptors.listenFd = null;
  }

  const resources: Resources = {
    listeners,
    stats,
    boss,
    listenFdsInChild: listenersInChild(hasOwn, sharedFds.length),
    capacity,
    inheritedBy: (slot) => {
      const descriptors = slots[slot];
      const inboxFd = boss.inboxFds[slot];
      if (descriptors === undefined || inboxFd === undefined) {
        throw new TypeError(`there is no slot ${slot}`);
      }
      const { listenFd, control } = descriptors;
      return { listenFd, sharedFds, controlFd: control[1], statsFd: stats.fd, inboxFd };
    },
    makeRoom: (count) => {
      for (let slot = 0; slot < count; slot++) {
        const known = slots[slot];
        if (known === undefined) {
          slots.push({ listenFd: listenFdFor(slot), control: native.socketPair() });
        } else if (known.listenFd === null && hasOwn) {
          const [address] = listeners.addresses;
          if (address) known.listenFd = joinListeners(native, address, config.backlog);
        }
      }
    },
    closeSlot,
    closeListeners: () => {
      if (!listening) return;
      listening = false;
      boss.closeListeners();
      for (const slot of slots.keys()) closeSlot(slot);
      if (isBoss) for (const fd of listeners.tcpFds) native.closeDescriptor(fd);
      for (const fd of listeners.sharedFds) native.closeDescriptor(fd);
      if (listeners.socketPath !== null) removeSocket(listeners.socketPath);
    },
    close: () => {
      resources.closeListeners();
      boss.stop();
      for (const { control } of slots) for (const fd of control) native.closeDescriptor(fd);
      stats.close();
    },
  };
  resources.makeRoom(processes);
  boss.start();
  return resources;
}

/** Somebody may have removed it before. */
export function removeSocket(path: string): void {
  try {
    unlinkSync(path);
  } catch {}
}
