import { assert } from "@std/assert";
import { chaos, type ChaosReport } from "./chaos.ts";

/** The number of attempts, since other load on the machine can spoil the comparison of latencies. */
const TRIES = 2;

async function tryChaos(transport: "native" | "ws"): Promise<ChaosReport> {
  for (let i = 1;; i++) {
    try {
      return await chaos(transport, 10);
    } catch (error) {
      if (i === TRIES) throw error;
      console.warn(`chaos on ${transport} is tried again: ${(error as Error).message}`);
    }
  }
}

for (const transport of ["native", "ws"] as const) {
  Deno.test(`relay on ${transport} survives chaos without an effect on ten other clients`, async () => {
    const { evictions } = await tryChaos(transport);
    for (const reason of ["rate", "too_big", "error"]) assert(evictions[reason] > 0, reason);
  });
}
