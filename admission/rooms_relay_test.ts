import { assert, assertEquals, assertMatch } from "@std/assert";
import { closeAll, connect, connectAll, roomOf } from "../testing/client.ts";
import { Issuer } from "../testing/issuer.ts";
import { ask } from "../testing/raw_client.ts";
import { type Changes, startRelay } from "../testing/start.ts";
import { sharedTempFolder } from "../testing/temp.ts";
import { until } from "../testing/wait.ts";

const { path: directory } = await sharedTempFolder();
const issuer = await Issuer.make("EdDSA", "first");
const auth_keys_file = `${directory}/keys`;
await Deno.writeTextFile(auth_keys_file, JSON.stringify({ keys: [issuer.jwk] }));

for (const transport of ["native", "ws"] as const) {
  const start = ({ server, relay, ...rest }: Changes = {}) => {
    const changes = { server: { transport, ...server }, relay: { rooms: true, ...relay } };
    return startRelay({ ...rest, ...changes });
  };
  const get = (relay: { url: string }, target: string, headers = {}) =>
    ask(relay, headers, `GET ${target} HTTP/1.1`);

  Deno.test(`relay on ${transport} keeps rooms apart, and treats paths that decode alike as one room`, async () => {
    await using relay = await start();
    const root = await connect(relay);
    const [alice, bob] = await connectAll(roomOf(relay, "/caf%C3%A9/1"), 2);
    const cathy = await connect(roomOf(relay, "/%63afé/1?x=/2"));
    const dave = await connect(roomOf(relay, "/caf%C3%A9/1/"));
    alice.send("to the café");
    root.send("to the root");
    dave.send("with a slash at its end");
    for (const each of [alice, bob, cathy]) assertEquals(await each.next(), "to the café");
    assertEquals(await root.next(), "to the root");
    assertEquals(await dave.next(), "with a slash at its end");
    assertEquals([relay.stats().rooms, relay.stats().deliveries], [3, 5]);
    const clients = [root, alice, bob, cathy, dave];
    await closeAll(clients);
    await until(() => relay.stats().rooms === 0, "the rooms to go");
    assertEquals(clients.map(({ waiting }) => waiting), [0, 0, 0, 0, 0]);
  });

  Deno.test(`relay on ${transport} has only the room /, unless rooms are configured`, async () => {
    await using relay = await start({ relay: { rooms: false } });
    for (const target of ["/team", "//", "/./", "/%2e", "/%ff", `/${"x".repeat(300)}`]) {
      assertEquals((await get(relay, target)).status, 404, target);
    }
    assertEquals((await get(relay, "/?x=/team")).status, 101);
  });

  Deno.test(`relay on ${transport} refuses paths that cannot name a room, with the reason`, async () => {
    await using relay = await start();
    const dots = [
      "/.",
      "/..",
      "/a/../b",
      "/a/./b",
      "/a/%2e%2e/b",
      "/%2E",
      "/a/.%2e",
      "/a%2F..%2Fb",
      "/a%2f.",
    ];
    for (const target of dots) assertEquals((await get(relay, target)).status, 400, target);
    const unreadable = ["/%", "/%2", "/%zz", "/%ff", "/%C3", "/%ED%A0%80", "/%C0%AE"];
    for (const target of unreadable) assertEquals((await get(relay, target)).status, 400, target);
    assertEquals(relay.stats().rejections.bad_request, dots.length + unreadable.length);

    const longest = `/${"x".repeat(199)}`, wide = `/${"%C3%A9".repeat(99)}x`;
    for (const target of [longest, wide]) {
      assertEquals((await get(relay, target)).status, 101);
      assertEquals((await get(relay, `${target}x`)).status, 414);
    }
    for (const target of ["//", "/a//b", "/...", "/..a", "/a%20b", "/%00", "/%252e", "/*"]) {
      assertEquals((await get(relay, target)).status, 101, target);
    }
    for (const target of ["/healthz", "/%68ealthz", "/readyz"]) {
      assertEquals((await get(relay, target)).status, 200, target);
    }
  });

  Deno.test(`relay on ${transport} refuses one room too many, and admits clients to existing rooms`, async () => {
    await using relay = await start({ limits: { max_rooms: 2 } });
    const alice = await connect(roomOf(relay, "/a")), bob = await connect(roomOf(relay, "/b"));
    const { status, head } = await get(relay, "/c");
    assertEquals(status, 503);
    assertMatch(head, /\r\nretry-after: 10(\r\n|$)/);
    const cathy = await connect(roomOf(relay, "/b"));
    assertEquals([relay.stats().rejections.rooms, relay.stats().rooms], [1, 2]);
    await closeAll([bob, cathy]);
    await until(() => relay.stats().rooms === 1, "the room to go");
    await closeAll([alice, await connect(roomOf(relay, "/c"))]);
  });

  Deno.test(`relay on ${transport} never has too many rooms, even if many clients ask at once`, async () => {
    await using relay = await start({ limits: { max_rooms: 3 } });
    const clients = await Promise.allSettled(
      Array.from({ length: 20 }, (_, i) => connect(roomOf(relay, `/${i}`))),
    );
    const joined = clients.flatMap((each) => each.status === "fulfilled" ? [each.value] : []);
    assertEquals([joined.length, relay.stats().rejections.rooms], [3, 17]);
    await closeAll(joined);
  });

  Deno.test(`relay on ${transport} lets a signed token into its rooms, however they are written`, async () => {
    await using relay = await start({ server: { auth_keys_file } });
    const token = await issuer.token({ rooms: ["/team/*", "/a b"] });
    const statusOf = async (target: string) =>
      (await get(relay, target, { Authorization: `Bearer ${token}` })).status;
    for (const target of ["/team/", "/team/x/y", "/%74eam/x", "/a%20b", "/team%2Fx"]) {
      assertEquals(await statusOf(target), 101, target);
    }
    for (const target of ["/", "/team", "/Team/x", "/a%2520b", "/a%20b/", "//team/x"]) {
      assertEquals(await statusOf(target), 403, target);
    }
    for (const target of ["/team/../x", "/team/%2e%2e/x", "/team%2F..%2Fx"]) {
      assertEquals(await statusOf(target), 400, target);
    }
    assert(relay.stats().rejections.role === 6);
  });
}
