import { OPCODE } from "../../testing/raw_client.ts";
import {
  type Answer,
  binary,
  type Case,
  check,
  chop,
  fragments,
  text,
} from "../../testing/rfc6455.ts";
import { startRelay } from "../../testing/start.ts";
import { until } from "../../testing/wait.ts";

const KIB = 1024, MIB = 1024 * KIB;

/** Group 9 of the Autobahn test suite, once for text and once for binary messages. */
function casesOf(kind: "text" | "binary"): Case[] {
  const opcode = OPCODE[kind], message = kind === "text" ? text : binary;
  const group = (of: number) => `9.${kind === "text" ? of : of + 1}`;
  const body = (bytes: number) => "BAsd7&jh23".repeat(Math.ceil(bytes / 10)).slice(0, bytes);
  const answer = (bytes: number) => ({ [kind]: body(bytes) }) as Answer;
  return [
    ...[64 * KIB, 256 * KIB, MIB, 4 * MIB, 8 * MIB, 16 * MIB].map((bytes, i): Case => [
      `${group(1)}.${i + 1}`,
      [[message(body(bytes))], [answer(bytes)]],
    ]),
    ...[64, 256, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB].map((
      piece,
      i,
    ): Case => [
      `${group(3)}.${i + 1}`,
      [fragments(opcode, body(4 * MIB), piece), [answer(4 * MIB)]],
    ]),
    ...[64, 128, 256, 512, KIB, 2 * KIB].map((piece, i): Case => [
      `${group(5)}.${i + 1}`,
      [chop([message(body(MIB))], piece), [answer(MIB)]],
    ]),
    ...[0, 16, 64, 256, KIB, 4 * KIB].map((bytes, i): Case => [
      `${group(7)}.${i + 1}`,
      ...Array.from({ length: 1000 }, (): [Uint8Array[], Answer[]] => [
        [message(body(bytes))],
        [answer(bytes)],
      ]),
    ]),
  ];
}

for (const kind of ["text", "binary"] as const) {
  Deno.test(`ws passes the cases of Autobahn's group 9, ${kind}`, async () => {
    const max_message_bytes = 16 * MIB, max_backlog_bytes = 32 * MIB;
    await using relay = await startRelay({
      server: { transport: "ws" },
      limits: { max_message_bytes, max_backlog_bytes },
    });
    for (const each of casesOf(kind)) {
      await check(relay, each);
      await until(() => relay.stats().connected === 0, `the client of case ${each[0]} to leave`);
    }
  });
}
