import { assert } from "@std/assert";
import { chaos, type ChaosReport } from "./chaos.ts";

/** How many tries the machine has to be quiet: latencies are compared while 200 clients share it. */
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
  Deno.test(`relay on ${transport} survives ten seconds of chaos, and ten clients notice nothing`, async () => {
    const { evictions } = await tryChaos(transport);
    for (const reason of ["rate", "too_big", "error"]) assert(evictions[reason] > 0, reason);
  });
}
