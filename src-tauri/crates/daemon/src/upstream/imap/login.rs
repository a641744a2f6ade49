//! From a TCP connection to one that is logged in.

use latch_core::classify::imap::capability;
use latch_core::classify::imap::reply::{Kind, Status, capabilities, status};
use latch_core::classify::imap::token::{Piece, Token, encode, pieces};
use latch_core::lease::Redeemed;
use zeroize::Zeroizing;

use super::wire::Wire;
use crate::upstream::origin::Scheme;
use crate::upstream::pool::Stream;
use crate::upstream::told::{self, Sent};
use crate::upstream::{AccountTarget, Fault, Upstream, UpstreamError, sasl};
use crate::vault::Credential;

const GREETING: usize = 64 * 1024;
/// How long a login may take in all, as a multiple of the longest silence: who drips answers is not waited for.
const LOGIN: u32 = 2;

impl Upstream {
    pub(super) async fn mail_connect(
        &self,
        account: &AccountTarget,
        redeemed: &Redeemed,
    ) -> Result<Wire, UpstreamError> {
        let mut wire = self.mail_greeted(account, redeemed).await?;
        let host = account.origin.authority();
        let signed_in = tokio::time::timeout(self.options.silence * LOGIN, self.sign_in(account, redeemed, &mut wire));
        let signed_in =
            signed_in.await.unwrap_or_else(|_| Err(Fault::Timeout { host, doing: "letting us in" }.unsent()));
        signed_in.map_err(|error| UpstreamError { sent: false, ..error })?;
        Ok(wire)
    }

    /// Connected, encrypted as the account says, and greeted: nothing of the credential was sent.
    pub(super) async fn mail_greeted(
        &self,
        account: &AccountTarget,
        redeemed: &Redeemed,
    ) -> Result<Wire, UpstreamError> {
        if !account.is_mail() {
            return Err(Fault::Unsendable("the account has no mail server".to_owned()).unsent());
        }
        let host = account.origin.authority();
        let connected = tokio::time::timeout(self.options.connect, self.mail_dial(account, redeemed)).await;
        connected
            .unwrap_or_else(|_| Err(Fault::Timeout { host, doing: "connecting" }.unsent()))
            .map_err(|error| UpstreamError { sent: false, ..error })
    }

    async fn mail_dial(&self, account: &AccountTarget, redeemed: &Redeemed) -> Result<Wire, UpstreamError> {
        let origin = &account.origin;
        let host = origin.authority();
        let (stream, epoch) = self.dial(origin).await?;
        let tls = async |stream| self.encrypt(&self.mail_tls, origin, (stream, epoch)).await;
        let scrub = account.access();
        match origin.scheme {
            Scheme::Imaps => {
                let mut wire = Wire::new(tls(stream).await?, host.clone(), self.options.silence, scrub);
                greeted(&mut wire).await?;
                Ok(wire)
            }
            Scheme::ImapStartTls => {
                let mut plain = Wire::new(Stream::Plain(stream), host.clone(), self.options.silence, None);
                greeted(&mut plain).await?;
                plain.write(redeemed, b"s STARTTLS\r\n").await?;
                let answer = plain.answer("s", GREETING).await?;
                if !answer.is_ok() {
                    let reason = format!("it does not start TLS: {}", told::cut(&answer.status.text));
                    return Err(Fault::Tls { host, reason }.unsent());
                }
                // What somebody in between put behind the answer would be taken for the server's words inside TLS (CVE-2011-0411).
                let Some(Stream::Plain(stream)) = plain.into_stream() else {
                    return Err(malformed(&host, "it said more than that TLS begins"));
                };
                Ok(Wire::new(tls(stream).await?, host.clone(), self.options.silence, scrub))
            }
            Scheme::Imap => {
                let mut wire = Wire::new(Stream::Plain(stream), host, self.options.silence, scrub);
                greeted(&mut wire).await?;
                Ok(wire)
            }
            Scheme::Http
            | Scheme::Https
            | Scheme::Smtp
            | Scheme::SmtpStartTls
            | Scheme::Smtps
            | Scheme::Sieve
            | Scheme::SieveStartTls
            | Scheme::Sieves => Err(Fault::NotPermitted.unsent()),
        }
    }

    async fn sign_in(
        &self,
        account: &AccountTarget,
        redeemed: &Redeemed,
        wire: &mut Wire,
    ) -> Result<(), UpstreamError> {
        // Whatever was said of capabilities before TLS and login is forgotten.
        wire.write(redeemed, b"c CAPABILITY\r\n").await?;
        let can = said(&wire.answer("c", GREETING).await?.untagged);
        let has = |one: &str| can.iter().any(|known| known == one);
        let host = wire.host().to_owned();
        let mut sent = Sent::default();
        let status = match &*account.credential {
            Credential::Password { username, password } => {
                sent.secret(password.expose());
                if has("AUTH=PLAIN") {
                    let plain = sasl::plain(username, password.expose());
                    sent.around(&plain);
                    authenticate(wire, redeemed, "PLAIN", &plain, has("SASL-IR")).await?
                } else {
                    let args = encode(&[Token::text(username.as_str()), Token::text(password.expose())]);
                    let args = Zeroizing::new(args.ok_or_else(|| Fault::NotPermitted.unsent())?);
                    login(wire, redeemed, &args).await?
                }
            }
            Credential::Bearer { .. } | Credential::OAuth2 { .. } => {
                let access = self.fresh(account, redeemed).await?;
                let (status, response) = oauth(wire, redeemed, account, &access, &can).await?;
                sent.secret(access.header().to_str().unwrap_or_default());
                sent.around(&response);
                wire.scrub_with(access);
                status
            }
        };
        if status.kind != Kind::Ok {
            return Err(not_in(host, &status, sent.without(&status.text)).unsent());
        }
        wire.write(redeemed, b"c CAPABILITY\r\n").await?;
        let can = said(&wire.answer("c", GREETING).await?.untagged);
        if !can.iter().any(|one| one == "IMAP4REV1" || one == "IMAP4REV2") {
            return Err(malformed(&host, "it does not speak IMAP4rev1"));
        }
        wire.capabilities = capability::of(can);
        Ok(())
    }
}

/// What a refusal says (RFC 9051 section 7.1). Whatever is not about the credential passes by itself: others may have all the connections that
/// the provider allows.
fn not_in(host: String, status: &Status, text: String) -> Fault {
    let code = status.code.as_deref().and_then(|code| code.split(' ').next()).unwrap_or_default().to_ascii_uppercase();
    let said = status.text.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let crowded = has(&["connection", "session"]) && has(&["too many", "maximum", "simultaneous", "exceed", "limit"]);
    match code.as_str() {
        _ if status.kind != Kind::No => Fault::Busy { host, text },
        "AUTHENTICATIONFAILED" | "AUTHORIZATIONFAILED" | "EXPIRED" => Fault::SignIn { host, text },
        // Gmail says both behind an ALERT: that an app password is needed, and that there are too many connections.
        "" | "ALERT" | "WEBALERT" if !crowded => Fault::SignIn { host, text },
        _ => Fault::Busy { host, text },
    }
}

fn malformed(host: &str, reason: &str) -> UpstreamError {
    Fault::Malformed { host: host.to_owned(), reason: reason.to_owned() }.unsent()
}

fn said(untagged: &[Vec<Token>]) -> Vec<String> {
    untagged.iter().rev().find_map(|tokens| capabilities(tokens)).unwrap_or_default()
}

async fn greeted(wire: &mut Wire) -> Result<(), UpstreamError> {
    let greeting = wire.response(GREETING).await?;
    let [Piece::Text(line)] = greeting.as_slice() else {
        return Err(malformed(wire.host(), "its greeting is none"));
    };
    match status(line).filter(|status| status.tag == "*").map(|status| (status.kind, status.text)) {
        Some((Kind::Ok, _)) => Ok(()),
        Some((Kind::Preauth, _)) => {
            Err(malformed(wire.host(), "it lets everybody in without a login (PREAUTH), so it is not trusted"))
        }
        Some((Kind::Bye, text)) => Err(malformed(wire.host(), &format!("it turns us away: {}", told::cut(&text)))),
        _ => Err(malformed(wire.host(), "its greeting is none")),
    }
}

async fn authenticate(
    wire: &mut Wire,
    redeemed: &Redeemed,
    mechanism: &str,
    response: &str,
    at_once: bool,
) -> Result<Status, UpstreamError> {
    let encoded = sasl::encoded(response);
    if at_once {
        let line = Zeroizing::new(format!("a AUTHENTICATE {mechanism} {}\r\n", *encoded));
        wire.write(redeemed, line.as_bytes()).await?;
    } else {
        wire.write(redeemed, format!("a AUTHENTICATE {mechanism}\r\n").as_bytes()).await?;
        if let Some(refused) = wire.go_ahead("a").await? {
            return Ok(refused);
        }
        let line = Zeroizing::new(format!("{}\r\n", *encoded));
        wire.write(redeemed, line.as_bytes()).await?;
    }
    // RFC 7628 section 3.2.3: a failure is explained in a challenge, which must be answered before the tagged NO comes.
    let empty: &[u8] = if mechanism == "OAUTHBEARER" { b"AQ==\r\n" } else { b"\r\n" };
    match wire.go_ahead("a").await? {
        Some(status) => Ok(status),
        None => {
            wire.write(redeemed, empty).await?;
            Ok(wire.answer("a", GREETING).await?.status)
        }
    }
}

async fn oauth(
    wire: &mut Wire,
    redeemed: &Redeemed,
    account: &AccountTarget,
    access: &crate::upstream::oauth::Access,
    can: &[String],
) -> Result<(Status, Zeroizing<String>), UpstreamError> {
    let bearer = access.header().to_str().map_err(|_| Fault::NotPermitted.unsent())?;
    let user = &account.user;
    let has = |one: &str| can.iter().any(|known| known == one);
    let at_once = has("SASL-IR");
    if has("AUTH=OAUTHBEARER") {
        let text = sasl::oauthbearer(user, &account.origin, bearer);
        Ok((authenticate(wire, redeemed, "OAUTHBEARER", &text, at_once).await?, text))
    } else {
        let text = sasl::xoauth2(user, bearer);
        Ok((authenticate(wire, redeemed, "XOAUTH2", &text, at_once).await?, text))
    }
}

async fn login(wire: &mut Wire, redeemed: &Redeemed, args: &[u8]) -> Result<Status, UpstreamError> {
    let parts = pieces(args).ok_or_else(|| Fault::NotPermitted.unsent())?;
    if let Some(refused) = wire.write_command(redeemed, "a", "LOGIN", &parts).await? {
        return Ok(refused);
    }
    Ok(wire.answer("a", GREETING).await?.status)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_what_is_about_the_credential_is_called_a_wrong_password() {
        for (line, signs_in) in [
            ("a NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)", true),
            ("a NO [AUTHORIZATIONFAILED] No such authorization-ID", true),
            ("a NO [EXPIRED] That password isn't valid any more", true),
            ("a NO LOGIN failed.", true),
            ("a NO [ALERT] Application-specific password required: https://support.google.com/", true),
            ("a NO [WEBALERT https://accounts.google.com/x] Web login required", true),
            ("a NO [ALERT] Too many simultaneous connections. (Failure)", false),
            ("a NO [UNAVAILABLE] Temporary authentication failure", false),
            ("a NO [LIMIT] Login limit", false),
            ("a NO [INUSE] The mailbox is locked", false),
            ("a NO [SERVERBUG] Internal error", false),
            ("a NO [CONTACTADMIN] Ask", false),
            ("a NO Maximum number of connections from user+IP exceeded (mail_max_userip_connections=10)", false),
            ("a BAD Request is throttled. Suggested Backoff Time: 296 ms", false),
            ("a BAD User is authenticated but not connected.", false),
        ] {
            let status = status(line.as_bytes()).unwrap();
            let fault = not_in("mail.example.com:993".to_owned(), &status, status.text.clone());
            assert_eq!(matches!(fault, Fault::SignIn { .. }), signs_in, "{line}: {fault}");
        }
    }
}
