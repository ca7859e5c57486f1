import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { overlap, unmistakable } from "./overlap.js";

type Message = string | ArrayBuffer;

/** What a client shows of what it is sent after it came back, and whether it warns of a gap before. */
interface Outcome {
  shown: Message[];
  warned: boolean;
}

/** Comes back as the chat page does, and gives up behind the last message. */
function comeBack(known: Message[], sent: Message[]): Outcome {
  const meet = overlap(known);
  for (let count = 1; count <= sent.length; count++) {
    const verdict = meet(sent[count - 1]);
    if (verdict === "met") return { shown: sent.slice(count), warned: false };
    if (verdict === "none") break;
  }
  return { shown: sent, warned: true };
}

const letters = (text: string): Message[] => [...text];
const bytes = (...values: number[]): Message => new Uint8Array(values).buffer;

/** Cases, each as what is known, what is sent, what is shown of that, and whether there is a warning. */
const CASES: Record<
  string,
  [known: Message[], sent: Message[], shown: Message[], warned: boolean]
> = {
  "shows what is new": [letters("abcdef"), letters("efgh"), letters("gh"), false],
  "shows nothing where nothing is new": [letters("abcdef"), letters("def"), [], false],
  "recognises the end where all that is known comes": [
    letters("abc"),
    letters("abcd"),
    ["d"],
    false,
  ],
  "shows all and warns where everything known is gone": [
    letters("abc"),
    letters("xyz"),
    letters("xyz"),
    true,
  ],
  "shows all and warns where the relay has a part only of what was missed": [
    letters("abcabd"),
    letters("abxy"),
    letters("abxy"),
    true,
  ],
  "warns where nothing comes": [letters("abc"), [], [], true],
  "warns where nothing is known": [[], letters("ab"), letters("ab"), true],
  "recognises a message that is the only one known": [["a"], letters("ab"), ["b"], false],
  "counts how often a message was repeated": [
    letters("wxyzbbb"),
    letters("bbbb"),
    ["b"],
    false,
  ],
  "does not take a repeated message for the end": [
    letters("xaya"),
    letters("aya"),
    letters(""),
    false,
  ],
  "shows too much rather than too little where the end is not long enough": [
    letters("xaya"),
    letters("ab"),
    letters("ab"),
    true,
  ],
  "does not guess where the same is said over and over": [
    letters("aaaaaa"),
    letters("aaa"),
    letters("aaa"),
    true,
  ],
  "compares binary messages by their bytes, and never with text": [
    [bytes(1, 2), bytes(1, 3), bytes()],
    [bytes(1, 3), bytes(), "", bytes(1, 3)],
    ["", bytes(1, 3)],
    false,
  ],
  "knows an empty message": [["a", ""], ["", "b"], ["b"], false],
};

for (const [title, [known, sent, shown, warned]] of Object.entries(CASES)) {
  Deno.test(`overlap ${title}`, () => {
    assertEquals(comeBack(known, sent), { shown, warned });
  });
}

Deno.test("overlap holds messages back no longer than they are known", () => {
  const verdicts = (known: string, sent: string) => [...sent].map(overlap(letters(known)));
  assertEquals(verdicts("abcabd", "abd"), ["wait", "wait", "met"]);
  assertEquals(verdicts("abcabd", "abx"), ["wait", "wait", "none"]);
  assertEquals(verdicts("abcabd", "x"), ["none"]);
  assertEquals(verdicts("aaa", "a"), ["none"]);
});

Deno.test("unmistakable counts the messages that mark the end", () => {
  const counts = ["", "a", "ab", "aa", "abb", "xaya", "xayaxbya", "aaaaaaab", "abab", "cababab"];
  assertEquals(
    counts.map((known) => unmistakable(letters(known))),
    [0, 1, 1, 0, 2, 2, 3, 1, 0, 0],
  );
});

/** A stream of few different messages, of which a client knows a piece and is sent all from a place on. */
const returns = fc.record({
  stream: fc.array(fc.constantFrom<Message>("a", "b", "c", bytes(0), bytes(1)), { minLength: 1 }),
  cuts: fc.array(fc.nat(), { minLength: 3, maxLength: 3 }),
}).map(({ stream, cuts }) => {
  const [first, from, end] = cuts.map((cut) => cut % (stream.length + 1)).sort((a, b) => a - b);
  return { stream, first, from, end };
});

const RUNS = { numRuns: 3000 };

Deno.test("overlap that is long enough shows all that is new, once, and never warns", () => {
  fc.assert(
    fc.property(returns, ({ stream, first, from, end }) => {
      const known = stream.slice(first, end);
      const least = unmistakable(known);
      fc.pre(least > 0);
      const sent = stream.slice(Math.min(from, end - least));
      assertEquals(comeBack(known, sent), { shown: stream.slice(end), warned: false });
    }),
    RUNS,
  );
});

Deno.test("overlap hides only what repeats the end word for word, and else warns", () => {
  const outcomes = { met: 0, none: 0 };
  fc.assert(
    fc.property(returns, fc.integer({ min: -3, max: 3 }), ({ stream, first, end }, missed) => {
      const known = stream.slice(first, end), sent = stream.slice(Math.max(0, end + missed));
      const least = unmistakable(known);
      const fits = [...known.keys()].map((start) => known.length - start).filter((count) =>
        least > 0 && count >= least && equal(known.slice(-count), sent.slice(0, count))
      );
      assert(fits.length <= 1, `${fits} would all do`);
      outcomes[fits.length ? "met" : "none"]++;
      const [hidden = 0] = fits;
      assertEquals(comeBack(known, sent), {
        shown: sent.slice(hidden),
        warned: fits.length === 0,
      });
    }),
    RUNS,
  );
  assert(Math.min(outcomes.met, outcomes.none) > RUNS.numRuns / 10, "there were enough of both");
});

function equal(some: Message[], others: Message[]): boolean {
  const text = (message: Message) =>
    typeof message === "string" ? message : `bytes ${new Uint8Array(message)}`;
  return some.map(text).join() === others.map(text).join();
}
