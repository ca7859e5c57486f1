/**
 * A consumer of the stream, which lives only as long as everything comes as it should.
 *
 * It is managed here, since the ordered consumers of the library stayed silent after accidents: pushed by
 * the server, not acknowledged, with flow control and heartbeats.
 *
 * @module
 */

import { AckPolicy, DeliverPolicy } from "@nats-io/jetstream";
import { createInbox, type Msg, nanos, type Subscription } from "@nats-io/transport-node";
import type { Session } from "./session.ts";

/** How often the server says that it is there when there is nothing else to say. */
const HEARTBEAT_MILLISECONDS = 1000;

/** So many heartbeats may be missed. */
const MISSED_HEARTBEATS = 3;

/** What a consumer tells; no method may throw. */
export interface ConsumerListener {
  /**
   * Takes the next message of the stream: all between two of them are gone.
   *
   * @param time When the servers took it in, in nanoseconds.
   */
  receive(sequence: number, time: string, payload: Uint8Array): void;
  /** Is told, once, that the consumer is of no more use, though the stream may hold everything. */
  broke(why: string): void;
}

/** A consumer; it is silent until {@link Consumer.begin}. */
export class Consumer {
  readonly #session: Session;
  readonly #listener: ConsumerListener;
  readonly #subscription: Subscription;
  readonly #timer: ReturnType<typeof setInterval>;
  #early: Msg[] | null = [];
  #received = 0; // The number of messages; the server counts them, too.
  #silence = 0; // In heartbeats.
  #paused = false;
  #unanswered = ""; // The subject on which the server waits to hear that it may go on.
  #closed = false;

  private constructor(session: Session, inbox: string, listener: ConsumerListener) {
    this.#session = session;
    this.#listener = listener;
    this.#subscription = session.connection.subscribe(inbox, {
      callback: (error, message) => {
        if (error) this.#break(error.message);
        else if (this.#early) this.#early.push(message);
        else this.#take(message);
      },
    });
    // Counted, not measured: a process that was held up has yet to read what came meanwhile.
    this.#timer = setInterval(() => {
      if (++this.#silence >= MISSED_HEARTBEATS) this.#break("NATS fell silent");
    }, HEARTBEAT_MILLISECONDS);
  }

  /** Opens a consumer for the messages of the stream from one on, or from the next that is there. */
  static async open(
    session: Session,
    stream: string,
    first: number,
    listener: ConsumerListener,
  ): Promise<Consumer> {
    const inbox = createInbox();
    const consumer = new Consumer(session, inbox, listener);
    try {
      await session.during(session.manager.consumers.add(stream, {
        deliver_subject: inbox,
        deliver_policy: DeliverPolicy.StartSequence,
        opt_start_seq: first,
        ack_policy: AckPolicy.None,
        flow_control: true,
        idle_heartbeat: nanos(HEARTBEAT_MILLISECONDS),
        mem_storage: true,
        num_replicas: 1,
      }));
      return consumer;
    } catch (error) {
      consumer.close();
      throw error;
    }
  }

  /** Hands over what came and what will come. */
  begin(): void {
    const early = this.#early!;
    this.#early = null;
    early.forEach((message) => this.#take(message));
  }

  /** Lets the server hold back what follows the next few MiB. */
  pause(): void {
    this.#paused = true;
  }

  /** Lets the server go on. */
  resume(): void {
    this.#paused = false;
    this.#answer();
  }

  /** Ends it; the server forgets a consumer that nobody listens to. */
  close(): void {
    this.#closed = true;
    clearInterval(this.#timer);
    this.#subscription.unsubscribe();
  }

  #take(message: Msg): void {
    if (this.#closed) return;
    this.#silence = 0;
    const numbers = numbersOf(message.reply ?? "");
    if (!numbers) return this.#takeStatus(message);
    if (numbers.consumer !== this.#received + 1) return this.#break("NATS skipped a message");
    this.#received++;
    this.#listener.receive(numbers.stream, numbers.time, message.data);
  }

  /** Answers flow control (ADR-15 of NATS), and compares what a heartbeat says was sent. */
  #takeStatus({ headers, reply }: Msg): void {
    if (headers?.code !== 100) return this.#break(`NATS says ${headers?.description ?? "nothing"}`);
    const sent = headers.get("Nats-Last-Consumer");
    if (sent !== "" && Number(sent) !== this.#received) return this.#break("NATS lost a message");
    this.#unanswered = headers.get("Nats-Consumer-Stalled") || reply || this.#unanswered;
    if (!this.#paused) this.#answer();
  }

  #answer(): void {
    if (this.#unanswered === "" || this.#session.connection.isClosed()) return;
    this.#session.connection.publish(this.#unanswered);
    this.#unanswered = "";
  }

  #break(why: string): void {
    if (this.#closed) return;
    this.close();
    this.#listener.broke(why);
  }
}

/** What the server says about a message. */
interface Numbers {
  readonly stream: number;
  readonly consumer: number;
  readonly time: string;
}

/** Reads the numbers of a message out of the subject for its acknowledgement. */
function numbersOf(reply: string): Numbers | null {
  const tokens = reply.split(".");
  if (tokens[0] !== "$JS" || tokens[1] !== "ACK") return null;
  const at = tokens.length >= 11 ? 7 : 5; // Newer servers put domain and account before the stream.
  return { stream: Number(tokens[at]), consumer: Number(tokens[at + 1]), time: tokens[at + 2] };
}
