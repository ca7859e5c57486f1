/**
 * Error messages about NATS that name the configuration key to check.
 *
 * @module
 */

import { JetStreamApiError } from "@nats-io/jetstream";
import { errors } from "@nats-io/transport-node";
import { engineOf, type ServerSettings } from "./session.ts";
import { StreamDiffers, type StreamSettings } from "./stream.ts";

/** Describes an error in one line, with the server and the key to check but without passwords. */
export function explain(error: unknown, settings: ServerSettings & StreamSettings): string {
  const { message } = error as Error;
  if (/^Cannot /.test(message)) return message; // It is complete already.
  return `Cannot use NATS at ${engineOf(settings)}: ${reasonOf(error, settings)}`;
}

/** Tells whether a problem may go away by itself, for example because a server is still starting. */
export function isPassing(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return error instanceof errors.TimeoutError || /^E[A-Z_]+$/.test(`${code}`) ||
    error instanceof JetStreamApiError && error.status === 503 && error.code !== NOT_ENABLED ||
    error instanceof errors.ConnectionError && error.message === "connection refused" ||
    error instanceof Error && error.message === "the connection broke";
}

/** Error codes of the server (from its errors.json). */
const NOT_ENABLED = 10076, NOT_ENABLED_FOR_ACCOUNT = 10039;

/** The explanations of errors from JetStream, by code. */
const API: Readonly<Record<number, (settings: StreamSettings) => string>> = {
  [NOT_ENABLED]: () => NO_JETSTREAM,
  [NOT_ENABLED_FOR_ACCOUNT]: () => "JetStream is not enabled for the account of cluster.servers",
  10065: ({ name }) =>
    `another stream takes the subject ${name} already; give cluster.name another value`,
  10074: ({ replicas }) => tooManyReplicas(replicas),
  10005: ({ replicas }) => tooManyReplicas(replicas),
  10023: tooLittleRoom,
  10028: tooLittleRoom,
  10047: tooLittleRoom,
};

const NO_JETSTREAM = "JetStream is not enabled on cluster.servers; nats-server enables it with -js";

function tooManyReplicas(replicas: number): string {
  return `cluster.replicas is ${replicas}, but there are fewer servers with JetStream`;
}

function tooLittleRoom({ max_bytes, storage }: StreamSettings): string {
  return `there is no room for cluster.max_bytes, ${max_bytes}, in cluster.storage, ${storage}`;
}

function reasonOf(error: unknown, settings: ServerSettings & StreamSettings): string {
  const { name, message, code, cause } = error as Error & { code?: unknown };
  if (cause instanceof errors.PermissionViolationError) return reasonOf(cause, settings);
  if (error instanceof StreamDiffers) return message;
  if (name === "JetStreamNotEnabled") {
    return cause instanceof JetStreamApiError ? reasonOf(cause, settings) : NO_JETSTREAM;
  }
  if (error instanceof JetStreamApiError) {
    return API[error.code]?.(settings) ?? `${message} (code ${error.code})`;
  }
  if (error instanceof errors.AuthorizationError) {
    return "it does not accept the user and password in cluster.servers, or cluster.credentials_file";
  }
  if (error instanceof errors.PermissionViolationError) {
    const subject = error.subject.startsWith("_INBOX.") ? "_INBOX.>" : error.subject;
    const what = error.operation === "publish" ? "publish" : "subscribe";
    return `its user may not ${what} to ${subject}; see cluster.servers or cluster.credentials_file`;
  }
  if (error instanceof errors.TimeoutError) return "no answer; see cluster.servers";
  if (/ENOTFOUND|EAI_/.test(`${code}`)) return "there is no such host; see cluster.servers";
  if (/support 'tls'/.test(message)) {
    return "it has no TLS; cluster.servers must begin with nats://";
  }
  if (/certificate|tls|ssl/i.test(`${message} ${code}`)) {
    return `its certificate is not trusted: ${message}; see cluster.tls_ca_file`;
  }
  return `${message}; see cluster.servers`;
}
