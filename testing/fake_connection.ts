/**
 * Fake connections, for tests of the hub alone.
 *
 * @module
 */

import type { Connection, Ending, Replay } from "../hub.ts";

/** A stand-in for a socket. Unlike a real one, it can have a given backlog. */
export class FakeConnection<Data = string> implements Connection<Data> {
  /** The data that was written to it. */
  readonly heard: Data[] = [];
  /** The causes for which the hub has ended it. */
  readonly closes: Ending[] = [];
  /** The room that it is in. */
  readonly room: string;
  /** The history that it asks for. */
  replay: Replay | null = null;
  /** Whether it may send messages. */
  mayTalk = true;
  /** When its membership expires, in milliseconds of Unix time. */
  expires = Infinity;
  /** The backlog that it reports, in bytes. */
  held = 0;
  /** Its name in the logs. */
  readonly peer: string;

  /** Creates a connection without a backlog. */
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

/** A connection that counts and discards written data, for measurements. */
export class ForgetfulConnection extends FakeConnection {
  /** The number of characters that were written to it. */
  written = 0;

  override write(data: string): void {
    this.written += data.length;
  }
}
