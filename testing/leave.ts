/**
 * The check for every way in which a client can leave.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import type { Eviction } from "../hub.ts";
import type { Relay } from "../relay.ts";
import { connect } from "./client.ts";
import { RawClient } from "./raw_client.ts";
import { until } from "./wait.ts";

/** Ends one of two clients, and checks that the relay counts it once and continues to relay. */
export async function expectOneLeave(
  relay: Relay,
  end: (client: RawClient) => void,
  eviction: Eviction | null,
): Promise<void> {
  await using bob = await connect(relay);
  using alice = await RawClient.join(relay);
  await until(() => relay.stats().connected === 2, "both to join");
  end(alice);
  await until(() => relay.stats().connected === 1, "alice to leave");
  bob.send("still here");
  assertEquals(await bob.next(), "still here");
  alice.reset();
  bob.send("and now");
  assertEquals(await bob.next(), "and now");
  const { connections, disconnections, evictions } = relay.stats();
  assertEquals([connections, disconnections], [2, 1]);
  const none = {
    slow: 0,
    rate: 0,
    too_big: 0,
    role: 0,
    expired: 0,
    idle: 0,
    gap: 0,
    cluster: 0,
    error: 0,
  };
  assertEquals(evictions, eviction ? { ...none, [eviction]: 1 } : none);
}
