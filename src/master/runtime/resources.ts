import type { NativeAddon, SharedRegion } from '../../shared/native.js';
import type { NativeBoss, NativeStatsPage } from '../../shared/native-stats.js';
import type { NativeTopics, TopicCounters } from '../../shared/native-topics.js';
import type { Config } from '../../shared/options.js';
import { type CertificateStore, openCertificateStore } from '../tls/certificate-store.js';
import type { Certificates } from '../tls/certificates.js';
import { joinListeners, type Listeners, type TcpGroup } from './listeners.js';
import { openSharedMemories, type SharedMemories } from './shared-memory.js';

/** The descriptors inherited by a reactor process, under these numbers. */
export const CHILD_CONTROL_FD = 4;
export const CHILD_STATS_FD = 5;
export const CHILD_INBOX_FD = 6;
/** Its own standard output is a pipe to the log. */
export const CHILD_STDOUT_FD = 7;
/** Its end of the pair that delivers the app's files. */
export const CHILD_APPS_FD = 8;
/** Shared memory, as many as are configured, topics, then any number of listeners. */
const CHILD_SHARED_FD = 9;

/** Descriptors of the master. */
export interface Inherited {
  /** `null` for one that has been closed. */
  readonly listenFds: readonly (number | null)[];
  readonly controlFd: number;
  readonly statsFd: number;
  readonly inboxFd: number;
  /** With those of the topics. */
  readonly sharedFds: readonly number[];
}

/**
 * Resources that outlive the reactors: listeners, stats page, shared memory, boss and, for each
 * slot, a control pair. The master owns all these descriptors; reactors get copies.
 */
export interface Resources {
  readonly listeners: Listeners;
  readonly stats: NativeStatsPage;
  readonly boss: NativeBoss;
  readonly shared: SharedMemories;
  readonly topics: NativeTopics;
  readonly topicCounters: (slot: number | 'master') => TopicCounters;
  readonly certificates: CertificateStore;
  /** As a reactor inherits it. */
  readonly sharedInChild: readonly SharedRegion[];
  /** The numbers of the topics' descriptors in a reactor. */
  readonly topicsFdsInChild: readonly number[];
  /** The numbers of the listeners in a reactor. */
  readonly listenFdsInChild: readonly number[];
  /** The maximum number of slots. */
  readonly capacity: number;
  inheritedBy(slot: number): Inherited;
  /** Makes room for `count` slots. Throws ERR_MOONRING_LISTEN. */
  makeRoom(count: number): void;
  /** No reactor will serve the slot again; connections waiting in its listener are lost. */
  closeSlot(slot: number): void;
  closeListeners(): void;
  close(): void;
}

/** Slots to scale up later: each takes sparse memory and few descriptors. */
const LEAST_CAPACITY = 16;
const MOST_CAPACITY = 1024;

export interface ResourceOptions {
  readonly native: NativeAddon;
  readonly listeners: Listeners;
  /** What accepts connections: each reactor, or the master. */
  readonly accept: 'reuseport' | 'boss';
  readonly config: Pick<Config, 'bossPolicy' | 'backlog' | 'shared' | 'topics' | 'dev'>;
  readonly processes: number;
  readonly certificates: Certificates | null;
}

interface SlotDescriptors {
  /** One per group of TCP listeners; empty: none is open. */
  listenFds: readonly number[];
  /** Both ends, so that nothing in it is lost. */
  readonly control: readonly [masterFd: number, reactorFd: number];
}

export function openResources(options: ResourceOptions): Resources {
  const { native, listeners, accept, config, processes } = options;
  const capacity = Math.min(MOST_CAPACITY, Math.max(LEAST_CAPACITY, processes * 2));
  const stats = new native.StatsPage({ slots: capacity });
  const isBoss = accept === 'boss';
  const tcpFds = listeners.tcp.flatMap(({ fds }) => fds);
  const boss = new native.Boss({
    slots: capacity,
    listenFds: isBoss ? [...tcpFds, ...listeners.sharedFds] : [],
    policy: config.bossPolicy,
    stats,
  });
  const sharedFds = isBoss ? [] : listeners.sharedFds;
  // Under reuseport each reactor has its own socket in every group.
  const groups = isBoss ? [] : listeners.tcp;
  const slots = makeSlots(options, groups);
  const shared = openSharedMemories(native, config);
  const topics = new native.Topics(capacity, config.topics);
  const firstTopicsFd = CHILD_SHARED_FD + shared.regions.length;
  const firstListenFd = firstTopicsFd + topics.fds.length;
  const certificates = openCertificateStore(native, options.certificates);
  let listening = true;

  const closeListeners = () => {
    if (!listening) return;
    listening = false;
    listeners.removeSocketFile();
    boss.closeListeners();
    slots.closeListeners();
    if (isBoss) for (const fd of tcpFds) native.closeDescriptor(fd);
    for (const fd of listeners.sharedFds) native.closeDescriptor(fd);
  };
  slots.makeRoom(processes);
  boss.start();
  return {
    listeners,
    stats,
    boss,
    shared,
    topics,
    // The master's slot comes after those of the reactors.
    topicCounters: (slot) => topics.counters(slot === 'master' ? capacity : slot),
    certificates,
    sharedInChild: shared.regions.map(({ kind, name }, i) => {
      return { kind, name, fd: CHILD_SHARED_FD + i };
    }),
    topicsFdsInChild: topics.fds.map((_, i) => firstTopicsFd + i),
    listenFdsInChild: [...groups, ...sharedFds].map((_, i) => firstListenFd + i),
    capacity,
    inheritedBy: (slot) => {
      const inboxFd = boss.inboxFds[slot];
      if (inboxFd === undefined) throw new TypeError(`there is no slot ${slot}`);
      const { listenFds, controlFd } = slots.descriptorsOf(slot);
      return {
        listenFds: [...listenFds, ...sharedFds.map((fd) => (listening ? fd : null))],
        controlFd,
        statsFd: stats.fd,
        inboxFd,
        sharedFds: [...shared.regions.map(({ fd }) => fd), ...topics.fds],
      };
    },
    makeRoom: slots.makeRoom,
    closeSlot: slots.closeListener,
    closeListeners,
    close: () => {
      closeListeners();
      boss.stop();
      slots.close();
      shared.close();
      topics.close();
      certificates.close();
      stats.close();
    },
  };
}

/** Listeners and control pair of each slot. */
function makeSlots(
  { native, config }: Pick<ResourceOptions, 'native' | 'config'>,
  groups: readonly TcpGroup[],
) {
  const slots: SlotDescriptors[] = [];
  /** The first sockets of each group are open already. */
  let taken = 0;

  function openListeners(): number[] {
    const opened: number[] = [];
    try {
      for (const group of groups) {
        opened.push(group.fds[taken] ?? joinListeners(native, group, config.backlog));
      }
    } catch (error) {
      for (const fd of opened) native.closeDescriptor(fd);
      throw error;
    }
    taken++;
    return opened;
  }

  function openSlot(slot: number): void {
    slots[slot] ??= { listenFds: [], control: native.socketPair() };
    if (slots[slot].listenFds.length === 0) slots[slot].listenFds = openListeners();
  }

  function closeListener(slot: number): void {
    const known = slots[slot];
    if (known === undefined) return;
    for (const fd of known.listenFds) native.closeDescriptor(fd);
    known.listenFds = [];
  }

  return {
    descriptorsOf: (slot: number) => {
      const known = slots[slot];
      if (known === undefined) throw new TypeError(`there is no slot ${slot}`);
      const listenFds = groups.map((_, i) => known.listenFds[i] ?? null);
      return { listenFds, controlFd: known.control[1] };
    },
    makeRoom: (count: number) => {
      const isNew = (slot: number) => (slots[slot]?.listenFds.length ?? 0) === 0;
      const added = [...Array(count).keys()].filter(isNew);
      try {
        added.forEach(openSlot);
      } catch (error) {
        // A listener without a reactor would take connections away from the others.
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
