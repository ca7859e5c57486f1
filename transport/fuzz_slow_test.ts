import { assert, assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { connect } from "../testing/client.ts";
import { Issuer } from "../testing/issuer.ts";
import { frame, OPCODE, RawClient } from "../testing/raw_client.ts";
import { EXTRAS, partsWith } from "../testing/requests.ts";
import { startRelay } from "../testing/start.ts";
import { sharedTempFolder } from "../testing/temp.ts";
import { until } from "../testing/wait.ts";

const { path: directory } = await sharedTempFolder();
const tokens = `${directory}/tokens`;
await Deno.writeTextFile(tokens, "secret\nsecret-too listen\n");
const keys = `${directory}/keys`;
const issuer = await Issuer.make("EdDSA", "key");
await Deno.writeTextFile(keys, JSON.stringify({ keys: [issuer.jwk] }));
const signed = await issuer.token({ role: "talk", rooms: ["/team/*", "/"] });

/** How many byte streams each transport is sent; more for a long search: `FUZZ_RUNS=20000 deno test -A transport/fuzz_slow_test.ts`. */
const RUNS = Number(Deno.env.get("FUZZ_RUNS") ?? 300);

for (const transport of ["native", "ws"] as const) {
  Deno.test(`relay on ${transport} admits no request without origin and token, and fails on none`, async () => {
    await using relay = await startRelay({
      server: {
        transport,
        auth_tokens_file: tokens,
        auth_keys_file: keys,
        allowed_origins: ["https://good.example"],
      },
      relay: { rooms: true },
    });
    const answers: Record<string, number> = {};

    /** Returns the status of the answer, 0 if there was none. */
    async function ask(request: Uint8Array): Promise<number> {
      using client = await RawClient.open(relay);
      const head = await client.ask(request, 1).catch(() => "");
      assert(!head.includes("secret"), head);
      const status = Number(head.split(" ")[1] ?? 0);
      answers[status] = (answers[status] ?? 0) + 1;
      assert(status < 500 || status === 503, head);
      return status;
    }
    const likely = fc.tuple(
      fc.record(partsWith(signed)),
      fc.oneof({ weight: 2, arbitrary: fc.constant([]) }, EXTRAS),
    );
    await fc.assert(
      fc.asyncProperty(likely, async ([{ method, path, ...headers }, extras]) => {
        const lines = [
          `${method.text} ${path.text} HTTP/1.1`,
          "Host: localhost",
          ...Object.values(headers).map(({ text }) => text),
          ...extras,
        ].filter(Boolean);
        const status = await ask(Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1"));
        const good = [method, path, ...Object.values(headers)].every((part) => part.good);
        if (!good) assert(status !== 101, lines.join("\n"));
        else if (extras.length === 0) assertEquals(status, 101, lines.join("\n"));
      }),
      { numRuns: 400 },
    );
    const { path, origin, token } = partsWith(signed);
    await fc.assert(
      fc.asyncProperty(path, origin, token, async (...parts) => {
        const [path, ...headers] = parts.map(({ text }) => text);
        if (path.includes("last=")) return; // Which makes no difference here.
        const head = [`POST ${path} HTTP/1.1`, "Host: localhost", "Content-Length: 0", ...headers];
        const status = await ask(Buffer.from(`${head.filter(Boolean).join("\r\n")}\r\n\r\n`));
        const good = parts.every((part) => part.good);
        const listens = headers.some((header) => header.endsWith("secret-too"));
        if (good) assertEquals(status, listens ? 403 : 204, head.join("\n"));
        else assert(status >= 400 && status < 500, head.join("\n"));
      }),
      { numRuns: 200 },
    );
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 200 }), async (bytes) => {
        assert(await ask(Buffer.concat([bytes, Buffer.from("\r\n\r\n")])) !== 101);
      }),
      { numRuns: 100 },
    );
    for (const status of [101, 204, 400, 401, 403, 405, 414, 426]) {
      assert(answers[status] > 0, `no ${status} among ${JSON.stringify(answers)}`);
    }
    await until(() => relay.stats().connected === 0, "all to leave");
  });

  Deno.test(`relay on ${transport} passes on only valid messages, whatever bytes a client sends`, async () => {
    const limit = 1000;
    await using relay = await startRelay({
      server: { transport },
      limits: { max_message_bytes: limit },
    });
    await using bob = await connect(relay);
    const seen = { whole: 0, broken: 0 };
    await fc.assert(
      fc.asyncProperty(fc.array(FRAMES, { maxLength: 6 }), MUTATIONS, async (frames, mutations) => {
        const bytes = mutate(Buffer.concat(frames), mutations);
        const alice = await RawClient.join(relay);
        try {
          await until(() => relay.stats().connected === 2, "alice to join");
          alice.send(bytes);
          alice.fin();
          await until(() => relay.stats().connected === 1, "alice to leave");
        } finally {
          alice.reset();
        }
        bob.send("that was all");
        const { messages, valid } = expected(bytes, limit, transport === "native");
        seen[valid ? "whole" : "broken"]++;
        const sent = `sent were ${Buffer.from(bytes).toString("hex")}`;
        for (let i = 0;; i++) {
          const message = await bob.next();
          if (message === "that was all") {
            if (valid) assertEquals(i, messages.length, `a valid message is missing; ${sent}`);
            break;
          }
          assertEquals(message, messages[i], sent);
        }
      }),
      // Without shrinking: what bob has not heard by then would be taken for the next case's.
      { numRuns: RUNS, endOnFailure: true },
    );
    assert(seen.whole > 20 && seen.broken > 20, JSON.stringify(seen));
    assertEquals(relay.stats().connected, 1);
  });
}

const PAYLOAD = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.string({ unit: "binary", maxLength: 60 }).map((text) => Buffer.from(text)),
  },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 140 }) },
  { weight: 1, arbitrary: fc.constantFrom(Buffer.alloc(999, "x"), Buffer.alloc(1001, "x")) },
);
const WHOLE = fc.tuple(fc.constantFrom(OPCODE.text, OPCODE.binary), PAYLOAD)
  .map(([opcode, payload]) => frame(opcode, payload));
const FRAGMENTED = fc.array(PAYLOAD, { minLength: 2, maxLength: 4 }).map((payloads) =>
  Buffer.concat(
    payloads.map((payload, i) =>
      frame(i === 0 ? OPCODE.binary : OPCODE.continuation, payload, {
        fin: i === payloads.length - 1,
      })
    ),
  )
);
const ANY = fc.tuple(
  fc.nat(15),
  PAYLOAD,
  fc.boolean(),
  fc.boolean(),
  fc.constantFrom(0, 0, 0, 1, 4),
)
  .map(([opcode, payload, fin, masked, reserved]) =>
    frame(opcode, payload, { fin, masked, reserved })
  );
const FRAMES = fc.oneof(
  { weight: 6, arbitrary: WHOLE },
  { weight: 2, arbitrary: FRAGMENTED },
  { weight: 1, arbitrary: ANY },
);
const MUTATIONS = fc.oneof(
  { weight: 2, arbitrary: fc.constant<[number, number][]>([]) },
  {
    weight: 1,
    arbitrary: fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 3 }),
  },
);

function mutate(bytes: Buffer, mutations: [at: number, value: number][]): Uint8Array {
  for (const [at, value] of mutations) if (bytes.length > 0) bytes[at % bytes.length] = value;
  return bytes;
}

/**
 * Reads the messages that a client's bytes hold up to the first breach of RFC 6455 or of the limit. A
 * lenient transport lets pass frames that are not masked (§5.1), pongs of any length (§5.5), and the
 * first fragment of a message in the middle of another one, which is then dropped (§5.4).
 */
function expected(all: Uint8Array, limit: number, lenient: boolean) {
  const bytes = Buffer.from(all);
  const messages: (string | Uint8Array)[] = [];
  let parts: Buffer[] | null = null, text: TextDecoder | null = null, decoded = "";
  let at = 0;
  const broken = { messages, valid: false };
  while (at < bytes.length) {
    if (bytes.length < at + 2) return broken;
    const fin = bytes[at] >= 0x80, opcode = bytes[at] & 0x0f, masked = bytes[at + 1] >= 0x80;
    let length = bytes[at + 1] & 0x7f;
    const control = opcode >= 8, known = [0, 1, 2, 8, 9, 10].includes(opcode);
    const tooLong = control && length > 125 && !(lenient && opcode === OPCODE.pong);
    if (bytes[at] & 0x70 || !known || (control && !fin) || tooLong) return broken;
    if (!masked && !lenient) return broken;
    at += 2;
    const more = length === 126 ? 2 : length === 127 ? 8 : 0;
    if (bytes.length < at + more + (masked ? 4 : 0)) return broken;
    if (more === 2) length = bytes.readUInt16BE(at);
    if (more === 8) length = Number(bytes.readBigUInt64BE(at));
    at += more;
    const mask = masked ? bytes.subarray(at, at += 4) : [0, 0, 0, 0];
    if (bytes.length < at + length) return broken;
    const payload = bytes.subarray(at, at += length).map((byte, i) => byte ^ mask[i % 4]);
    if (opcode === OPCODE.close) return broken;
    if (control) continue;
    const starts = opcode !== OPCODE.continuation;
    if (starts ? parts !== null && (fin || !lenient) : parts === null) return broken;
    if (starts) {
      parts = [];
      text = opcode === OPCODE.text
        ? new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
        : null;
      decoded = "";
    }
    parts!.push(Buffer.from(payload));
    try {
      decoded += text?.decode(payload, { stream: !fin }) ?? "";
    } catch {
      return broken;
    }
    const whole: Buffer = Buffer.concat(parts!);
    if (whole.length > limit && (fin || !lenient)) return broken;
    if (!fin) continue;
    messages.push(text ? decoded : new Uint8Array(whole));
    parts = null;
  }
  return { messages, valid: parts === null };
}
