import type { MailServer } from "../backend/backend";
import type { MailTls } from "../bindings/MailTls";

export const ENCRYPTION: Record<MailTls, string> = {
  implicit: "TLS",
  starttls: "STARTTLS",
  none: "none, this machine only",
};

/** A server as it is being typed. */
export type Typed = { host: string; port: string; tls: MailTls };

/** As most of them speak it. */
export const untyped = (tls: MailTls): Typed => ({ host: "", port: "", tls });

/** What was typed, if anything. */
export function server({ host, port, tls }: Typed): MailServer | null {
  const name = host.trim();
  return name === "" ? null : { host: name, ...(port ? { port: Number(port) } : {}), tls };
}
