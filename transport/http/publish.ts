/**
 * Publishing without a WebSocket. On both transports, the body of a `POST` is one message.
 *
 * @module
 */

import { STATUS_CODE } from "@std/http";
import type { Seat } from "../../admission/admission.ts";
import type { Refusal, Rejection } from "../../admission/decision.ts";
import type { Membership, Posted } from "../../hub.ts";
import { settlesWithin } from "../../lib/timeout.ts";
import type { Answer } from "../transport.ts";
import { SLOWEST_LINE } from "../unread.ts";

/** The headers of a request that describe its body. */
export interface BodyHead {
  /** `Content-Type`. Every type but `application/octet-stream` is text. */
  readonly type: string | null;
  /** `Content-Length`. */
  readonly length: string | null;
}

/** The options of {@link Publisher}. */
export interface PublisherOptions<Message> {
  /** Accepts messages. */
  readonly members: Pick<Membership<Message, never>, "post">;
  /** The size of the largest message in bytes. */
  readonly maxMessageBytes: number;
  /** Called for each message that is refused. */
  countRejection(reason: Rejection): void;
  /** Converts a payload to a message. */
  message(payload: Uint8Array, binary: boolean): Message;
}

/** The most bytes of incomplete bodies that are held at a time. */
const MAX_ARRIVING_BYTES = 64 * 1024 * 1024;

/** The time that a body may take in addition to the transfer time on a slow line. */
const GRACE_SECONDS = 10;

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** Publishes the bodies of admitted requests. */
export class Publisher<Message> {
  readonly #options: PublisherOptions<Message>;
  #arriving = 0;

  /** Creates a publisher. */
  constructor(options: PublisherOptions<Message>) {
    this.#options = options;
  }

  /** Refuses a body that is too large by its `Content-Length`, before it is sent; otherwise returns `null`. */
  refuse({ length }: BodyHead): Answer | null {
    return Number(length) > this.#options.maxMessageBytes ? this.#count(this.#tooLarge) : null;
  }

  /** The time in seconds that a body may take. */
  get seconds(): number {
    return GRACE_SECONDS + this.#options.maxMessageBytes / SLOWEST_LINE;
  }

  /** Reads a body, publishes it, and returns the answer once the message has its place in the order. */
  async publish(seat: Seat, head: BodyHead, body: AsyncIterable<Uint8Array>): Promise<Answer> {
    const payload = await this.#read(body);
    if ("status" in payload) return this.#count(payload);
    const binary = isBinary(head.type);
    if (!binary && !isText(payload)) return this.#count(NO_TEXT);
    const { room, address } = seat, { members, message } = this.#options;
    const post = { room, address, message: message(payload, binary), bytes: payload.length };
    const outcome = await members.post(post);
    return outcome === "placed" ? PLACED : this.#count(REFUSALS[outcome]);
  }

  #count(refusal: Refusal): Refusal {
    this.#options.countRejection(refusal.reason);
    return refusal;
  }

  /** Reads a body, or returns the reason to refuse it. Stops reading when time or space runs out. */
  async #read(body: AsyncIterable<Uint8Array>): Promise<Uint8Array | Refusal> {
    const { maxMessageBytes } = this.#options;
    const pieces = new Pieces();
    let counted = 0;
    let problem: Refusal | null = LATE; // Until the body has ended.
    let givenUp = false;
    const reading = async () => {
      for await (const chunk of body) {
        if (givenUp) return; // Later chunks are no longer counted.
        counted += chunk.length;
        this.#arriving += chunk.length;
        if (counted > maxMessageBytes) problem = this.#tooLarge;
        else if (this.#arriving > MAX_ARRIVING_BYTES) problem = REFUSALS.full;
        if (problem !== LATE) return;
        pieces.add(chunk);
      }
      problem = null;
    };
    try {
      givenUp = !await settlesWithin(this.seconds, reading());
      return problem ?? pieces.joined;
    } finally {
      this.#arriving -= counted;
    }
  }

  get #tooLarge(): Refusal {
    const { maxMessageBytes } = this.#options;
    const body = `a message must have at most ${maxMessageBytes} bytes`;
    return refusal("bad_request", STATUS_CODE.ContentTooLarge, body);
  }
}

const PLACED: Answer = { status: STATUS_CODE.NoContent, headers: {}, body: "" };

const LATE = refusal(
  "bad_request",
  STATUS_CODE.RequestTimeout,
  "the body did not arrive in time",
);

const NO_TEXT = refusal(
  "bad_request",
  STATUS_CODE.BadRequest,
  "text must be UTF-8; send other bodies with Content-Type: application/octet-stream",
);

/** The answers to messages that did not get a place in the order. */
const REFUSALS: Readonly<Record<Exclude<Posted, "placed">, Refusal>> = {
  rate: refusal("per_ip", STATUS_CODE.TooManyRequests, "this address sends too many messages", 1),
  full: refusal("full", STATUS_CODE.ServiceUnavailable, "too many messages are waiting", 1),
  shutdown: refusal("draining", STATUS_CODE.ServiceUnavailable, "the relay is shutting down", 10),
  cluster: refusal(
    "cluster",
    STATUS_CODE.ServiceUnavailable,
    "the relay is cut off from its cluster",
    10,
  ),
};

function refusal(
  reason: Rejection,
  status: number,
  body: string,
  retryAfterSeconds?: number,
): Refusal {
  const headers: Refusal["headers"] = retryAfterSeconds === undefined
    ? {}
    : { "retry-after": `${retryAfterSeconds}` };
  return { reason, status, headers, body };
}

function isBinary(type: string | null): boolean {
  return type?.split(";")[0].trim().toLowerCase() === "application/octet-stream";
}

function isText(bytes: Uint8Array): boolean {
  try {
    utf8.decode(bytes);
    return true;
  } catch {
    return false;
  }
}

/** The received part of a body in one buffer, because each small chunk would take up hundreds of bytes. */
class Pieces {
  #bytes = new Uint8Array(0);
  #length = 0;

  get joined(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  add(chunk: Uint8Array): void {
    const length = this.#length + chunk.length;
    if (length > this.#bytes.length) {
      const before = this.joined;
      this.#bytes = new Uint8Array(Math.max(length, 2 * before.length));
      this.#bytes.set(before);
    }
    this.#bytes.set(chunk, this.#length);
    this.#length = length;
  }
}
