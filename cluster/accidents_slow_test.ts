import { assert, assertEquals } from "@std/assert";
import { findHole, OneOrder, storm } from "../testing/accidents.ts";
import { has } from "../testing/daemon.ts";

const here = await has("nats-server", "nats-server");

Deno.test({
  name:
    "relays of a cluster give each client a contiguous part of one order, whatever accidents happen",
  ignore: !here,
  async fn() {
    const { clients, messages } = await storm({ seconds: 12 });
    assert(clients > 24 && messages > 100, `${clients} clients, ${messages} messages`);
  },
});

Deno.test("OneOrder detects messages that are missing, repeated or out of order", () => {
  const whole = ["a 0", "b 0", "a 1", "c 0", "b 1"];
  const find = (list: string[]) => {
    const order = new OneOrder();
    assertEquals(order.add(whole), null);
    return order.add(list);
  };
  assertEquals(find(whole.slice(1, 4)), null);
  assertEquals(find([...whole.slice(2), "d 7"]), null);
  assertEquals(find(["a 0", "a 1"]), "after a 0 came b 0, and for somebody a 1");
  assertEquals(find(["d 0", "a 1"]), "before a 1 came b 0, and for somebody d 0");
  assertEquals(find(["b 0", "a 0"]), "after b 0 came a 1, and for somebody a 0");
  assertEquals(find(["b 1", "d 0", "b 1"]), "something was heard twice");
});

Deno.test("findHole detects sent messages that no client received", () => {
  const list = ["a 3", "b 0", "a 4", "b 2"];
  assertEquals(findHole(list, () => false), "b 2 came after b 0");
  assertEquals(findHole(list, (name) => name === "b"), null);
  assertEquals(findHole(list.toReversed(), () => true), "b 0 came after b 2");
});
