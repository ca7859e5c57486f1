/**
 * The files for a NATS server that accepts only users with signed tokens, like those of the tool `nsc`: the
 * tokens of an operator and its accounts, and the `.creds` files of users.
 *
 * @module
 */

import { nkeys } from "@nats-io/transport-node";

/** The keys of an operator, an account or a user. */
type Keys = ReturnType<typeof nkeys.createUser>;

/** An operator with an account that may use JetStream. */
export class Operator {
  /** Its part of the server's configuration. */
  readonly config: string;
  readonly #account = nkeys.createAccount();

  constructor() {
    const operator = nkeys.createOperator(), system = nkeys.createAccount();
    const accounts = [[this.#account, { ...LIMITS, ...JETSTREAM }], [system, LIMITS]] as const;
    const preloaded = accounts.map(([account, limits]) =>
      `${account.getPublicKey()}: ${sign("account", account, operator, { limits })}`
    );
    this.config = `operator: ${sign("operator", operator, operator, {})}\n` +
      `system_account: ${system.getPublicKey()}\n` +
      `resolver: MEMORY\nresolver_preload: { ${preloaded.join(", ")} }\n`;
  }

  /** Writes the `.creds` file of a new user of the account. */
  makeCredentials(): string {
    const user = nkeys.createUser();
    const token = sign("user", user, this.#account, { subs: -1, data: -1, payload: -1 });
    const seed = new TextDecoder().decode(user.getSeed());
    return `-----BEGIN NATS USER JWT-----\n${token}\n------END NATS USER JWT------\n\n` +
      `-----BEGIN USER NKEY SEED-----\n${seed}\n------END USER NKEY SEED------\n`;
  }
}

/** The limits of an account and of JetStream; -1 means no limit. */
const LIMITS = {
  ...{ subs: -1, data: -1, payload: -1, imports: -1, exports: -1, wildcards: true },
  ...{ conn: -1, leaf: -1 },
};
const JETSTREAM = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };

/** Signs a token (nats-io/jwt, version 2). */
function sign(type: string, subject: Keys, issuer: Keys, nats: Record<string, unknown>): string {
  const claims = {
    jti: crypto.randomUUID(),
    iat: Math.floor(Date.now() / 1000),
    iss: issuer.getPublicKey(),
    name: type,
    sub: subject.getPublicKey(),
    nats: { ...nats, type, version: 2 },
  };
  const encoder = new TextEncoder();
  const parts = [{ typ: "JWT", alg: "ed25519-nkey" }, claims]
    .map((part) => encoder.encode(JSON.stringify(part)).toBase64(URL_SAFE));
  const signature = issuer.sign(encoder.encode(parts.join("."))).toBase64(URL_SAFE);
  return [...parts, signature].join(".");
}

const URL_SAFE = { alphabet: "base64url", omitPadding: true } as const;
