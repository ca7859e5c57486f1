/**
 * Certificates for tests, created with the openssl command.
 *
 * @module
 */

/** The files of one certificate. */
export interface CertificateFiles {
  /** The path of the certificate in PEM form. */
  cert_file: string;
  /** The path of its private key in PEM form. */
  key_file: string;
}

/** Creates a self-signed certificate for localhost and 127.0.0.1 in a directory. */
export async function makeCertificate(
  directory: string,
  name: string,
  days = 30,
): Promise<CertificateFiles> {
  const cert_file = `${directory}/${name}.pem`, key_file = `${directory}/${name}.key`;
  const { success, stderr } = await new Deno.Command("openssl", {
    args: [
      ..."req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost".split(
        " ",
      ),
      ..."-addext subjectAltName=DNS:localhost,IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE"
        .split(" "),
      ...["-days", `${days}`, "-keyout", key_file, "-out", cert_file],
    ],
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return { cert_file, key_file };
}
