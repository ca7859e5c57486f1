/**
 * Coming back to a relay without a gap: finds out what of the messages that a client is sent it has
 * already, and what is new.
 *
 * A client that lost its connection connects again with `?since=SECONDS`, for a little more than it has
 * missed. There is one order for all, so what it is sent first is the end of what it knows; from where
 * that ends, everything is new. Nothing on the wire says where that is.
 *
 * @module
 */

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
 * Give up, as after `none`, when nothing more comes for a while: then the relay had nothing to replay.
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

/** Tells whether two messages are equal; binary ones are compared byte by byte. */
function same(a, b) {
  if (!(a instanceof ArrayBuffer && b instanceof ArrayBuffer)) return a === b;
  const [left, right] = [new Uint8Array(a), new Uint8Array(b)];
  return left.length === right.length && left.every((byte, i) => byte === right[i]);
}
