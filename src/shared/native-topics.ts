/** The addon's topics of a server. Everything happens on the main thread. */
export interface NativeTopics {
  /** Inherited by reactors, in this order; owned by the topics. */
  readonly fds: readonly number[];
  /** Throws a RangeError for a topic or a message that is too long. Never waits. */
  publish(topic: string, message: Buffer): void;
  /**
   * Calls back in a separate turn of the event loop, which it does not keep alive. `lost`: messages
   * of the topic that were overwritten before this one. An error thrown by the callback is an
   * uncaught exception. Returns the number for `unsubscribe`.
   */
  subscribe(topic: string, callback: (message: Buffer, lost: number) => void): number;
  unsubscribe(number: number): void;
  /** The process of this side is gone. */
  resetSide(slot: number, side: number): void;
  counters(slot: number): TopicCounters;
  close(): void;
}

export interface TopicCounters {
  readonly published: number;
  /** Per subscriber: a Lua state is one subscriber of a topic, however many subscriptions it
   * has. */
  readonly delivered: number;
  readonly lost: number;
  /** That there are now. */
  readonly subscribers: number;
}
