//! The HTTP door.
//!
//! ```text
//!   accept ── seat ── head ── hygiene ── token ──> Inside::http ── answer
//!                              │           └ 401
//!                              └ 4xx, nothing done
//!   /{account}/<the provider's own path>     Authorization: Bearer <access token>, or Basic <account>:<access token>
//!   /.well-known/{caldav,carddav}            to /{account}/ of the Basic user name
//!   /oauth2/{token,revoke,introspect}, /.well-known/oauth-authorization-server
//! ```
//! A client that closes its sending side before its answer came has hung up: what it asked for is not waited for any longer.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, HOST, LOCATION};
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use latch_core::catalog::ErrorShape;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::lanes::Handed;
use super::{Lanes, admit};
use crate::net::Connections;

pub mod body;
mod hygiene;
pub mod oauth;
pub mod problem;
mod seats;

pub use body::{AgentBody, AnswerBody, BodyError, Gathered, Room};
pub use hygiene::MAX_TARGET;
pub use oauth::{Introspection, OAuthError, TokenAnswer, TokenRequest};
pub use problem::{problem, unauthorized};
pub use seats::MAX_CONNECTIONS;

use hygiene::Names;
use seats::{Seat, Seats};

/// The most memory that buffered bodies take together.
const ROOM: usize = 32 * 1024 * 1024;
/// The largest head, and the size of a connection's buffers.
const HEAD_BYTES: usize = 64 * 1024;

/// Why a token is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unauthorized {
    /// Unknown, expired, revoked: a new one helps. 401.
    Invalid(String),
    /// All agents, or this one, are stopped: a new one does not help. 403.
    Stopped(String),
}

/// What stands behind the door.
pub trait Inside: Send + Sync + 'static {
    /// Who asks.
    type Session: Send + 'static;

    /// Finds out who asks.
    fn authenticate(&self, token: &str, peer: SocketAddr) -> Result<Self::Session, Unauthorized>;

    /// How errors look before it is known whether who asks may know of the account: nothing in them may tell whether there is one.
    fn shape(&self, account: &str) -> ErrorShape;

    /// Answers a request. `head.uri` is what follows `/{account}`, byte for byte.
    fn http(
        self: &Arc<Self>,
        session: Self::Session,
        account: &str,
        head: Parts,
        body: AgentBody,
    ) -> impl Future<Output = Response<AnswerBody>> + Send;

    /// RFC 6749 and 8693: an access token.
    fn token(
        self: &Arc<Self>,
        request: TokenRequest,
        peer: SocketAddr,
    ) -> impl Future<Output = Result<TokenAnswer, OAuthError>> + Send;

    /// RFC 7009: the token, or pairing secret, is no longer good. Unknown ones are no error.
    fn revoke(self: &Arc<Self>, token: &str) -> impl Future<Output = ()> + Send;

    /// RFC 7662, for tokens of the caller's own agent only; `None`: not active, or not the caller's.
    fn introspect(&self, caller: &Self::Session, token: &str) -> Option<Introspection>;
}

/// Binds a loopback address; any other is refused.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    admit::loopback(address)?;
    TcpListener::bind(address).await
}

/// Serves on these lanes until dropped; dropping ends every connection.
pub async fn serve<I: Inside>(
    listener: TcpListener,
    inside: Arc<I>,
    connections: Connections,
    lanes: Lanes,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    admit::loopback(address)?;
    let door = Arc::new(Door { inside, names: Names::of(address), room: Room::new(ROOM) });
    let seats = Arc::new(Seats::new(MAX_CONNECTIONS));
    let mut tasks = JoinSet::new();
    let mut sweep = tokio::time::interval(Duration::from_secs(1));
    let mut key = 0_u64;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, peer)) => {
                    key = key.wrapping_add(1);
                    let (door, seats, connections) = (Arc::clone(&door), Arc::clone(&seats), connections.clone());
                    if let Some((lane, handed)) = lanes.hand(socket) {
                        tasks.spawn_on(Carried { door, seats, connections }.on(handed, peer, key), lane);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "the HTTP door could not accept a connection");
                    tokio::time::sleep(admit::LATER).await;
                }
            },
            Some(_) = tasks.join_next() => {}
            _ = sweep.tick() => seats.sweep(),
        }
    }
}

/// What a connection needs on its lane.
struct Carried<I> {
    door: Arc<Door<I>>,
    seats: Arc<Seats>,
    connections: Connections,
}

impl<I: Inside> Carried<I> {
    async fn on(self, handed: Handed, peer: SocketAddr, key: u64) {
        let Self { door, seats, connections } = self;
        let Ok((socket, _place)) = handed.take() else { return };
        let _ = socket.set_nodelay(true);
        let Ok(stream) = connections.register(socket) else { return };
        let Some(seat) = seats.take(key, stream.shears()) else {
            tracing::warn!("the HTTP door refused a connection: all {MAX_CONNECTIONS} are busy");
            return;
        };
        let service = service_fn(|request| serve_one(Arc::clone(&door), Arc::clone(&seat), peer, request));
        let connection = http1::Builder::new().max_buf_size(HEAD_BYTES).serve_connection(TokioIo::new(stream), service);
        if let Err(error) = connection.await {
            tracing::debug!(%error, "an agent's connection ended early");
        }
        seats.leave(key);
    }
}

async fn serve_one<I: Inside>(
    door: Arc<Door<I>>,
    seat: Arc<Seat>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Infallible> {
    let busy = seat.busy();
    let mut response = door.answer(request, peer).await;
    response.body_mut().keeps(busy);
    Ok(response)
}

struct Door<I> {
    inside: Arc<I>,
    names: Names,
    room: Room,
}

impl<I: Inside> Door<I> {
    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<AnswerBody> {
        let (mut head, body) = request.into_parts();
        let body = AgentBody::wire(body, self.room.clone());
        if let Err(unfit) = hygiene::check(&head, &self.names) {
            return Box::pin(self.refuse(&head, unfit)).await;
        }
        if let Some(account) = hygiene::looks_around(&head) {
            let Some(account) = account else { return Refused::NoToken.response(ErrorShape::Plain) };
            let mut response = Response::new(AnswerBody::empty());
            *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
            if let Ok(place) = HeaderValue::from_str(&format!("/{account}/")) {
                response.headers_mut().insert(LOCATION, place);
            }
            absolute_location(&mut response, head.headers.get(HOST));
            return response;
        }
        if let Some(endpoint) = oauth::Endpoint::of(head.uri.path()) {
            return Box::pin(self.oauth(endpoint, head, body, peer)).await;
        }
        let Some(account) = hygiene::split_account(&mut head.uri) else {
            let detail = "The path must be /{account}/ followed by the provider's own path.";
            return problem(ErrorShape::Plain, StatusCode::NOT_FOUND, "No account in the path", detail, Value::Null);
        };
        let session = match self.session(&head, Some(&account), peer) {
            Ok(session) => session,
            Err(refused) => return refused.response(self.inside.shape(&account)),
        };
        let host = head.headers.get(HOST).cloned();
        let mut response = self.inside.http(session, &account, head, body).await;
        absolute_location(&mut response, host.as_ref());
        response
    }

    fn session(&self, head: &Parts, account: Option<&str>, peer: SocketAddr) -> Result<I::Session, Refused> {
        if let Some(token) = hygiene::bearer(head) {
            return self.inside.authenticate(token, peer).map_err(Refused::Token);
        }
        let (user, token) = hygiene::basic(head).ok_or(Refused::NoToken)?;
        if account != Some(user.as_str()) {
            let detail = "The user name is not the account's id in the address. Use the id as user name and the access token as password.";
            return Err(Refused::Token(Unauthorized::Invalid(detail.to_owned())));
        }
        self.inside.authenticate(&token, peer).map_err(Refused::Token)
    }

    async fn refuse(&self, head: &Parts, unfit: hygiene::Unfit) -> Response<AnswerBody> {
        if let Some(leaked) = &unfit.leaked {
            self.inside.revoke(leaked).await;
        }
        let account = head.uri.path().split('/').nth(1).unwrap_or_default();
        let shape = self.inside.shape(account);
        let mut response = problem(shape, unfit.status, unfit.title, &unfit.detail, Value::Null);
        if unfit.close {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

enum Refused {
    NoToken,
    Token(Unauthorized),
}

impl Refused {
    fn response(self, shape: ErrorShape) -> Response<AnswerBody> {
        match self {
            Self::NoToken => {
                let detail = "Send the access token as 'Authorization: Bearer <token>'. The person at this machine issues it; 'latch token' or the token endpoint /oauth2/token hands it out.";
                unauthorized(shape, None, detail)
            }
            Self::Token(Unauthorized::Invalid(detail)) => unauthorized(shape, Some("invalid_token"), &detail),
            Self::Token(Unauthorized::Stopped(detail)) => {
                let extra = serde_json::json!({ "type": "urn:latchstring:stopped" });
                problem(shape, StatusCode::FORBIDDEN, "Stopped by the person", &detail, extra)
            }
        }
    }
}

/// A location on the account's own origin arrives as a path on this door; some clients follow absolute ones only.
fn absolute_location(response: &mut Response<AnswerBody>, host: Option<&HeaderValue>) {
    let Some(location) = response.headers().get(LOCATION).filter(|location| location.as_bytes().first() == Some(&b'/'))
    else {
        return;
    };
    let Some(host) = host else { return };
    let absolute = [b"http://", host.as_bytes(), location.as_bytes()].concat();
    if let Ok(absolute) = HeaderValue::from_bytes(&absolute) {
        response.headers_mut().insert(LOCATION, absolute);
    }
}
