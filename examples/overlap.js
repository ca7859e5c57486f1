/**
 * Returns to a relay without a gap.
 *
 * A client that lost its connection connects again with `?since=SECONDS`, for a little more time than it
 * has missed. All clients receive the same order, so the first messages are the last ones that it knows,
 * and all later ones are new. Nothing on the wire marks the first new message, but {@link overlap} finds
 * it. {@link Memory} does everything else that a client needs for this.
 *
 * @module
 */

const SINCE_MARGIN_SECONDS = 5; // The time to ask for beyond the missed time.
const REPLAY_MS = 3000; // For this long after connecting, older messages may arrive.
const MAX_KNOWN = 5000, MAX_KNOWN_SIZE = 4 * 1024 * 1024; // Messages, and their total size.

/** Tells whether two messages are equal. Binary messages are compared byte by byte. */
function same(a, b) {
  if (!(a instanceof ArrayBuffer && b instanceof ArrayBuffer)) return a === b;
  const [left, right] = [new Uint8Array(a), new Uint8Array(b)];
  return left.length === right.length && left.every((byte, i) => byte === right[i]);
}

/**
 * Counts how many of the last known messages are needed to recognise the end. This sequence must not occur
 * anywhere else among the known messages.
 *
 * @param {(string | ArrayBuffer)[]} known The client's messages, the newest last.
 * @returns {number} How many messages a client has to ask for besides the missed ones; 0 if not even half
 * of the known messages would be enough, because they repeat themselves.
 */
export function unmistakable(known) {
  let longest = 0;
  for (let end = 1; end < known.length; end++) {
    let length = 0;
    while (length < end && same(known[end - 1 - length], known.at(-1 - length))) length++;
    longest = Math.max(longest, length);
  }
  return longest < Math.ceil(known.length / 2) ? longest + 1 : 0;
}

/**
 * Looks for the end of the known messages among the arriving ones. Hold each message back while the result
 * is `wait`. `met` means that all messages so far were known, and all later ones are new. `none` means that
 * there is no overlap. Messages may then be missing, and those held back and all later ones count as new.
 *
 * The end counts only if it is {@link unmistakable}. So there is never more than one possible place, and a
 * new message is not mistaken for a known one with the same text. If the relay has fewer messages than the
 * client asked for, a message may be shown twice after a warning, but none is lost silently.
 *
 * @param {(string | ArrayBuffer)[]} known The client's messages, the newest last.
 * @returns {(message: string | ArrayBuffer) => "wait" | "met" | "none"} Takes the next message.
 */
export function overlap(known) {
  const least = unmistakable(known);
  let starts = least > 0 ? [...known.keys()] : []; // Where the first message may be.
  let length = 0;
  return (message) => {
    starts = starts.filter((start) => same(known[start + length], message));
    length++;
    if (length >= least && starts.includes(known.length - length)) return "met";
    return starts.some((start) => start + length < known.length) ? "wait" : "none";
  };
}

/**
 * A client's knowledge of a room, from one connection to the next. If `relay.echo` is false, it lacks the
 * client's own messages, and it may warn of missing messages when there are none.
 */
export class Memory {
  #known = []; // The messages, each with the earliest time at which it may have been sent.
  #bytes = 0;
  #first;
  #opened = null; // When the connection began, while older messages may still arrive.
  #meet = null; // The search for the overlap, until it is over.
  #held = [];

  /** @param {number} first How many messages to ask for on the first connection. */
  constructor(first = 50) {
    this.#first = first;
  }

  /** The number of messages that it holds. It keeps the last few thousand and a few MiB. */
  get size() {
    return this.#known.length;
  }

  /** Returns the query for the URL of the next connection, such as `since=12`. */
  query(now = Date.now()) {
    if (this.#opened === null) return `last=${this.#first}`;
    const count = this.#known.length;
    const end = this.#known.at(-(unmistakable(this.#messages) || 1));
    // Messages from before the first connection have an unknown age. If the relay had fewer than the
    // client asked for, it has no older ones, and the client may ask for everything.
    if (!end || end.at === -Infinity) return `last=${count < this.#first ? MAX_KNOWN : count}`;
    const missed = Math.max(0, now - end.at); // Clocks may be set back.
    return `since=${Math.ceil(missed / 1000) + SINCE_MARGIN_SECONDS}`;
  }

  /** Call this when a connection has been opened. */
  connected(now = Date.now()) {
    this.#meet = this.#opened === null ? null : overlap(this.#messages);
    this.#held = []; // These are known, or the relay sends them again.
    this.#opened = now;
  }

  /**
   * Takes a message. Returns the messages to show now, whether messages may be missing before them, and
   * whether they may have been sent before the connection began.
   */
  take(message, now = Date.now()) {
    this.#held.push(message);
    const verdict = this.#meet?.(message) ?? "new";
    return this.#show(verdict, now);
  }

  /** Returns the same. Call it when nothing has arrived for two seconds, which means the replay is over. */
  settle(now = Date.now()) {
    const result = this.#show(this.#meet ? "none" : "new", now);
    this.#opened = -Infinity;
    return result;
  }

  get #messages() {
    return this.#known.map(({ message }) => message);
  }

  #show(verdict, now) {
    const replayed = now - this.#opened < REPLAY_MS;
    if (verdict === "wait") return { messages: [], missing: false, replayed };
    this.#meet = null;
    const messages = verdict === "met" ? [] : this.#held;
    this.#held = [];
    const at = replayed ? this.#known.at(-1)?.at ?? -Infinity : now;
    for (const message of messages) {
      this.#known.push({ message, at });
      this.#bytes += message.length ?? message.byteLength;
    }
    while (this.#known.length > 1 && this.#tooMuch) {
      const { message } = this.#known.shift();
      this.#bytes -= message.length ?? message.byteLength;
    }
    return { messages, missing: verdict === "none", replayed };
  }

  get #tooMuch() {
    return this.#known.length > MAX_KNOWN || this.#bytes > MAX_KNOWN_SIZE;
  }
}
