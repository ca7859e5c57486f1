import { assert, assertEquals } from "@std/assert";
import { Pace, type Situation, type Straggler } from "./pace.ts";

/** Checks every millisecond until the head may move on, for up to 60 s, and returns how long that took. */
function pauseOf(pace: Pace, situation: () => Situation, at: number): number {
  for (let passed = 0; passed < 60_000; passed++) {
    pace.tick(at + passed, 1);
    if (pace.mayMoveOn(situation())) return passed;
  }
  return Infinity;
}

function setUp() {
  const pace = new Pace();
  pace.tick(0, 1);
  return pace;
}

const situation = (
  ready: number,
  stragglers: Straggler[],
  bystanders: number | null = null,
): Situation => ({ ready, stragglers, bystanders: () => bystanders });

/** Members that have just accepted data at every check. */
const taking = (pace: Pace, count: number, falling = true): Straggler[] =>
  Array.from({ length: count }, () => ({ tookAt: pace.now, laggedAt: 0, falling }));

Deno.test("Pace lets the head move on while no member lags", () => {
  assertEquals(pauseOf(setUp(), () => situation(3, []), 1), 0);
  assertEquals(pauseOf(setUp(), () => situation(0, []), 1), 0);
});

Deno.test("Pace does not wait for a member that has not accepted data for long", () => {
  const pace = setUp();
  const stuck = { tookAt: -1000, laggedAt: -1000, falling: true };
  assertEquals(pauseOf(pace, () => situation(1, [stuck, stuck, stuck]), 1), 0);
});

Deno.test("Pace holds the head for a crowd as long as it accepts data", () => {
  const pace = setUp();
  assertEquals(pauseOf(pace, () => situation(1, taking(pace, 2)), 1), Infinity);
  const last = taking(pace, 2);
  const paused = pauseOf(pace, () => situation(1, last), 60_001);
  assert(paused >= 20 && paused < 150, `${paused}`);
});

Deno.test("Pace waits for a few members while its budget lasts, and the budget recovers slowly", () => {
  const pace = setUp();
  const first = pauseOf(pace, () => situation(9, taking(pace, 1)), 1);
  assert(first >= 1000 && first < 1100, `${first}`);
  const second = pauseOf(pace, () => situation(9, taking(pace, 1)), first + 2);
  assert(second <= 1, `${second}`);
  const later = pauseOf(pace, () => situation(9, taking(pace, 1)), first + 20_002);
  assert(later >= 180 && later <= 250, `${later}`);
});

Deno.test("Pace does not wait for members that lag without falling off the log", () => {
  const pace = setUp();
  assertEquals(pauseOf(pace, () => situation(9, taking(pace, 5, false)), 1), 0);
});

Deno.test("Pace holds a flood back for slow lines if that delays only the sender of the flood", () => {
  const pace = setUp();
  const line = { tookAt: pace.now, laggedAt: 0, falling: true };
  const paused = pauseOf(pace, () => situation(1, [line], 0), 1);
  assert(paused > 4900 && paused < 5100, `${paused}`);
});

Deno.test("Pace holds a flood back for 1 s for a stuck member, longer for one that accepted data", () => {
  const stuck = { tookAt: -Infinity, laggedAt: 0, falling: true };
  const forStuck = pauseOf(setUp(), () => situation(9, [stuck], 8), 1);
  assert(forStuck > 900 && forStuck < 1100, `${forStuck}`);
  const slow = { tookAt: 0, laggedAt: 0, falling: true };
  const forSlow = pauseOf(setUp(), () => situation(9, [slow], 8), 1);
  assert(forSlow > 4900 && forSlow < 5100, `${forSlow}`);
});

Deno.test("Pace does not count time during which the process stood still", () => {
  const pace = setUp();
  const member = { tookAt: pace.now, laggedAt: 0, falling: true };
  pace.tick(10_000, 1);
  assert(!pace.mayMoveOn(situation(1, [member])));
});
