/**
 * A model of the hub that consists of simple lists. The hub's property test compares both.
 *
 * @module
 */

import fc from "fast-check";
import type { Cause, HubOptions } from "../hub.ts";

/** The options that change which members receive a message. */
export type Policy = Required<Pick<HubOptions<string, string>, "echo" | "slowClient">>;

/** Any policy. */
export const POLICY: fc.Arbitrary<Policy> = fc.record({
  echo: fc.boolean(),
  slowClient: fc.constantFrom<Policy["slowClient"]>("disconnect", "drop"),
});

/** The backlog over which a member is slow. */
export const MAX_BACKLOG_BYTES = 100;

/** The events that can happen to a hub. Members are numbered in the order in which they join. */
export interface Subject {
  /** A client joins. */
  join(): void;
  /** A member sends a message, perhaps after it has left. */
  send(who: number, message: string): void;
  /** A member leaves, perhaps not for the first time. */
  leave(who: number, cause: Cause): void;
  /** A member has this backlog from now on. */
  hold(who: number, bytes: number): void;
  /** The turn ends, and all queued messages are sent. */
  turn(): void | Promise<void>;
  /** Returns its state. */
  outcome(): Outcome;
}

/** The state of a hub. */
export interface Outcome {
  /** The messages that each present or former member received, and its causes for leaving (at most one). */
  members: { heard: string[]; causes: Cause[] }[];
  /** The number of members. */
  connected: number;
  /** The number of accepted messages. */
  messages: number;
  /** The number of messages handed to a member. */
  deliveries: number;
  /** The number of messages skipped for a slow member. */
  dropped: number;
}

/** One event. `who` is taken modulo the number of members that have joined so far. */
export type Step =
  | { do: "join" }
  | { do: "turn" }
  | { do: "send"; who: number }
  | { do: "leave"; who: number; cause: Cause }
  | { do: "hold"; who: number; bytes: number };

const who = fc.nat(9);
const bytes = fc.constantFrom(0, 0, 1, MAX_BACKLOG_BYTES, 2 * MAX_BACKLOG_BYTES);
const cause = fc.constantFrom<Cause>("closed", "error", "idle");

/** Any sequence of events. */
export const STEPS: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 2, arbitrary: fc.constant<Step>({ do: "join" }) },
    { weight: 4, arbitrary: fc.constant<Step>({ do: "turn" }) },
    { weight: 8, arbitrary: fc.record({ do: fc.constant("send" as const), who }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("leave" as const), who, cause }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("hold" as const), who, bytes }) },
  ),
  { maxLength: 80, size: "max" },
);

/** Applies the same events and a final end of turn to all subjects, with a callback after each event. */
export async function perform(
  steps: readonly Step[],
  subjects: readonly Subject[],
  after: () => void,
): Promise<void> {
  let members = 0;
  for (const [i, step] of steps.entries()) {
    if (step.do === "join") members++;
    else if (members === 0) continue;
    for (const subject of subjects) await act(step, subject, members, `${i}`);
    after();
  }
  for (const subject of subjects) await subject.turn();
}

function act(step: Step, subject: Subject, members: number, message: string) {
  switch (step.do) {
    case "join":
      return subject.join();
    case "turn":
      return subject.turn();
    case "send":
      return subject.send(step.who % members, message);
    case "leave":
      return subject.leave(step.who % members, step.cause);
    case "hold":
      return subject.hold(step.who % members, step.bytes);
  }
}

/** A member in the model. */
class ModelMember {
  readonly heard: string[] = [];
  cause: Cause | null = null;
  held = 0;
  behind = false;
}

/** The model of a hub. */
export class HubModel implements Subject {
  /** The number of messages that were not sent back to their senders. */
  unechoed = 0;
  readonly #policy: Policy;
  readonly #members: ModelMember[] = [];
  #queue: { from: ModelMember; message: string }[] = [];
  #messages = 0;
  #dropped = 0;

  /** Creates the model of a hub without members. */
  constructor(policy: Policy) {
    this.#policy = policy;
  }

  join(): void {
    this.#members.push(new ModelMember());
  }

  send(who: number, message: string): void {
    const from = this.#members[who];
    if (from.cause !== null) return;
    this.#messages++;
    this.#queue.push({ from, message });
  }

  leave(who: number, cause: Cause): void {
    this.#members[who].cause ??= cause;
  }

  hold(who: number, bytes: number): void {
    this.#members[who].held = bytes;
  }

  turn(): void {
    if (this.#queue.length === 0) return; // No member is judged while there is nothing to send.
    for (const member of this.#present) this.#judge(member);
    for (const member of this.#present) this.#deliver(member);
    this.#queue = [];
  }

  outcome(): Outcome {
    const members = this.#members.map(({ heard, cause }) => ({
      heard,
      causes: cause ? [cause] : [],
    }));
    return {
      members,
      connected: this.#present.length,
      messages: this.#messages,
      deliveries: members.reduce((sum, { heard }) => sum + heard.length, 0),
      dropped: this.#dropped,
    };
  }

  get #present(): ModelMember[] {
    return this.#members.filter(({ cause }) => cause === null);
  }

  /** Treats a member as slow if its backlog is over the limit. */
  #judge(member: ModelMember): void {
    member.behind = member.held > MAX_BACKLOG_BYTES;
    if (member.behind && this.#policy.slowClient === "disconnect") member.cause = "slow";
  }

  #deliver(member: ModelMember): void {
    const due = this.#queue.filter(({ from }) => this.#policy.echo || from !== member);
    this.unechoed += this.#queue.length - due.length;
    if (member.behind) this.#dropped += due.length;
    else member.heard.push(...due.map(({ message }) => message));
  }
}
