/**
 * Whether the user of NATS may do all that a relay does: at the start, since what is forbidden later looks
 * like a server that does not answer.
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

/** The code of the server for a message that was to follow another one than it would. */
const WRONG_LAST_SEQUENCE = 10071;

/**
 * Tries to publish to the stream and to read it, and leaves nothing in it.
 *
 * @throws {Error} If that is not permitted.
 */
export async function checkPermissions(session: Session, info: StreamInfo): Promise<void> {
  const { name } = info.config, { sequence } = endOf(info);
  session.connection.publish(`$JS.FC.${name}.check`); // The answer comes before those that follow.
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
    // So the library calls a stream without a leader, too, and there was an answer about this one.
    if ((error as Error).name === "JetStreamNotEnabled") throw new errors.TimeoutError();
    throw error;
  }
}
