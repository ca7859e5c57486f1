/**
 * A model of the reader of the `ws` transport, for comparison. It interprets a client's WebSocket bytes
 * exactly as RFC 6455 says, without regard to speed.
 *
 * @module
 */

/** An event in the bytes, and the number of bytes after which it was certain. */
export type Finding =
  & { readonly at: number }
  & (
    | { readonly message: Uint8Array; readonly binary: boolean }
    | { readonly ping: Uint8Array }
    | { readonly close: number | null }
    | { readonly breach: 1002 | 1007 | 1009 }
  );

const CONTROL = [8, 9, 10];

/** Reads all bytes one by one, up to the first close frame or violation. */
export function readByTheLetter(bytes: Uint8Array, maxBytes: number, maxFragments: number) {
  const found: Finding[] = [];
  try {
    read(new Source(bytes), found, maxBytes, maxFragments);
  } catch (error) {
    if (error !== END) throw error;
  }
  return found;
}

const END = new Error("the bytes are at their end, or nothing that follows counts");

class Source {
  at = 0;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  byte(): number {
    if (this.at === this.#bytes.length) throw END;
    return this.#bytes[this.at++];
  }
}

function read(source: Source, found: Finding[], maxBytes: number, maxFragments: number): void {
  let message: number[] | null = null, binary = false, fragments = 0;
  let text: TextDecoder | null = null;
  const breach = (code: 1002 | 1007 | 1009): never => {
    found.push({ at: source.at, breach: code });
    throw END;
  };
  const decode = (decoder: TextDecoder, bytes: number[], stream: boolean) => {
    try {
      decoder.decode(new Uint8Array(bytes), { stream });
    } catch {
      breach(1007);
    }
  };
  while (true) {
    const first = source.byte(), fin = first >> 7 === 1, opcode = first & 15;
    const control = CONTROL.includes(opcode);
    if ((first >> 4 & 7) !== 0) breach(1002);
    if (![0, 1, 2].includes(opcode) && !control) breach(1002);
    if (control && !fin) breach(1002);
    if (opcode === 0 && message === null) breach(1002);
    if ((opcode === 1 || opcode === 2) && message !== null) breach(1002);

    const second = source.byte();
    if (second >> 7 === 0) breach(1002);
    let length = BigInt(second & 127);
    if (control && length > 125n) breach(1002);
    if (opcode === 8 && length === 1n) breach(1002);
    if (length > 125n) {
      const more = length === 126n ? 2 : 8;
      length = 0n;
      for (let i = 0; i < more; i++) {
        const byte = source.byte();
        if (more === 8 && i === 0 && byte > 127) breach(1002);
        length = length * 256n + BigInt(byte);
      }
    }
    if (!control) {
      if (opcode !== 0) {
        message = [];
        fragments = 0;
        binary = opcode === 2;
        text = binary ? null : new TextDecoder("utf-8", { fatal: true });
      }
      fragments++;
      if (BigInt(message!.length) + length > BigInt(maxBytes)) breach(1009);
      if (fragments > maxFragments) breach(1009);
    }

    const mask = [source.byte(), source.byte(), source.byte(), source.byte()];
    const payload: number[] = [];
    for (let i = 0n; i < length; i++) {
      const byte = source.byte() ^ mask[Number(i % 4n)];
      payload.push(byte);
      if (!control && text) decode(text, [byte], true);
    }
    if (opcode === 9) found.push({ at: source.at, ping: new Uint8Array(payload) });
    if (opcode === 8) {
      const code = payload.length > 0 ? payload[0] * 256 + payload[1] : null;
      if (code !== null && !CODES.some(([least, most]) => code >= least && code <= most)) {
        breach(1002);
      }
      decode(new TextDecoder("utf-8", { fatal: true }), payload.slice(2), false);
      found.push({ at: source.at, close: code });
      throw END;
    }
    if (control) continue;
    message!.push(...payload);
    if (!fin) continue;
    if (text) decode(text, [], false);
    found.push({ at: source.at, message: new Uint8Array(message!), binary });
    message = null;
  }
}

/** The codes that a close frame may contain, by RFC 6455 §7.4 and the IANA registry. */
const CODES = [[1000, 1003], [1007, 1014], [3000, 4999]];
