import { assert } from "@std/assert";
import { chaos } from "./chaos.ts";

for (const transport of ["native", "ws"] as const) {
  Deno.test(`relay on ${transport} survives ten seconds of chaos, and ten clients notice nothing`, async () => {
    const { evictions } = await chaos(transport, 10);
    for (const reason of ["rate", "too_big", "error"]) assert(evictions[reason] > 0, reason);
  });
}
