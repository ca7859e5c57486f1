/**
 * Fake connections, for tests of the hub alone.
 *
 * @module
 */

import type { Connection, Ending, Replay } from "../hub.ts";

/** Stands in for a socket: the one thing that real ones cannot do is to have a given backlog. */
export class FakeConnection<Data = string> implements Connection<Data> {
  /** What was written to it. */
  readonly heard: Data[] = [];
  /** Why the hub has ended it. */
  readonly closes: Ending[] = [];
  /** The room that it is in. */
  readonly room: string;
  /** What it wants to hear first. */
  replay: Replay | null = null;
  /** Whether it may send messages. */
  mayTalk = true;
  /** When its membership ends. */
  expires = Infinity;
  /** The backlog that it claims to have. */
  held = 0;
  /** Its name in the logs. */
  readonly peer: string;

  /** Makes a connection without a backlog. */
  constructor(peer: string, room = "/") {
    this.peer = peer;
    this.room = room;
  }

  backlog(): number {
    return this.held;
  }

  write(data: Data): void {
    this.heard.push(data);
  }

  close(ending: Ending): void {
    this.closes.push(ending);
  }

  evict(ending: Ending): void {
    this.closes.push(ending);
  }

  terminate(): void {}
}

/** A connection that counts and discards what is written to it, for measurements. */
export class ForgetfulConnection extends FakeConnection {
  /** How many characters were written to it. */
  written = 0;

  override write(data: string): void {
    this.written += data.length;
  }
}
