/**
 * A consumer of the stream, which is replaced as soon as anything is wrong with it.
 *
 * The server pushes messages to it without acknowledgements, with flow control and heartbeats. It is managed
 * here because the ordered consumers of the library stayed silent after accidents.
 *
 * @module
 */

import { AckPolicy, DeliverPolicy } from "@nats-io/jetstream";
import { createInbox, type Msg, nanos, type Subscription } from "@nats-io/transport-node";
import type { Session } from "./session.ts";

/** How often the server sends a heartbeat when there are no messages. */
const HEARTBEAT_MILLISECONDS = 1000;

/** The number of missed heartbeats after which the consumer is replaced. */
const MISSED_HEARTBEATS = 3;

/** The listener of a consumer. No method may throw. */
export interface ConsumerListener {
  /**
   * Called with the next message of the stream. Messages between two calls no longer exist.
   *
   * @param time When the servers stored the message, in nanoseconds of Unix time.
   */
  receive(sequence: number, time: string, payload: Uint8Array): void;
  /** Called once, when the consumer is no longer usable. The stream may still hold all messages. */
  broke(why: string): void;
}

/** A consumer. It delivers nothing until {@link Consumer.begin}. */
export class Consumer {
  readonly #session: Session;
  readonly #listener: ConsumerListener;
  readonly #subscription: Subscription;
  readonly #timer: ReturnType<typeof setInterval>;
  #early: Msg[] | null = [];
  #received = 0; // The number of messages, which is compared with the server's count.
  #silence = 0; // In heartbeats.
  #paused = false;
  #unanswered = ""; // The subject on which the server waits for permission to continue.
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
    // Ticks are counted because a process that was held up has yet to read what came meanwhile.
    this.#timer = setInterval(() => {
      if (++this.#silence >= MISSED_HEARTBEATS) this.#break("NATS fell silent");
    }, HEARTBEAT_MILLISECONDS);
  }

  /** Opens a consumer that begins with message `first` of the stream, or the next one that exists. */
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

  /** Starts delivering, with the messages that have arrived already. */
  begin(): void {
    const early = this.#early!;
    this.#early = null;
    early.forEach((message) => this.#take(message));
  }

  /** Stops answering flow control, so that the server pauses after the next few MiB. */
  pause(): void {
    this.#paused = true;
  }

  /** Lets the server continue. */
  resume(): void {
    this.#paused = false;
    this.#answer();
  }

  /** Closes the consumer. The server removes a consumer without subscribers. */
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

  /** Answers flow control (ADR-15 of NATS) and compares the numbers in a heartbeat with the received ones. */
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

/** The numbers that the server gives to a message. */
interface Numbers {
  readonly stream: number;
  readonly consumer: number;
  readonly time: string;
}

/** Reads the numbers of a message from the subject for its acknowledgement. */
function numbersOf(reply: string): Numbers | null {
  const tokens = reply.split(".");
  if (tokens[0] !== "$JS" || tokens[1] !== "ACK") return null;
  const at = tokens.length >= 11 ? 7 : 5; // Newer servers put the domain and the account before the stream.
  return { stream: Number(tokens[at]), consumer: Number(tokens[at + 1]), time: tokens[at + 2] };
}
