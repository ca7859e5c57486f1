/**
 * The hub alone, without sockets. `deno bench bench/hub_bench.ts` shows whether its code became slower.
 *
 * @module
 */

import { encodeTexts } from "../testing/encoded.ts";
import { Hub } from "../hub.ts";
import { ForgetfulConnection } from "../testing/fake_connection.ts";
import { endOfTurn } from "../testing/wait.ts";

const BATCH = 16;

function hubOf(members: number, options: { echo?: boolean; maxMessagesPerSecond?: number } = {}) {
  const hub = new Hub<string, string>({
    encode: encodeTexts,
    maxMessageBytes: 1024,
    maxBacklogBytes: 65536,
    ...options,
  });
  const joined = Array.from({ length: members }, () => hub.join(new ForgetfulConnection("fake")));
  return { hub, sender: joined[0] };
}

const message = "x".repeat(128);

for (const members of [1, 100, 10_000]) {
  const variants = {
    "": {},
    ", without echo": { echo: false },
    ", with a rate": { maxMessagesPerSecond: 1e9 },
  };
  for (const [variant, options] of Object.entries(variants)) {
    const { hub, sender } = hubOf(members, options);
    Deno.bench(`${BATCH} messages to ${members} members${variant}`, {
      group: `publish to ${members}`,
      baseline: variant === "",
    }, async () => {
      for (let i = 0; i < BATCH; i++) hub.publish(sender, message, message.length);
      await endOfTurn();
    });
  }
}

for (const members of [1, 100, 10_000]) {
  const { hub } = hubOf(members);
  Deno.bench(`join and leave, ${members} members`, { group: "join and leave" }, () => {
    hub.leave(hub.join(new ForgetfulConnection("fake")), "closed");
  });
}
