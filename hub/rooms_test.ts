import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Hub, type HubOptions, type Member } from "../hub.ts";
import { encodeTexts } from "../testing/encoded.ts";
import { FakeConnection } from "../testing/fake_connection.ts";
import { endOfTurn, until } from "../testing/wait.ts";

const MAX_BACKLOG_BYTES = 1000;

function setUp(changes: Partial<HubOptions<string, string>> = {}) {
  const hub = new Hub<string, string>({
    encode: encodeTexts,
    maxMessageBytes: 1e6,
    maxBacklogBytes: MAX_BACKLOG_BYTES,
    ...changes,
  });
  const join = (peer: string, room: string) => {
    const connection = new FakeConnection(peer, room);
    return { connection, member: hub.join(connection) };
  };
  const flushed = () => until(() => hub.stats().queuedMessages === 0, "the queues to be sent");
  return { hub, join, flushed };
}

Deno.test("Hub relays a message to all members of its sender's room, and to no others", async () => {
  const { hub, join } = setUp();
  const alice = join("alice", "/a"), bob = join("bob", "/b"), cathy = join("cathy", "/a");
  hub.publish(alice.member, "to a", 4);
  hub.publish(bob.member, "to b", 4);
  await endOfTurn();
  assertEquals([alice, cathy, bob].map(({ connection }) => connection.heard), [
    ["to a"],
    ["to a"],
    ["to b"],
  ]);
  const { connected, rooms, messages, deliveries } = hub.stats();
  assertEquals([connected, rooms, messages, deliveries], [3, 2, 2, 3]);
});

Deno.test("Hub keeps a room until its last member has left and all messages are delivered", async () => {
  const { hub, join } = setUp();
  const alice = join("alice", "/a");
  hub.publish(alice.member, "last words", 10);
  hub.leave(alice.member, "closed");
  assertEquals(hub.stats().rooms, 1);
  await endOfTurn();
  assertEquals([hub.stats().rooms, hub.stats().messages], [0, 1]);
  const bob = join("bob", "/a");
  assertEquals([bob.connection.heard, hub.stats().rooms], [[], 1]);
});

Deno.test("Hub does not hold up a room while another room waits for a slow member", async () => {
  const { hub, join, flushed } = setUp();
  const slow = [join("slow", "/a"), join("slower", "/a")], bob = join("bob", "/b");
  for (const { connection } of slow) connection.held = 2 * MAX_BACKLOG_BYTES;
  hub.publish(slow[0].member, "waits", 5);
  await endOfTurn();
  assertEquals(hub.stats().queuedMessages, 1);
  hub.publish(bob.member, "passes", 6);
  await endOfTurn();
  assertEquals([bob.connection.heard, hub.stats().queuedMessages], [["passes"], 1]);
  for (const { connection } of slow) connection.held = 0;
  await flushed();
  assertEquals(slow.map(({ connection }) => connection.heard), [["waits"], ["waits"]]);
});

Deno.test("Hub keeps reading from senders with little waiting, whatever waits in another room", async () => {
  const { hub, flushed } = setUp();
  const paused: string[] = [];
  const joinPausable = (peer: string, room: string) => {
    const connection = new FakeConnection(peer, room);
    return hub.join(Object.assign(connection, { pause: () => paused.push(peer), resume() {} }));
  };
  const flooders = Array.from({ length: 80 }, (_, i) => joinPausable(`flooder ${i}`, "/a"));
  for (const flooder of flooders) hub.publish(flooder, "", 1e6);
  assertEquals(paused.length, flooders.length);
  hub.publish(joinPausable("bob", "/b"), "", 1000);
  assert(!paused.includes("bob"));
  await flushed();
});

Deno.test("Hub closes, evicts and counts the members of all rooms", async () => {
  const { hub, join } = setUp();
  const members = ["/a", "/b", "/c"].map((room, i) => join(`${i}`, room));
  const { count, next } = hub.dismiss();
  next(1);
  assertEquals([count, members.filter(({ connection }) => connection.closes.length > 0).length], [
    3,
    1,
  ]);
  const closed = hub.close();
  const late = join("late", "/d");
  for (const { connection, member } of [...members, late]) {
    assertEquals(connection.closes, ["shutdown"]);
    hub.leave(member, "closed");
  }
  await closed;
  assertEquals(hub.terminate(), { closed: 4, terminated: 0 });
  assertEquals(hub.stats().rooms, 0);
});

Deno.test("Hub expels the members of all rooms and removes the rooms", () => {
  const { hub, join } = setUp();
  const members = ["/a", "/b"].map((room) => join("someone", room));
  const { count, next } = hub.expel("gap");
  next(count);
  assertEquals(members.map(({ connection }) => connection.closes), [["gap"], ["gap"]]);
  assertEquals([hub.stats().rooms, hub.stats().evictions.gap], [0, 2]);
});

type Step =
  | { do: "join"; room: number }
  | { do: "send" | "leave"; who: number }
  | { do: "turn" };

const who = fc.nat(20);
const STEPS = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: fc.record({ do: fc.constant("join" as const), room: fc.nat(3) }) },
    { weight: 8, arbitrary: fc.record({ do: fc.constant("send" as const), who }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("leave" as const), who }) },
    { weight: 4, arbitrary: fc.constant<Step>({ do: "turn" }) },
  ),
  { maxLength: 80, size: "max" },
);

Deno.test("a hub of many rooms does in each what a hub of its own would do", async () => {
  const run = async (echo: boolean, steps: Step[]) => {
    const one = setUp({ echo });
    const many = Array.from({ length: 4 }, () => setUp({ echo }));
    const members: { room: number; both: { connection: FakeConnection; member: Member }[] }[] = [];
    for (const [i, step] of steps.entries()) {
      if (step.do === "turn") await endOfTurn();
      else if (step.do === "join") {
        const { room } = step, peer = `${members.length}`;
        members.push({ room, both: [one, many[room]].map(({ join }) => join(peer, `/${room}`)) });
      } else if (members.length > 0) {
        const { room, both } = members[step.who % members.length];
        for (const [at, { hub }] of [one, many[room]].entries()) {
          const { member } = both[at];
          if (step.do === "send") hub.publish(member, `${i}`, 10);
          else hub.leave(member, "closed");
        }
      }
    }
    for (const { flushed } of [one, ...many]) await flushed();
    await endOfTurn(); // The turns of rooms that have become empty.
    for (const { both: [{ connection: mine }, { connection: model }] } of members) {
      assertEquals(mine.heard, model.heard);
    }
    const occupied = many.filter(({ hub }) => hub.size > 0);
    assertEquals(one.hub.stats().rooms, occupied.length);
  };
  await fc.assert(fc.asyncProperty(fc.boolean(), STEPS, run), { numRuns: 100 });
});
