import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Memory, overlap, unmistakable } from "./overlap.js";

type Message = string | ArrayBuffer;

/** The messages that a client shows after its return, and whether it warns of a gap before them. */
interface Outcome {
  shown: Message[];
  warned: boolean;
}

/** Returns to the relay like the chat page, and gives up after the last message. */
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

/** Cases: the known messages, the sent ones, those that are shown, and whether there is a warning. */
const CASES: Record<
  string,
  [known: Message[], sent: Message[], shown: Message[], warned: boolean]
> = {
  "shows new messages": [letters("abcdef"), letters("efgh"), letters("gh"), false],
  "shows nothing if nothing is new": [letters("abcdef"), letters("def"), [], false],
  "recognises the end if all known messages arrive": [
    letters("abc"),
    letters("abcd"),
    ["d"],
    false,
  ],
  "shows all messages and warns if none of them is known": [
    letters("abc"),
    letters("xyz"),
    letters("xyz"),
    true,
  ],
  "shows all messages and warns if the relay has only some of the missed ones": [
    letters("abcabd"),
    letters("abxy"),
    letters("abxy"),
    true,
  ],
  "warns if nothing arrives": [letters("abc"), [], [], true],
  "warns if nothing is known": [[], letters("ab"), letters("ab"), true],
  "recognises a single known message": [["a"], letters("ab"), ["b"], false],
  "counts how often a message was repeated": [
    letters("wxyzbbb"),
    letters("bbbb"),
    ["b"],
    false,
  ],
  "does not mistake a repeated message for the end": [
    letters("xaya"),
    letters("aya"),
    letters(""),
    false,
  ],
  "shows too much rather than too little if the overlap is too short": [
    letters("xaya"),
    letters("ab"),
    letters("ab"),
    true,
  ],
  "does not guess if all messages are the same": [
    letters("aaaaaa"),
    letters("aaa"),
    letters("aaa"),
    true,
  ],
  "compares binary messages by their bytes and never with text": [
    [bytes(1, 2), bytes(1, 3), bytes()],
    [bytes(1, 3), bytes(), "", bytes(1, 3)],
    ["", bytes(1, 3)],
    false,
  ],
  "recognises an empty message": [["a", ""], ["", "b"], ["b"], false],
};

for (const [title, [known, sent, shown, warned]] of Object.entries(CASES)) {
  Deno.test(`overlap ${title}`, () => {
    assertEquals(comeBack(known, sent), { shown, warned });
  });
}

Deno.test("overlap holds messages back only while they are known", () => {
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

/** A stream of a few different messages. A client knows a part and is sent everything from a place on. */
const returns = fc.record({
  stream: fc.array(fc.constantFrom<Message>("a", "b", "c", bytes(0), bytes(1)), {
    minLength: 1,
    maxLength: 40,
    size: "max",
  }),
  cuts: fc.array(fc.nat(), { minLength: 3, maxLength: 3 }),
}).map(({ stream, cuts }) => {
  const [first, from, end] = cuts.map((cut) => cut % (stream.length + 1)).sort((a, b) => a - b);
  return { stream, first, from, end };
});

const RUNS = { numRuns: 3000 };

Deno.test("overlap that is long enough shows each new message once and never warns", () => {
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

Deno.test("overlap hides only an exact repetition of the end, and otherwise warns", () => {
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

/** Sends messages to a memory, and returns those that it shows, with a `!` where some may be missing. */
function take(memory: Memory, messages: string, now: number): string {
  return [...messages].map((message) => {
    const { messages, missing } = memory.take(message, now);
    return (missing ? "!" : "") + messages.join("");
  }).join("");
}

Deno.test("memory asks for the last messages until it knows when one was sent", () => {
  const memory = new Memory();
  assertEquals(memory.query(0), "last=50");
  memory.connected(0);
  assertEquals(take(memory, "ab", 100), "ab");
  assertEquals(memory.query(60_000), "last=5000", "they may be a week old");
  memory.settle(2000);
  assertEquals(take(memory, "c", 10_000), "c");
  assertEquals(memory.query(12_345), "since=8");
  const full = new Memory(2);
  full.connected(0);
  assertEquals(take(full, "ab", 100), "ab");
  assertEquals(full.query(60_000), "last=2", "the relay may have older ones, which are not known");
  assertEquals(memory.query(9000), "since=5", "the clock was set back");
});

Deno.test("memory asks for enough messages to recognise the end", () => {
  const query = (said: string) => {
    const memory = new Memory();
    memory.connected(0);
    memory.settle(2000);
    for (const [i, message] of [...said].entries()) take(memory, message, 10_000 + 1000 * i);
    return memory.query(20_000);
  };
  assertEquals(query("abcdefgh"), "since=8", "back to h");
  assertEquals(query("abcdhegh"), "since=9", "back to g");
  assertEquals(query("hhhhhhhh"), "since=8", "it will not recognise the end anyway");
});

Deno.test("memory asks for no less after messages came as a replay", () => {
  const memory = new Memory();
  memory.connected(0);
  memory.settle(2000);
  take(memory, "a", 10_000);
  memory.connected(100_000);
  assertEquals(take(memory, "abc", 100_100), "bc");
  assertEquals(memory.query(105_000), "since=100", "c may have been said right after a");
});

Deno.test("memory closes the gap over several breaks, even one during a replay", () => {
  const memory = new Memory();
  memory.connected(0);
  memory.settle(2000);
  assertEquals(take(memory, "hello", 5000), "hello");
  memory.connected(10_000);
  assertEquals(take(memory, "el", 10_100), "");
  memory.connected(11_000);
  assertEquals(take(memory, "ello", 11_100), "", "the end is known");
  assertEquals(take(memory, "you", 12_000), "you");
  memory.connected(20_000);
  assertEquals(memory.settle(22_000), { messages: [], missing: true, replayed: true });
  assertEquals(take(memory, "z", 23_000), "z");
});

Deno.test("memory shows the messages that it held back when nothing more arrives", () => {
  const memory = new Memory();
  memory.connected(0);
  take(memory, "abcd", 100);
  memory.connected(10_000);
  assertEquals(take(memory, "bc", 10_100), "");
  assertEquals(memory.settle(12_000), { messages: ["b", "c"], missing: true, replayed: true });
});

Deno.test("memory is bounded", () => {
  const memory = new Memory();
  memory.connected(0);
  memory.settle(2000);
  for (let count = 0; count < 20_000; count++) memory.take(`message ${count}`, 10_000);
  assertEquals(memory.size, 5000);
  for (let count = 0; count < 20; count++) memory.take(new ArrayBuffer(1024 * 1024), 10_000);
  assertEquals(memory.size, 4);
  memory.take("x".repeat(10 * 1024 * 1024), 10_000);
  assertEquals(memory.size, 1, "the last one stays");
});

/** The life of a client: another one sends one letter per second, while it listens or is away. */
const lives = fc.array(
  fc.record({
    away: fc.boolean(),
    said: fc.array(fc.constantFrom(..."abcde"), { maxLength: 20, size: "max" }),
  }),
  { minLength: 1, maxLength: 6 },
);

Deno.test("memory shows all messages once and in order, or warns but still loses none", () => {
  const outcomes = { exact: 0, warned: 0 };
  fc.assert(
    fc.property(lives, (life) => {
      const memory = new Memory(), stream: { letter: string; at: number }[] = [];
      let now = 0, shown = "", connected = false;
      const connect = () => {
        const [, name, value] = /^(last|since)=(\d+)$/.exec(memory.query(now))!;
        memory.connected(now);
        const replay = name === "last"
          ? stream.slice(-value)
          : stream.filter(({ at }) => at >= now - 1000 * Number(value));
        const letters = replay.map(({ letter }) => letter).join("");
        shown += take(memory, letters, now);
        const { messages, missing } = memory.settle(now + 2000);
        shown += (missing ? "!" : "") + messages.join("");
        now += 2000;
        connected = true;
      };
      connect();
      for (const { away, said } of [...life, { away: false, said: [] }]) {
        if (away) connected = false;
        else if (!connected) connect();
        for (const letter of said) {
          stream.push({ letter, at: now += 1000 });
          if (connected) shown += take(memory, letter, now);
        }
      }
      const all = stream.map(({ letter }) => letter).join("");
      const exact = !shown.includes("!");
      outcomes[exact ? "exact" : "warned"]++;
      if (exact) assertEquals(shown, all);
      else assert(new RegExp([...all].join(".*")).test(shown), `${shown} of ${all}`);
    }),
    RUNS,
  );
  assert(outcomes.exact > RUNS.numRuns / 5, `${outcomes.exact} lives without a warning`);
  assert(outcomes.warned > 0, "some were ambiguous");
});
