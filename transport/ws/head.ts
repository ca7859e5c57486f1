/**
 * The head of a request (RFC 9112), read as it arrives. The reader is strict: it refuses everything that is not
 * written as the standard asks, so that no proxy in front of the relay can have read something else.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import {
  HEAD_TOO_LARGE,
  MAX_HEAD_BYTES,
  type Refusal,
  UNREADABLE,
} from "../../admission/decision.ts";
import type { HandshakeRequest } from "../../admission/handshake.ts";

const REQUEST_LINE = /^([\w!#$%&'*+.^`|~-]+) ([!-~]+) HTTP\/1\.([01])$/;
const NAME = /^[\w!#$%&'*+.^`|~-]+$/;

/** What is in no head: half a line break, or another control character. */
const NEVER = /\r[^\n]|[^\r]\n|[^\t\r\n -~\x80-\xff]/;

const END = "\r\n\r\n";

/** Reads one head from any pieces. */
export class HeadReader {
  /** All bytes that have arrived. */
  bytes: Buffer = Buffer.alloc(0);
  #end = -1;

  /** The bytes after the head. */
  get rest(): Buffer {
    return this.bytes.subarray(this.#end + END.length);
  }

  /** Takes the next bytes. Returns the request when its head is complete, or a refusal when it cannot be one. */
  take(bytes: Buffer): HandshakeRequest | Refusal | null {
    const before = this.bytes.length;
    this.bytes = before > 0 ? Buffer.concat([this.bytes, bytes]) : bytes;
    this.#end = this.bytes.indexOf(END, Math.max(before - END.length, 0));
    const end = this.#end < 0 ? this.bytes.length : this.#end;
    if (end > MAX_HEAD_BYTES) return HEAD_TOO_LARGE;
    const from = Math.max(before - 1, 0);
    const complete = this.#end >= 0;
    const read = this.bytes.toString("latin1", from, complete ? end + END.length : end);
    if (NEVER.test(read)) return UNREADABLE;
    if (!complete) return null;
    const head = from === 0 ? read.slice(0, end) : this.bytes.toString("latin1", 0, end);
    return parse(head) ?? UNREADABLE;
  }
}

/** Reads a complete head without forbidden characters; `null` if it is not one. */
function parse(head: string): HandshakeRequest | null {
  const [first, ...lines] = head.split("\r\n");
  const request = REQUEST_LINE.exec(first);
  if (!request) return null;
  const fields = new Map<string, string>();
  let hosts = 0;
  for (const line of lines) {
    const colon = line.indexOf(":");
    const name = line.slice(0, Math.max(colon, 0)).toLowerCase();
    if (!NAME.test(name)) return null;
    const value = trim(line, colon + 1), other = fields.get(name);
    if (name === "host") hosts++;
    fields.set(name, other === undefined ? value : `${other}, ${value}`);
  }
  const [, method, target, minor] = request;
  return {
    method,
    target: copy(target),
    headers: lines.length,
    hosts: minor === "0" ? Math.max(hosts, 1) : hosts, // HTTP/1.0 has no Host.
    header(name) {
      const value = fields.get(name);
      return value === undefined ? null : copy(value);
    },
  };
}

/** Reads a value without the blanks around it. A regular expression could take very long for that. */
function trim(line: string, from: number): string {
  let to = line.length;
  while (from < to && isBlank(line, from)) from++;
  while (to > from && isBlank(line, to - 1)) to--;
  return line.slice(from, to);
}

function isBlank(line: string, at: number): boolean {
  return line[at] === " " || line[at] === "\t";
}

/** Copies a string, which would keep the whole head in memory otherwise: V8 makes no copy of a long piece. */
function copy(text: string): string {
  return ` ${text}`.slice(1);
}
