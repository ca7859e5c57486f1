/**
 * Coming back to a relay without a gap.
 *
 * A client that lost its connection connects again with `?since=SECONDS`, for a little more than it has
 * missed. There is one order for all, so what it is sent first is the end of what it knows; from where
 * that ends, everything is new. Nothing on the wire says where that is: {@link overlap} finds it, and a
 * {@link Memory} does all that a client needs around it.
 *
 * @module
 */

const SINCE_MARGIN_SECONDS = 5; // What is asked for beyond what was missed.
const REPLAY_MS = 3000; // So long after connecting, what arrives may have been said before.
const MAX_KNOWN = 5000, MAX_KNOWN_SIZE = 4 * 1024 * 1024; // Of messages, and of what is in them.

/** Tells whether two messages are equal; binary ones are compared byte by byte. */
function same(a, b) {
  if (!(a instanceof ArrayBuffer && b instanceof ArrayBuffer)) return a === b;
  const [left, right] = [new Uint8Array(a), new Uint8Array(b)];
  return left.length === right.length && left.every((byte, i) => byte === right[i]);
}

/**
 * Counts how many messages at the end of what is known are needed to recognise that end: so many that
 * together they occur nowhere else in it. 0 if even half of what is known would not be enough, since
 * the same is said over and over.
 *
 * @param {(string | ArrayBuffer)[]} known What the client has, the newest last.
 * @returns {number} How many messages a client has to ask for, beside those that it has missed.
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
 * Looks for the end of what is known in what arrives. Hold each message back while the answer is
 * `wait`. After `met` all of them were known, and whatever comes next is new. After `none` there is no
 * overlap: messages may be missing, then come those held back, and all that follow are new.
 *
 * The end counts only if it is {@link unmistakable}. So there are never two places that would do, and a
 * message is not taken for a known one because it says the same. Where the relay has less than was
 * asked for, a message may be shown twice, after a warning, but none is lost in silence.
 *
 * @param {(string | ArrayBuffer)[]} known What the client has, the newest last.
 * @returns {(message: string | ArrayBuffer) => "wait" | "met" | "none"} Takes the next message.
 */
export function overlap(known) {
  const least = unmistakable(known);
  let starts = least > 0 ? [...known.keys()] : []; // Where the first one may stand in what is known.
  let length = 0;
  return (message) => {
    starts = starts.filter((start) => same(known[start + length], message));
    length++;
    if (length >= least && starts.includes(known.length - length)) return "met";
    return starts.some((start) => start + length < known.length) ? "wait" : "none";
  };
}

/**
 * What a client knows of a room, from one connection to the next. Where `relay.echo` is false, that is
 * without what the client said itself, and it warns although nothing may be missing.
 */
export class Memory {
  #known = []; // Each with the earliest time at which it may have been said.
  #bytes = 0;
  #first;
  #opened = null; // When the connection began, as long as there may be a replay.
  #meet = null; // Until it is clear what is new.
  #held = [];

  /** @param {number} first How many messages to ask for on the first connection. */
  constructor(first = 50) {
    this.#first = first;
  }

  /** How many messages it holds: the last thousands of them, and some MiB. */
  get size() {
    return this.#known.length;
  }

  /** Says what to ask for in the URL of the next connection, such as `since=12`. */
  query(now = Date.now()) {
    if (this.#opened === null) return `last=${this.#first}`;
    const count = this.#known.length;
    const end = this.#known.at(-(unmistakable(this.#messages) || 1));
    // What may be from before the first connection is of unknown age. Where the relay had less than it
    // was asked for, it has nothing older, and may be asked for everything.
    if (!end || end.at === -Infinity) return `last=${count < this.#first ? MAX_KNOWN : count}`;
    const missed = Math.max(0, now - end.at); // Clocks may be set back.
    return `since=${Math.ceil(missed / 1000) + SINCE_MARGIN_SECONDS}`;
  }

  /** Begins a connection. */
  connected(now = Date.now()) {
    this.#meet = this.#opened === null ? null : overlap(this.#messages);
    this.#held = []; // All known, as far as one could tell, or sent once more.
    this.#opened = now;
  }

  /**
   * Takes a message, and returns those that are to be shown now, whether messages may be missing before
   * them, and whether they may have been said before the connection began.
   */
  take(message, now = Date.now()) {
    this.#held.push(message);
    const verdict = this.#meet?.(message) ?? "new";
    return this.#show(verdict, now);
  }

  /** Returns the same, to be called when nothing came for two seconds: then there is no replay any more. */
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
