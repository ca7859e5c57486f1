/**
 * Checks at the start whether the NATS user may do everything that a relay does. Later, a missing
 * permission would look like a server that does not answer.
 *
 * @module
 */

import { JetStreamApiError, type StreamInfo } from "@nats-io/jetstream";
import { errors } from "@nats-io/transport-node";
import { Consumer } from "./consumer.ts";
import type { Session } from "./session.ts";
import { endOf } from "./stream.ts";

/** A sequence that no stream has. */
const NO_SEQUENCE = Number.MAX_SAFE_INTEGER;

/** The server's error code for a message that does not follow the expected one. */
const WRONG_LAST_SEQUENCE = 10071;

/**
 * Tries to publish to the stream and to read it, without leaving anything in it.
 *
 * @throws {Error} If that is not permitted.
 */
export async function checkPermissions(session: Session, info: StreamInfo): Promise<void> {
  const { name } = info.config, { sequence } = endOf(info);
  session.connection.publish(`$JS.FC.${name}.check`); // It is answered before later requests.
  await session.during(tryToPublish(session, name));
  const deaf = { receive: () => {}, broke: () => {} };
  (await Consumer.open(session, name, sequence + 1, deaf)).close();
  if (session.forbidden) throw session.forbidden;
}

async function tryToPublish({ client }: Session, stream: string): Promise<void> {
  const expect = { streamName: stream, lastSequence: NO_SEQUENCE };
  try {
    await client.publish(stream, "", { expect });
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === WRONG_LAST_SEQUENCE) return;
    // The library uses this name for a stream without a leader, too, and this stream exists.
    if ((error as Error).name === "JetStreamNotEnabled") throw new errors.TimeoutError();
    throw error;
  }
}
