//! Mails to an account's submission server (RFC 6409, RFC 8314).
//!
//! ```text
//!   Lease + AccountTarget + Call ── submit ──> redeem ── connection of this epoch, logged in ── MAIL, every RCPT, DATA, the approved bytes ──> reply
//! ```
//! A mail goes to all of its recipients or to none: when the server refuses one, nothing is sent. From the final dot on, a broken connection means that
//! nobody knows whether it was sent, and it is never sent again by itself.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use latch_core::call::Call;
use latch_core::classify::smtp::{Envelope, stuffed, submitted};
use latch_core::lease::{Lease, Redeemed};
use smtp_proto::response::parser::ResponseReceiver;
use smtp_proto::{
    AUTH_LOGIN, AUTH_OAUTHBEARER, AUTH_PLAIN, AUTH_XOAUTH2, EXT_8BIT_MIME, EXT_AUTH, EXT_SIZE, EXT_SMTP_UTF8,
    EXT_START_TLS, EhloResponse, Error, Response,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::http::not_permitted;
use super::origin::{Scheme, Server};
use super::pool::Stream;
use super::told::{self, Sent};
use super::{AccountTarget, Fault, Upstream, UpstreamError, sasl};
use crate::vault::Credential;

/// The longest answer to EHLO.
const EHLO: usize = 64 * 1024;
/// What leaves at once; the epoch is compared before each piece.
const CHUNK: usize = 64 * 1024;
/// How long the answer to the final dot may take (RFC 5321 section 4.5.3.2.6).
const ACCEPTING: Duration = Duration::from_secs(600);

/// What the server said last: about the whole mail, or about what it refused before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// RFC 5321 section 4.2.1; below 300: it has taken the mail.
    pub code: u16,
    /// RFC 3463, or empty.
    pub status: String,
    /// In its words.
    pub text: String,
}

impl Upstream {
    /// Sends the mail that the lease permits.
    pub async fn submit(&self, lease: Lease, account: &AccountTarget, call: &Call) -> Result<Submitted, UpstreamError> {
        let redeemed = lease.redeem(&account.id, call, &self.gate).map_err(not_permitted)?;
        let (envelope, mail) = submitted(call).ok_or_else(|| Fault::NotPermitted.unsent())?;
        let (mut talk, can) = self.submission_talk(account, &redeemed).await?;
        let answer = talk.deliver(&redeemed, &can, &envelope, &mail).await?;
        talk.leave(&redeemed).await;
        Ok(scrubbed(account, answer))
    }

    /// Logs in and out again: whether server and credential fit each other.
    pub async fn submission_check(
        &self,
        lease: Lease,
        account: &AccountTarget,
        call: &Call,
    ) -> Result<(), UpstreamError> {
        let redeemed = lease.redeem(&account.id, call, &self.gate).map_err(not_permitted)?;
        let (mut talk, _) = self.submission_talk(account, &redeemed).await?;
        talk.leave(&redeemed).await;
        Ok(())
    }

    async fn submission_talk(
        &self,
        account: &AccountTarget,
        redeemed: &Redeemed,
    ) -> Result<(Talk, Can), UpstreamError> {
        let server = account
            .submission
            .as_ref()
            .ok_or_else(|| Fault::Unsendable("the account has no server to send mail with".to_owned()).unsent())?;
        let host = server.origin.authority();
        let connected = tokio::time::timeout(self.options.connect, self.submission_dial(server, redeemed)).await;
        let connected = connected.unwrap_or_else(|_| Err(Fault::Timeout { host, doing: "connecting" }.unsent()));
        let unsent = |error: UpstreamError| UpstreamError { sent: false, ..error };
        let (mut talk, can) = connected.map_err(unsent)?;
        self.submission_login(account, server, redeemed, (&mut talk, &can)).await.map_err(unsent)?;
        Ok((talk, can))
    }

    async fn submission_dial(&self, server: &Server, redeemed: &Redeemed) -> Result<(Talk, Can), UpstreamError> {
        let origin = &server.origin;
        let host = origin.authority();
        let (stream, epoch) = self.dial(origin).await?;
        let tls = async |stream| self.encrypt(&self.mail_tls, origin, (stream, epoch)).await;
        let talk = |stream| Talk { stream, buffer: BytesMut::new(), host: host.clone(), silence: self.options.silence };
        let mut talk = match origin.scheme {
            Scheme::Smtps => {
                let mut talk = talk(tls(stream).await?);
                talk.greeted().await?;
                talk
            }
            Scheme::Smtp => {
                let mut talk = talk(Stream::Plain(stream));
                talk.greeted().await?;
                talk
            }
            Scheme::SmtpStartTls => {
                let mut plain = talk(Stream::Plain(stream));
                plain.greeted().await?;
                let refused = |text: &str| Fault::Tls { host: host.clone(), reason: text.to_owned() }.unsent();
                if !plain.hello(redeemed).await?.has(EXT_START_TLS) {
                    return Err(refused("it does not offer STARTTLS, so nothing was said"));
                }
                plain.write(redeemed, b"STARTTLS\r\n").await?;
                let answer = plain.reply(self.options.silence).await?;
                if answer.code != 220 {
                    return Err(refused("it does not start TLS, so nothing was said"));
                }
                // What somebody in between put behind the answer would be taken for the server's words inside TLS (CVE-2011-0411).
                let Talk { stream: Stream::Plain(stream), buffer, .. } = plain else {
                    return Err(Fault::NotPermitted.unsent());
                };
                if !buffer.is_empty() {
                    return Err(refused("it said more than that TLS begins"));
                }
                talk(tls(stream).await?)
            }
            Scheme::Http
            | Scheme::Https
            | Scheme::Imap
            | Scheme::ImapStartTls
            | Scheme::Imaps
            | Scheme::Sieve
            | Scheme::SieveStartTls
            | Scheme::Sieves => {
                return Err(Fault::NotPermitted.unsent());
            }
        };
        // Whatever was said before TLS is forgotten.
        let can = talk.hello(redeemed).await?;
        Ok((talk, can))
    }

    async fn submission_login(
        &self,
        account: &AccountTarget,
        server: &Server,
        redeemed: &Redeemed,
        (talk, can): (&mut Talk, &Can),
    ) -> Result<(), UpstreamError> {
        let host = server.origin.authority();
        if !can.has(EXT_AUTH) && server.origin.scheme == Scheme::Smtp {
            // A mail server on this machine that takes mail from it without a login.
            return Ok(());
        }
        let offers = |mechanism: u64| can.0.auth_mechanisms & mechanism != 0;
        let known = match &*account.credential {
            Credential::Password { .. } => offers(AUTH_PLAIN | AUTH_LOGIN),
            Credential::Bearer { .. } | Credential::OAuth2 { .. } => offers(AUTH_OAUTHBEARER | AUTH_XOAUTH2),
        };
        if can.has(EXT_AUTH) && !known {
            return Err(Fault::NoLogin { host }.unsent());
        }
        let mut sent = Sent::default();
        let answer = match &*account.credential {
            Credential::Password { username, password } if offers(AUTH_LOGIN) && !offers(AUTH_PLAIN) => {
                sent.secret(password.expose());
                talk.write(redeemed, b"AUTH LOGIN\r\n").await?;
                let mut answer = talk.reply(self.options.silence).await?;
                for word in [username.as_str(), password.expose()] {
                    if answer.code != 334 {
                        break;
                    }
                    let line = Zeroizing::new(format!("{}\r\n", *sasl::encoded(word)));
                    talk.write(redeemed, line.as_bytes()).await?;
                    answer = talk.reply(self.options.silence).await?;
                }
                answer
            }
            Credential::Password { username, password } => {
                let text = sasl::plain(username, password.expose());
                sent.secret(password.expose());
                sent.around(&text);
                talk.auth(redeemed, "PLAIN", &text).await?
            }
            Credential::Bearer { .. } | Credential::OAuth2 { .. } => {
                let access = self.fresh(account, redeemed).await?;
                let bearer = access.header().to_str().map_err(|_| Fault::NotPermitted.unsent())?;
                sent.secret(bearer);
                let user = &server.user;
                if offers(AUTH_OAUTHBEARER) || !offers(AUTH_XOAUTH2) {
                    let text = sasl::oauthbearer(user, &server.origin, bearer);
                    sent.around(&text);
                    talk.auth(redeemed, "OAUTHBEARER", &text).await?
                } else {
                    let text = sasl::xoauth2(user, bearer);
                    sent.around(&text);
                    talk.auth(redeemed, "XOAUTH2", &text).await?
                }
            }
        };
        if answer.code == 235 {
            return Ok(());
        }
        let answer: Submitted = scrubbed(account, answer.into());
        Err(not_in(host, Submitted { text: sent.without(&answer.text), ..answer }).unsent())
    }
}

/// What an answer to AUTH says (RFC 4954 section 6): only some are about the credential.
fn not_in(host: String, Submitted { code, text, .. }: Submitted) -> Fault {
    match code {
        530 | 534 | 535 | 538 => Fault::SignIn { host, text },
        500 | 502 | 503 | 504 => Fault::NoLogin { host },
        400..500 => Fault::Busy { host, text },
        _ => Fault::Malformed { host, reason: format!("{code} to a login: {text}") },
    }
}

/// What a server offers.
struct Can(EhloResponse<String>);

impl Can {
    fn has(&self, extension: u32) -> bool {
        self.0.capabilities & extension != 0
    }
}

impl From<Response<String>> for Submitted {
    fn from(response: Response<String>) -> Self {
        let [class, subject, detail] = response.esc;
        let status = if class == 0 { String::new() } else { format!("{class}.{subject}.{detail}") };
        Self { code: response.code, status, text: response.message.trim().replace(['\r', '\n'], " ") }
    }
}

/// Never with what we sent: servers have been seen to repeat it.
fn scrubbed(account: &AccountTarget, answer: Submitted) -> Submitted {
    if account.is_told_in(answer.text.as_bytes()) {
        Submitted { text: "(its words held the credential)".to_owned(), ..answer }
    } else {
        answer
    }
}

struct Talk {
    stream: Stream,
    buffer: BytesMut,
    host: String,
    silence: Duration,
}

impl Talk {
    async fn greeted(&mut self) -> Result<(), UpstreamError> {
        let greeting = self.reply(self.silence).await?;
        if greeting.code == 220 {
            return Ok(());
        }
        Err(self.malformed(&format!("it turns us away: {}", told::cut(greeting.message.trim()))).unsent())
    }

    async fn hello(&mut self, redeemed: &Redeemed) -> Result<Can, UpstreamError> {
        self.write(redeemed, b"EHLO localhost\r\n").await?;
        let until = Instant::now() + self.silence;
        loop {
            let mut bytes = self.buffer.iter();
            match EhloResponse::parse(&mut bytes) {
                Ok(said) => {
                    let rest = bytes.len();
                    self.buffer.advance(self.buffer.len() - rest);
                    return Ok(Can(said));
                }
                Err(Error::NeedsMoreData { .. }) if self.buffer.len() < EHLO => self.more(until).await?,
                Err(_) => return Err(self.malformed("it does not understand EHLO").unsent()),
            }
        }
    }

    async fn auth(
        &mut self,
        redeemed: &Redeemed,
        mechanism: &str,
        response: &str,
    ) -> Result<Response<String>, UpstreamError> {
        let encoded = sasl::encoded(response);
        let line = Zeroizing::new(format!("AUTH {mechanism} {}\r\n", *encoded));
        self.write(redeemed, line.as_bytes()).await?;
        let answer = self.reply(self.silence).await?;
        if answer.code != 334 {
            return Ok(answer);
        }
        // RFC 7628 section 3.2.3: a failure is explained in a challenge, which must be answered before the refusal comes.
        let empty: &[u8] = if mechanism == "OAUTHBEARER" { b"AQ==\r\n" } else { b"\r\n" };
        self.write(redeemed, empty).await?;
        self.reply(self.silence).await
    }

    async fn deliver(
        &mut self,
        redeemed: &Redeemed,
        can: &Can,
        envelope: &Envelope,
        mail: &[u8],
    ) -> Result<Submitted, UpstreamError> {
        let refusal = |code: u16, status: &str, text: &str| {
            Ok(Submitted { code, status: status.to_owned(), text: format!("{text}; nothing was sent") })
        };
        // What a client says of it is only what it might be (RFC 6152 section 3).
        let eight_bit = !mail.is_ascii();
        if eight_bit && !can.has(EXT_8BIT_MIME) {
            return refusal(554, "5.6.3", "The mail server does not take 8-bit text; encode it");
        }
        if envelope.utf8 && !can.has(EXT_SMTP_UTF8) {
            return refusal(550, "5.6.7", "The mail server does not take addresses outside ASCII");
        }
        if can.has(EXT_SIZE) && (1..mail.len()).contains(&can.0.size) {
            return refusal(552, "5.3.4", &format!("The mail server takes at most {} bytes", can.0.size));
        }
        let mut from = format!("MAIL FROM:<{}>", envelope.from);
        if can.has(EXT_SIZE) {
            from.push_str(&format!(" SIZE={}", mail.len()));
        }
        if eight_bit {
            from.push_str(" BODY=8BITMIME");
        }
        if envelope.utf8 {
            from.push_str(" SMTPUTF8");
        }
        let unsent = |error: UpstreamError| UpstreamError { sent: false, ..error };
        let answer = self.ask(redeemed, &from).await.map_err(unsent)?;
        if answer.code >= 300 {
            return Ok(answer);
        }
        for recipient in &envelope.recipients {
            let answer = self.ask(redeemed, &format!("RCPT TO:<{recipient}>")).await.map_err(unsent)?;
            if answer.code >= 300 {
                let text = format!("{recipient} was refused ({}), so it was sent to nobody", answer.text);
                return Ok(Submitted { text, ..answer });
            }
        }
        let answer = self.ask(redeemed, "DATA").await.map_err(unsent)?;
        if answer.code != 354 {
            let code = if answer.code < 400 { 554 } else { answer.code };
            return Ok(Submitted { code, ..answer });
        }
        let wire = stuffed(mail);
        let mut pieces = wire.chunks(CHUNK).peekable();
        while let Some(piece) = pieces.next() {
            let is_last = pieces.peek().is_none();
            if is_last && !redeemed.stands() {
                return Err(Fault::Stopped.unsent());
            }
            let written = self.write(redeemed, piece).await;
            // Until the final dot has left nothing is sent.
            if is_last { written? } else { written.map_err(unsent)? }
        }
        let answer: Submitted = self.reply(ACCEPTING).await?.into();
        match answer.code {
            200..300 | 400..600 => Ok(answer),
            _ => Err(self.malformed("it neither takes the mail nor refuses it").sent()),
        }
    }

    async fn ask(&mut self, redeemed: &Redeemed, command: &str) -> Result<Submitted, UpstreamError> {
        self.write(redeemed, format!("{command}\r\n").as_bytes()).await?;
        Ok(self.reply(self.silence).await?.into())
    }

    /// Politeness: what comes of it changes nothing.
    async fn leave(&mut self, redeemed: &Redeemed) {
        let _ = self.write(redeemed, b"QUIT\r\n").await;
    }

    /// A whole reply within this time: who drips it is not waited for.
    async fn reply(&mut self, patience: Duration) -> Result<Response<String>, UpstreamError> {
        let until = Instant::now() + patience;
        let mut receiver = ResponseReceiver::default();
        loop {
            let mut bytes = self.buffer.iter();
            let parsed = receiver.parse(&mut bytes);
            let rest = bytes.len();
            self.buffer.advance(self.buffer.len() - rest);
            match parsed {
                Ok(response) => return Ok(response),
                Err(Error::NeedsMoreData { .. }) => self.more(until).await?,
                Err(_) => return Err(self.malformed("its answer is no reply of SMTP").sent()),
            }
        }
    }

    async fn more(&mut self, until: Instant) -> Result<(), UpstreamError> {
        match tokio::time::timeout_at(until, self.stream.read_buf(&mut self.buffer)).await {
            Ok(Ok(1..)) => Ok(()),
            Ok(Ok(0) | Err(_)) => Err(Fault::Lost { host: self.host.clone() }.sent()),
            Err(_) => Err(Fault::Timeout { host: self.host.clone(), doing: "waiting for its answer" }.sent()),
        }
    }

    async fn write(&mut self, redeemed: &Redeemed, bytes: &[u8]) -> Result<(), UpstreamError> {
        if !redeemed.stands() {
            return Err(Fault::Stopped.sent());
        }
        let written = tokio::time::timeout(self.silence, async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        });
        match written.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) if !redeemed.stands() => Err(Fault::Stopped.sent()),
            Ok(Err(_)) => Err(Fault::Lost { host: self.host.clone() }.sent()),
            Err(_) => Err(Fault::Timeout { host: self.host.clone(), doing: "taking the mail" }.sent()),
        }
    }

    fn malformed(&self, reason: &str) -> Fault {
        Fault::Malformed { host: self.host.clone(), reason: reason.to_owned() }
    }
}
