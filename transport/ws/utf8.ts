/**
 * UTF-8 that is checked while it arrives.
 *
 * @module
 */

import { isUtf8 } from "node:buffer";

/** A check of one text, piece by piece, that fails at the first byte that cannot be right (RFC 3629 §4). */
export class Utf8 {
  #missing = 0; // Bytes of the character that has begun, with the range of the next one.
  #least = 0x80;
  #most = 0xbf;

  /** Whether the text may end here: no character is incomplete. */
  get whole(): boolean {
    return this.#missing === 0;
  }

  /** Takes the next bytes of the text, and tells whether they can be right. */
  take(bytes: Uint8Array, from: number, to: number): boolean {
    while (from < to && this.#missing > 0) {
      if (!this.#step(bytes[from++])) return false;
    }
    const cut = findCut(bytes, from, to);
    if (!isUtf8(bytes.subarray(from, cut))) return false;
    for (let at = cut; at < to; at++) {
      if (!this.#step(bytes[at])) return false;
    }
    return true;
  }

  /** Takes a byte of a character of several. */
  #step(byte: number): boolean {
    if (this.#missing === 0) return this.#begin(byte);
    if (byte < this.#least || byte > this.#most) return false;
    this.#missing--;
    this.#least = 0x80;
    this.#most = 0xbf;
    return true;
  }

  #begin(byte: number): boolean {
    if (byte < 0xc2 || byte > 0xf4) return false;
    this.#missing = lengthOf(byte) - 1;
    if (byte === 0xe0) this.#least = 0xa0; // Below are characters that have a shorter form,
    else if (byte === 0xed) this.#most = 0x9f; // above are surrogates,
    else if (byte === 0xf0) this.#least = 0x90;
    else if (byte === 0xf4) this.#most = 0x8f; // and above are no characters.
    return true;
  }
}

/** Finds the beginning of an incomplete character at the end; the end if there is none. */
function findCut(bytes: Uint8Array, from: number, to: number): number {
  for (let at = to - 1; at >= Math.max(from, to - 3); at--) {
    if (bytes[at] >= 0xc0) return at + lengthOf(bytes[at]) > to ? at : to;
  }
  return to;
}

function lengthOf(first: number): number {
  return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}
