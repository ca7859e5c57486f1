import { Buffer } from "node:buffer";
import { OPCODE } from "../../testing/raw_client.ts";
import {
  type Answer,
  binary,
  type Case,
  check,
  chop,
  closing,
  fragments,
  frame,
  more,
  ping,
  pong,
  type Shape,
  type Step,
  text,
} from "../../testing/rfc6455.ts";
import { startRelay } from "../../testing/start.ts";
import { until } from "../../testing/wait.ts";

// What the Autobahn test suite asks in its groups 1 to 7, 9 and 10, written anew from RFC 6455; the numbers
// are those of its cases. Group 9 is in rfc6455_slow_test.ts.

const BREACH: Answer[] = [{ close: 1002 }], NO_TEXT: Answer[] = [{ close: 1007 }];
const unfinished: Shape = { fin: false };

const sizes = [0, 125, 126, 127, 128, 65_535, 65_536];
const FRAMING: Case[] = [
  ...sizes.map((
    size,
    i,
  ): Case => [`1.1.${i + 1}`, [[text("*".repeat(size))], [{ text: "*".repeat(size) }]]]),
  ["1.1.8", [chop([text("*".repeat(65_536))], 997), [{ text: "*".repeat(65_536) }]]],
  ...sizes.map((size, i): Case => [
    `1.2.${i + 1}`,
    [[binary(Buffer.alloc(size, 0xfe))], [{ binary: "\xfe".repeat(size) }]],
  ]),
  ["1.2.8", [chop([binary(Buffer.alloc(65_536, 0xfe))], 997), [{ binary: "\xfe".repeat(65_536) }]]],
];

const bytes = Buffer.from([0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff]);
const long = Buffer.alloc(125, 0xfe);
const ten = Array.from({ length: 10 }, (_, i) => `payload-${i}`);
const PINGS: Case[] = [
  ["2.1", [[ping()], [{ pong: "" }]]],
  ["2.2", [[ping("Hello, world!")], [{ pong: "Hello, world!" }]]],
  ["2.3", [[ping(bytes)], [{ pong: bytes.toString("latin1") }]]],
  ["2.4", [[ping(long)], [{ pong: long.toString("latin1") }]]],
  ["2.5", [[ping(Buffer.alloc(126, 0xfe))], BREACH]],
  ["2.6", [chop([ping(long)], 1), [{ pong: long.toString("latin1") }]]],
  ["2.7", [[pong()], []]],
  ["2.8", [[pong("unsolicited")], []]],
  ["2.9", [[pong("unsolicited"), ping("ping")], [{ pong: "ping" }]]],
  ["2.10", [ten.map((body) => ping(body)), ten.map((pong) => ({ pong }))]],
  ["2.11", [chop(ten.map((body) => ping(body)), 1), ten.map((pong) => ({ pong }))]],
];

const hello: Step = [[text("Hello")], [{ text: "Hello" }]];
const RESERVED: Case[] = [
  ["3.1", [[text("x", { reserved: 1 })], BREACH]],
  ["3.2", hello, [[text("x", { reserved: 2 }), ping()], BREACH]],
  ["3.3", hello, [[text("x", { reserved: 3 }), ping()], BREACH]],
  ["3.4", hello, [chop([text("x", { reserved: 4 }), ping()], 1), BREACH]],
  ["3.5", [[binary("x", { reserved: 5 })], BREACH]],
  ["3.6", [[ping("x", { reserved: 6 })], BREACH]],
  ["3.7", [[frame(OPCODE.close, "", { reserved: 7 })], BREACH]],
];

const OPCODES: Case[] = [3, 11].flatMap((first, group): Case[] => [
  [`4.${group + 1}.1`, [[frame(first)], BREACH]],
  [`4.${group + 1}.2`, [[frame(first + 1, "payload")], BREACH]],
  [`4.${group + 1}.3`, hello, [[frame(first + 2), ping()], BREACH]],
  [`4.${group + 1}.4`, hello, [[frame(first + 3, "payload"), ping()], BREACH]],
  [`4.${group + 1}.5`, hello, [chop([frame(first + 4, "payload"), ping()], 1), BREACH]],
]);

const twoPieces = [text("fragment1", unfinished), more("fragment2")];
const both: Answer = { text: "fragment1fragment2" };
const withPing = [twoPieces[0], ping("ping"), twoPieces[1]];
const five = [
  text("fragment1", unfinished),
  more("fragment2", unfinished),
  ping("pongme 1!"),
  more("fragment3", unfinished),
  more("fragment4", unfinished),
  ping("pongme 2!"),
  more("fragment5"),
];
const fiveAnswers: Answer[] = [
  { pong: "pongme 1!" },
  { pong: "pongme 2!" },
  { text: [1, 2, 3, 4, 5].map((i) => `fragment${i}`).join("") },
];
const FRAGMENTS: Case[] = [
  ["5.1", [[ping("fragment1", unfinished), more("fragment2")], BREACH]],
  ["5.2", [[pong("fragment1", unfinished), more("fragment2")], BREACH]],
  ["5.3", [[Buffer.concat(twoPieces)], [both]]],
  ["5.4", [twoPieces, [both]]],
  ["5.5", [chop(twoPieces, 1), [both]]],
  ["5.6", [[Buffer.concat(withPing)], [{ pong: "ping" }, both]]],
  ["5.7", [withPing, [{ pong: "ping" }, both]]],
  ["5.8", [chop(withPing, 1), [{ pong: "ping" }, both]]],
  ["5.9", [[Buffer.concat([more("non-continuation"), text("Hello")])], BREACH]],
  ["5.10", [[more("non-continuation"), text("Hello")], BREACH]],
  ["5.11", [chop([more("non-continuation"), text("Hello")], 1), BREACH]],
  ["5.12", [[Buffer.concat([more("non-continuation", unfinished), text("Hello")])], BREACH]],
  ["5.13", [[more("non-continuation", unfinished), text("Hello")], BREACH]],
  ["5.14", [chop([more("non-continuation", unfinished), text("Hello")], 1), BREACH]],
  ["5.15", [twoPieces, [both]], [[more("fragment3", unfinished), text("fragment4")], BREACH]],
  ["5.16", [[more("fragment1", unfinished), more("fragment2")], BREACH]],
  ["5.17", [[more("fragment1"), more("fragment2")], BREACH]],
  ["5.18", [[text("fragment1", unfinished), text("fragment2")], BREACH]],
  ["5.19", [five, fiveAnswers]],
  ["5.20", [chop(five, 7), fiveAnswers]],
];

const hex = (digits: string) => Buffer.from(digits.replaceAll(" ", ""), "hex");
const cosme = "κόσμε", cosmeBytes = Buffer.from(cosme);
const surrogate = Buffer.concat([cosmeBytes, hex("eda080"), Buffer.from("edited")]);
const mixed = "Hello-µ@ßöäüàá-UTF-8!!";

/** Sequences of groups 6.5 to 6.23 (Markus Kuhn's), and whether they are UTF-8. */
const SEQUENCES: [group: string, valid: boolean, sequences: string][] = [
  ["6.5", true, "cebae1bdb9cf83cebcceb5 68656c6c6f24776f726c64 68656c6c6fc2a2776f726c64"],
  ["6.5", true, "68656c6c6fe282ac776f726c64 68656c6c6ff0a4ada2776f726c64"],
  ["6.6", false, "ce cebae1 cebae1bd cebae1bdb9cf cebae1bdb9cf83ce cebae1bdb9cf83cebcce"],
  ["6.6", true, "ceba cebae1bdb9 cebae1bdb9cf83 cebae1bdb9cf83cebc cebae1bdb9cf83cebcceb5"],
  ["6.7", true, "00 c280 e0a080 f0908080"],
  ["6.8", false, "f888808080 fc8480808080"],
  ["6.9", true, "7f dfbf efbfbf f48fbfbf"],
  ["6.10", false, "f7bfbfbf fbbfbfbfbf fdbfbfbfbfbf"],
  ["6.11", true, "ed9fbf ee8080 efbfbd f48fbfbf"],
  ["6.11", false, "f4908080"],
  ["6.12", false, "80 bf 80bf 80bf80 80bf80bf 80bf80bf80 80bf80bf80bf"],
  ["6.12", false, Array.from({ length: 64 }, (_, i) => (0x80 + i).toString(16)).join("")],
  ["6.13", false, "c020c120c220df20 e020e120ef20 f020f120f720 f820f920fb20 fc20fd20"],
  ["6.14", false, "c0 e080 f08080 f8808080 fc80808080 df efbf f7bfbf fbbfbfbf fdbfbfbfbf"],
  ["6.15", false, "c0e080f08080f8808080fc80808080dfefbff7bfbffbbfbfbffdbfbfbfbf"],
  ["6.16", false, "fe ff fefeffff"],
  ["6.17", false, "c0af e080af f08080af f8808080af fc80808080af"],
  ["6.18", false, "c1bf e09fbf f08fbfbf f887bfbfbf fc83bfbfbfbf"],
  ["6.19", false, "c080 e08080 f0808080 f880808080 fc8080808080"],
  ["6.20", false, "eda080 edadbf edae80 edafbf edb080 edbe80 edbfbf"],
  ["6.21", false, "eda080edb080 eda080edbfbf edadbfedb080 edadbfedbfbf"],
  ["6.21", false, "edae80edb080 edae80edbfbf edafbfedb080 edafbfedbfbf"],
  ["6.22", true, "efbfbe efbfbf f09fbfbe f09fbfbf f0afbfbe f0afbfbf f0bfbfbe f0bfbfbf"],
  ["6.22", true, "f18fbfbe f18fbfbf f19fbfbe f19fbfbf f1afbfbe f1afbfbf f1bfbfbe f1bfbfbf"],
  ["6.22", true, "f28fbfbe f28fbfbf f29fbfbe f29fbfbf f2afbfbe f2afbfbf f2bfbfbe f2bfbfbf"],
  ["6.22", true, "f38fbfbe f38fbfbf f39fbfbe f39fbfbf f3afbfbe f3afbfbf f3bfbfbe f3bfbfbf"],
  ["6.22", true, "f48fbfbe f48fbfbf"],
  ["6.23", true, "efbfb9 efbfba efbfbb efbfbc efbfbd efbfbe efbfbf"],
];
const UTF8: Case[] = [
  ["6.1.1", [[text("")], [{ text: "" }]]],
  ["6.1.2", [fragmentsOf("", "", ""), [{ text: "" }]]],
  ["6.1.3", [fragmentsOf("", "middle frame payload", ""), [{ text: "middle frame payload" }]]],
  ["6.2.1", [[text(mixed)], [{ text: mixed }]]],
  ["6.2.2", [fragmentsOf("Hello-µ@ßöä", "üàá-UTF-8!!"), [{ text: mixed }]]],
  ["6.2.3", [fragments(OPCODE.text, mixed, 1), [{ text: mixed }]]],
  ["6.2.4", [fragments(OPCODE.text, cosme, 1), [{ text: cosme }]]],
  ["6.3.1", [[text(surrogate)], NO_TEXT]],
  ["6.3.2", [fragments(OPCODE.text, surrogate, 1), NO_TEXT]],
  // Refused at the first wrong byte: what would complete the message never comes.
  ["6.4.1", [[text(cosmeBytes, unfinished), more(hex("f4908080"), unfinished)], NO_TEXT]],
  ["6.4.2", [[
    text(Buffer.concat([cosmeBytes, hex("f4")]), unfinished),
    more(hex("90"), unfinished),
  ], NO_TEXT]],
  ["6.4.3", [[upTo(text(surrogate), cosmeBytes.length + 3)], NO_TEXT]],
  ["6.4.4", [[upTo(text(surrogate), cosmeBytes.length + 2)], NO_TEXT]],
  ...SEQUENCES.flatMap(([group, valid, sequences]) =>
    sequences.split(" ").map((digits): Case => {
      const body = hex(digits);
      return [`${group} ${digits}`, [[text(body)], valid ? [{ text: body.toString() }] : NO_TEXT]];
    })
  ),
];

function fragmentsOf(...bodies: string[]): Buffer[] {
  return bodies.map((body, i) => (i === 0 ? text : more)(body, { fin: i === bodies.length - 1 }));
}

/** A frame whose payload stops after so many bytes. */
function upTo(frame: Buffer, payload: number): Buffer {
  return frame.subarray(0, 6 + payload);
}

const VALID = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999];
const INVALID = [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535];
const large = "BAsd7&jh23".repeat(26_214);
const CLOSING: Case[] = [
  ["7.1.1", hello, [[closing(1000)], [{ close: 1000 }]]],
  ["7.1.2", [[closing(1000), closing(1000)], [{ close: 1000 }]]],
  ["7.1.3", [[closing(1000), ping("late")], [{ close: 1000 }]]],
  ["7.1.4", [[closing(1000), text("late")], [{ close: 1000 }]]],
  ["7.1.5", [[text("fragment1", unfinished), closing(1000), more("fragment2")], [{ close: 1000 }]]],
  ["7.1.6", [[text(large)], [{ text: large }]], [[closing(1000), ping("late")], [{ close: 1000 }]]],
  ["7.3.1", [[closing()], [{ close: null }]]],
  ["7.3.2", [[frame(OPCODE.close, "a")], BREACH]],
  ["7.3.3", [[closing(1000)], [{ close: 1000 }]]],
  ["7.3.4", [[closing(1000, "Hello World!")], [{ close: 1000 }]]],
  ["7.3.5", [[closing(1000, "*".repeat(123))], [{ close: 1000 }]]],
  ["7.3.6", [[closing(1000, "*".repeat(124))], BREACH]],
  ["7.5.1", [[closing(1000, surrogate)], NO_TEXT]],
  ...VALID.map((code, i): Case => [`7.7.${i + 1}`, [[closing(code)], [{ close: code }]]]),
  ...INVALID.map((code): Case => [`7.9 and 7.13, ${code}`, [[closing(code)], BREACH]]),
  ...[0, 999, 1005, 2999].map((
    code,
  ): Case => [`7.9, ${code}`, [[closing(code, "reason")], BREACH]]),
];

const CHOPPED: Case[] = [
  ["10.1.1", [fragments(OPCODE.text, "*".repeat(65_536), 1300), [{ text: "*".repeat(65_536) }]]],
];

const GROUPS: [what: string, cases: Case[]][] = [
  ["1, framing", FRAMING],
  ["2, pings and pongs", PINGS],
  ["3, reserved bits", RESERVED],
  ["4, opcodes", OPCODES],
  ["5, fragments", FRAGMENTS],
  ["6, UTF-8", UTF8],
  ["7, closing", CLOSING],
  ["10, fragments of one size", CHOPPED],
];
for (const [what, cases] of GROUPS) {
  Deno.test(`ws passes the ${cases.length} cases of Autobahn's group ${what}`, async () => {
    await using relay = await startRelay({ server: { transport: "ws" } });
    for (const each of cases) {
      await check(relay, each);
      await until(() => relay.stats().connected === 0, `the client of case ${each[0]} to leave`);
    }
  });
}
