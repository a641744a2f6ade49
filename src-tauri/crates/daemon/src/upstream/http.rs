//! The HTTP client.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError};
use std::task::Poll;
use std::time::Duration;

use ::http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body::Body as _;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use latch_core::call::{Call, CallBody};
use latch_core::lease::{Epoch, EpochGate, Lease, LeaseError, Redeemed};
use latch_ipc::Secret;
use rustls::pki_types::CertificateDer;
use tokio::sync::OwnedMutexGuard;

use super::body::{OutBody, StreamedBody, UpstreamBody};
use super::oauth::{self, Access, RefreshError, SignIn};
use super::pool::{Stream, Wire};
use super::tls::Tls;
use super::{AccountTarget, Fault, Origin, OriginError, UpstreamError, headers};
use crate::net::Connections;

/// The largest buffer of one connection.
const BUFFER: usize = 128 * 1024;
/// The largest answer of a token endpoint.
const MAX_TOKEN_ANSWER: usize = 64 * 1024;

/// What the runtime does for a refresh.
pub trait Hooks: Send + Sync + 'static {
    /// A lease of purpose refresh for exactly this call, recorded first, in the epoch of the call that needs the token; `None`: not now.
    fn mint_refresh<'a>(&'a self, account: &'a str, call: &'a Call, epoch: Epoch) -> BoxFuture<'a, Option<Lease>>;

    /// The provider replaced the refresh token of the account that this very sign-in opens: to be sealed before the old one is forgotten.
    fn rotated<'a>(&'a self, account: &'a str, sign_in: &'a SignIn, refresh_token: Secret) -> BoxFuture<'a, ()>;
}

/// Adjustable; the defaults are what people get.
#[derive(Debug, Clone)]
pub struct Options {
    /// Trusted beside the platform's roots.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// For name resolution, TCP and TLS together.
    pub connect: Duration,
    /// The longest silence of an upstream.
    pub silence: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { extra_roots: Vec::new(), connect: Duration::from_secs(10), silence: Duration::from_secs(60) }
    }
}

/// An answer that the guard read for itself.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The status.
    pub status: StatusCode,
    /// As an agent would get them.
    pub headers: HeaderMap,
    /// Scrubbed.
    pub body: Bytes,
}

/// Calls upstreams.
#[derive(Clone)]
pub struct Upstream {
    pub(super) connections: Connections,
    pub(super) gate: EpochGate,
    pub(super) options: Options,
    tls: Arc<Tls>,
    /// For mail servers, which have no protocol to choose.
    pub(super) mail_tls: Arc<Tls>,
    hooks: Arc<OnceLock<Arc<dyn Hooks>>>,
}

/// A fresh token that is about to be asked for.
struct Renewal {
    account: String,
    sign_in: Arc<SignIn>,
    old: Secret,
    origin: Origin,
    call: Call,
    redeemed: Redeemed,
    form: Bytes,
    /// One at a time, until it is over.
    _turn: OwnedMutexGuard<()>,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Upstream {
    /// With the defaults.
    #[must_use]
    pub fn new(connections: Connections, gate: EpochGate) -> Self {
        Self::with(connections, gate, Options::default())
    }

    /// With other options.
    #[must_use]
    pub fn with(connections: Connections, gate: EpochGate, options: Options) -> Self {
        let tls = Arc::new(Tls::new(options.extra_roots.clone(), &[b"http/1.1"]));
        let mail_tls = Arc::new(Tls::new(options.extra_roots.clone(), &[]));
        Self { connections, gate, options, tls, mail_tls, hooks: Arc::default() }
    }

    /// Who mints refresh leases; without hooks nothing is refreshed. The first call counts.
    pub fn hook(&self, hooks: Arc<dyn Hooks>) {
        let _ = self.hooks.set(hooks);
    }

    /// Makes the call that the lease permits. `body` goes with [`CallBody::Streamed`] only.
    pub async fn send(
        &self,
        lease: Lease,
        account: &AccountTarget,
        call: Call,
        body: Option<StreamedBody>,
    ) -> Result<Response<UpstreamBody>, UpstreamError> {
        let redeemed = lease.redeem(&account.id, &call, &self.gate).map_err(not_permitted)?;
        let access = self.fresh(account, &redeemed).await?;
        let replayable = matches!(call.body, CallBody::Bytes(_));
        let first = self.attempt(account, &access, &redeemed, &call, body).await?;
        if first.0.status() != StatusCode::UNAUTHORIZED || account.refresh_token().is_none() {
            return deliver(first, account, access, redeemed);
        }
        if !replayable {
            // The agent's body is gone. Its own next try finds a fresh token.
            let _ = Box::pin(self.refresh(account, &redeemed, Some(&access))).await;
            return deliver(first, account, access, redeemed);
        }
        drop(first);
        let access = Box::pin(self.refresh(account, &redeemed, Some(&access))).await?;
        let second = Box::pin(self.attempt(account, &access, &redeemed, &call, None)).await?;
        deliver(second, account, access, redeemed)
    }

    /// Makes the call and reads the whole answer, at most `limit` bytes.
    pub async fn fetch(
        &self,
        lease: Lease,
        account: &AccountTarget,
        call: Call,
        limit: usize,
    ) -> Result<Fetched, UpstreamError> {
        let (parts, body) = self.send(lease, account, call, None).await?.into_parts();
        let body = whole(body, limit, account.origin.authority()).await?;
        Ok(Fetched { status: parts.status, headers: parts.headers, body })
    }

    /// Signs out at the provider, with the call of [`oauth::revocation_call`]; the status is the provider's.
    pub async fn revoke(
        &self,
        lease: Lease,
        account: &AccountTarget,
        revocation_endpoint: &str,
    ) -> Result<StatusCode, UpstreamError> {
        let malformed = |error: OriginError| Fault::Unsendable(error.to_string()).unsent();
        let (origin, _) = Origin::endpoint(revocation_endpoint).map_err(malformed)?;
        let call = oauth::revocation_call(revocation_endpoint).map_err(malformed)?;
        let redeemed = lease.redeem(&account.id, &call, &self.gate).map_err(not_permitted)?;
        let form = oauth::revocation_form(&account.credential, account.refresh_token().as_ref())
            .ok_or_else(|| Fault::Unsendable("a password can only be changed at the provider".to_owned()).unsent())?;
        let (status, _) = self.post(&origin, &redeemed, &call, form).await?;
        *account.sign_in.access.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(status)
    }

    pub(super) async fn fresh(
        &self,
        account: &AccountTarget,
        needed_for: &Redeemed,
    ) -> Result<Arc<Access>, UpstreamError> {
        match account.access() {
            Some(access) if access.is_fresh() => Ok(access),
            stale => Box::pin(self.refresh(account, needed_for, stale.as_ref())).await,
        }
    }

    pub(super) async fn refresh(
        &self,
        account: &AccountTarget,
        needed_for: &Redeemed,
        stale: Option<&Arc<Access>>,
    ) -> Result<Arc<Access>, UpstreamError> {
        let turn = Arc::clone(&account.sign_in.refreshing).lock_owned().await;
        if !needed_for.stands() {
            return Err(Fault::Stopped.unsent());
        }
        if let Some(access) = account.access()
            && access.is_fresh()
            && stale.is_none_or(|stale| !Arc::ptr_eq(stale, &access))
        {
            return Ok(access);
        }
        let failed = |error: RefreshError| error.fault().unsent();
        let refresh_token = account.refresh_token().ok_or_else(|| failed(RefreshError::Unusable))?;
        let (origin, call) = oauth::refresh_call(&account.credential).map_err(failed)?;
        let hooks = self.hooks.get().ok_or_else(|| failed(RefreshError::NotPermitted))?;
        let lease = hooks.mint_refresh(&account.id, &call, needed_for.epoch()).await.ok_or_else(|| {
            if needed_for.stands() { failed(RefreshError::NotPermitted) } else { Fault::Stopped.unsent() }
        })?;
        let redeemed = lease.redeem(&account.id, &call, &self.gate).map_err(not_permitted)?;
        let form = oauth::refresh_form(&account.credential, &refresh_token);
        let (id, sign_in) = (account.id.clone(), Arc::clone(&account.sign_in));
        let renewal = Renewal { account: id, sign_in, old: refresh_token, origin, call, redeemed, form, _turn: turn };
        // A provider that hands out a new refresh token ends the old one: whoever asked may leave meanwhile, what comes is kept.
        let renewing = tokio::spawn(self.clone().renew(renewal));
        renewing.await.unwrap_or_else(|_| Err(Fault::Stopped.unsent()))
    }

    async fn renew(self, renewal: Renewal) -> Result<Arc<Access>, UpstreamError> {
        let failed = |error: RefreshError| error.fault().unsent();
        let Renewal { account, sign_in, old, origin, call, redeemed, form, _turn } = renewal;
        let (status, body) = self.post(&origin, &redeemed, &call, form).await.map_err(|error| match error.fault {
            Fault::Stopped => Fault::Stopped.unsent(),
            fault => failed(RefreshError::Unreachable(fault.to_string())),
        })?;
        let (access, rotated) = oauth::refreshed(status.as_u16(), &body).map_err(failed)?;
        if let Some(rotated) = rotated.filter(|rotated| *rotated != old) {
            if let Some(hooks) = self.hooks.get() {
                hooks.rotated(&account, &sign_in, rotated.clone()).await;
            }
            *sign_in.refresh_token.lock().unwrap_or_else(PoisonError::into_inner) = Some(rotated);
        }
        let access = Arc::new(access);
        *sign_in.access.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&access));
        Ok(access)
    }

    /// One form to an OAuth endpoint, over a connection of its own.
    async fn post(
        &self,
        origin: &Origin,
        redeemed: &Redeemed,
        call: &Call,
        form: Bytes,
    ) -> Result<(StatusCode, Bytes), UpstreamError> {
        let host = HeaderValue::from_str(&origin.host_header())
            .map_err(|_| Fault::Unsendable("its host is malformed".to_owned()).unsent())?;
        let request =
            headers::request(&call.method, &call.target, host, &call.headers, None, OutBody::Whole(Some(form)))
                .map_err(Fault::unsent)?;
        let wire = self.connect(origin).await?;
        if !redeemed.stands() {
            return Err(Fault::Stopped.unsent());
        }
        // All calls of the account wait for this one: who drips its answer is not waited for.
        let posted = tokio::time::timeout(self.options.silence, self.posted(origin, redeemed, wire, request)).await;
        let slow = || Fault::Timeout { host: origin.authority(), doing: "sending its answer" }.sent();
        posted.unwrap_or_else(|_| Err(slow()))
    }

    async fn posted(
        &self,
        origin: &Origin,
        redeemed: &Redeemed,
        mut wire: Box<Wire>,
        request: Request<OutBody>,
    ) -> Result<(StatusCode, Bytes), UpstreamError> {
        let response = exchange(&mut wire, request, None).await.map_err(|broken| broken.error(origin, redeemed))?;
        let (parts, body) = response.into_parts();
        let body = match drive_while(wire, Limited::new(body, MAX_TOKEN_ANSWER).collect()).await {
            Some(Ok(body)) => body.to_bytes(),
            _ if !redeemed.stands() => return Err(Fault::Stopped.sent()),
            Some(Err(_)) => return Err(Fault::Lost { host: origin.authority() }.sent()),
            None => return Err(Fault::Timeout { host: origin.authority(), doing: "sending its answer" }.sent()),
        };
        Ok((parts.status, body))
    }

    async fn attempt(
        &self,
        account: &AccountTarget,
        access: &Access,
        redeemed: &Redeemed,
        call: &Call,
        body: Option<StreamedBody>,
    ) -> Result<(Response<Incoming>, Box<Wire>), UpstreamError> {
        let moved = body.is_some().then(Arc::<AtomicBool>::default);
        let body = match (&call.body, body, &moved) {
            (CallBody::Bytes(bytes), None, _) => OutBody::Whole(Some(bytes.clone()).filter(|bytes| !bytes.is_empty())),
            (CallBody::Streamed, Some(body), Some(moved)) => OutBody::Streamed { body, moved: Arc::clone(moved) },
            (CallBody::Streamed, None, _) => OutBody::Whole(None),
            (CallBody::Aside(_), _, _) | (CallBody::Bytes(_), Some(_), _) | (CallBody::Streamed, Some(_), None) => {
                return Err(Fault::NotPermitted.unsent());
            }
        };
        let joined;
        let target = if account.base_path.is_empty() {
            &call.target
        } else {
            joined = format!("{}{}", account.base_path, call.target);
            &joined
        };
        let here = headers::with_destination(&call.headers, &account.origin);
        let sent = here.as_ref().unwrap_or(&call.headers);
        let mut request = headers::request(&call.method, target, account.host.clone(), sent, Some(access), body)
            .map_err(Fault::unsent)?;
        loop {
            let mut wire = match account.idle.take(self.gate.current()).await {
                Some(wire) => wire,
                None => Box::pin(self.connect(&account.origin)).await?,
            };
            // The wire belongs to an epoch that is at most this one, and refuses every write once its epoch is over: from here on no further check
            // of the lease is needed for what leaves.
            if !redeemed.stands() {
                return Err(Fault::Stopped.unsent());
            }
            match exchange(&mut wire, request, moved.as_deref()).await {
                Ok(response) => return Ok((response, wire)),
                // Closed while it was idle, and not a byte of this request was written: the next connection takes it.
                Err(Broken::Unsent(unsent, _)) if wire.used => request = *unsent,
                Err(broken) => return Err(broken.error(&account.origin, redeemed)),
            }
        }
    }

    async fn connect(&self, origin: &Origin) -> Result<Box<Wire>, UpstreamError> {
        let host = origin.authority();
        let doing = std::sync::Mutex::new("connecting");
        let connected = tokio::time::timeout(self.options.connect, self.open(origin, &doing)).await;
        connected.unwrap_or_else(|_| {
            let doing = *doing.lock().unwrap_or_else(PoisonError::into_inner);
            Err(Fault::Timeout { host, doing }.unsent())
        })
    }

    async fn open(&self, origin: &Origin, doing: &std::sync::Mutex<&'static str>) -> Result<Box<Wire>, UpstreamError> {
        let (stream, epoch) = self.dial(origin).await?;
        let shears = stream.shears();
        let stream = if origin.scheme == super::origin::Scheme::Https {
            *doing.lock().unwrap_or_else(PoisonError::into_inner) = "agreeing on encryption";
            self.encrypt(&self.tls, origin, (stream, epoch)).await?
        } else {
            Stream::Plain(stream)
        };
        let talk = http1::Builder::new().max_buf_size(BUFFER).handshake(TokioIo::new(stream)).await;
        let unreachable =
            |error: hyper::Error| Fault::Unreachable { host: origin.authority(), reason: error.to_string() };
        let talk = talk.map_err(|error| unreachable(error).unsent())?;
        Ok(Box::new(Wire::new(talk, (epoch, shears), origin.authority().into(), self.options.silence)))
    }
}

pub(super) fn not_permitted(error: LeaseError) -> UpstreamError {
    match error {
        LeaseError::Stopped => Fault::Stopped.unsent(),
        LeaseError::OtherCall | LeaseError::OtherAccount => Fault::NotPermitted.unsent(),
    }
}

fn deliver(
    (response, wire): (Response<Incoming>, Box<Wire>),
    account: &AccountTarget,
    access: Arc<Access>,
    redeemed: Redeemed,
) -> Result<Response<UpstreamBody>, UpstreamError> {
    let (mut parts, body) = response.into_parts();
    let malformed =
        |reason: &str| Err(Fault::Malformed { host: account.origin.authority(), reason: reason.to_owned() }.sent());
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return malformed("it switches protocols although that was not asked for");
    }
    if let Some(reason) = headers::unusable(&parts.headers).filter(|_| !body.is_end_stream()) {
        return malformed(reason);
    }
    headers::clean(&mut parts.headers, account, Some(&access));
    let body = UpstreamBody::new(body, wire, Arc::clone(&account.idle), redeemed, Some(access));
    Ok(Response::from_parts(parts, body))
}

async fn whole(body: UpstreamBody, limit: usize, host: String) -> Result<Bytes, UpstreamError> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Fault::TooLarge { host, limit }.sent()),
        Err(error) => Err(match error.downcast::<UpstreamError>() {
            Ok(error) => *error,
            Err(_) => Fault::Lost { host }.sent(),
        }),
    }
}

/// Why there is no answer on a wire.
enum Broken {
    /// Not a byte was written.
    Unsent(Box<Request<OutBody>>, hyper::Error),
    Http(hyper::Error),
    Silent,
    Ended,
}

impl Broken {
    fn error(self, origin: &Origin, redeemed: &Redeemed) -> UpstreamError {
        let host = origin.authority();
        let (error, sent) = match self {
            Self::Unsent(_, error) => (Some(error), false),
            Self::Http(error) => (Some(error), true),
            Self::Silent => return Fault::Timeout { host, doing: "waiting for its answer" }.sent(),
            Self::Ended => (None, true),
        };
        let fault = match error {
            _ if !redeemed.stands() => Fault::Stopped,
            Some(error) if error.is_parse() => Fault::Malformed { host, reason: error.to_string() },
            Some(error) if error.is_user() => Fault::AgentBody(
                std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string),
            ),
            Some(_) | None => Fault::Lost { host },
        };
        UpstreamError { fault, sent }
    }
}

async fn exchange(
    wire: &mut Wire,
    request: Request<OutBody>,
    moved: Option<&AtomicBool>,
) -> Result<Response<Incoming>, Broken> {
    let mut response = pin!(wire.sender.try_send_request(request));
    poll_fn(|cx| {
        wire.drive(cx);
        if let Poll::Ready(done) = response.as_mut().poll(cx) {
            return Poll::Ready(done.map_err(broken));
        }
        if wire.is_finished() {
            return Poll::Ready(Err(Broken::Ended));
        }
        if moved.is_some_and(|moved| moved.swap(false, Ordering::Relaxed)) {
            wire.moved();
        }
        if wire.is_silent(cx) { Poll::Ready(Err(Broken::Silent)) } else { Poll::Pending }
    })
    .await
}

fn broken(mut error: TrySendError<Request<OutBody>>) -> Broken {
    match error.take_message() {
        Some(request) => Broken::Unsent(Box::new(request), error.into_error()),
        None => Broken::Http(error.into_error()),
    }
}

/// `None` if the other side was silent for too long.
async fn drive_while<F: Future>(mut wire: Box<Wire>, task: F) -> Option<F::Output> {
    let mut task = pin!(task);
    poll_fn(|cx| {
        wire.drive(cx);
        match task.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if wire.is_silent(cx) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
