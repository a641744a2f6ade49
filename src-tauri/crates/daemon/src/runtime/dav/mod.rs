//! Calendars and contacts over the HTTP door.
//!
//! ```text
//!   head ── ask ──> Asked ── reads ──> Guard ──> pass ──> the answer, its addresses rewritten while it streams
//!                     └─ changes ── look (PROPFIND, GET) ──> Seen ── classify ──> Guard ──> hold, or execute
//!   execute: still as it was seen? ── copies ── intent ── lease ── one call with If-Match ── outcome
//! ```
//! Servers name what they have by absolute paths, so the account's part of the door is not transparent: `DAV:href`, `Location` and `Destination` are
//! rewritten between `/{account}` and the server's own paths. A port of its own for each account would keep most of them true without that, but not
//! the absolute URLs, and clients would have to be told a new address whenever the port changes.

mod answer;
mod elsewhere;
mod execute;
mod look;
mod undo;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::LOCATION;
use http::request::Parts;
use latch_core::catalog::{Protocol, Provider};
use latch_core::classify::Refusal;
use latch_core::classify::dav::deed::{At, Seen, classify, glimpse};
use latch_core::classify::dav::hrefs::Here;
use latch_core::classify::dav::look::parent;
use latch_core::classify::dav::request::{Asked, Head, Verb, ask};
use latch_core::classify::dav::{charged, reading};
use latch_core::guard::Session;
use latch_core::operation::{Part, Request};
use latch_core::recipe::View;

use super::accounts::Account;
use super::http::{Asking, Response, reason};
use super::problem::{self, Problem};
use super::read::ReadError;
use super::{Opened, Runtime};
use crate::door::http::{AgentBody, AnswerBody, Gathered};
use crate::spool::Turn;
use look::{Extent, Looked};

/// Where clients look for a server's calendars and contacts (RFC 6764).
const WELL_KNOWN: [&str; 2] = ["/.well-known/caldav", "/.well-known/carddav"];

impl Runtime {
    /// Whether an account is a calendar server.
    pub(crate) fn is_dav(&self, account: &Account) -> bool {
        self.catalog.provider(&account.provider).is_some_and(|provider| provider.protocol == Protocol::Dav)
    }

    /// Where an account is, for the agent and for its server.
    pub(super) fn here(&self, account: &Account) -> Here {
        Here {
            mount: format!("/{}", account.id),
            doors: self.doors().http.into_iter().collect(),
            base: account.target.base_path().to_owned(),
            origins: account.target.origin().spellings(),
        }
    }

    /// Takes an agent's request to its answer.
    pub(super) async fn take_dav(
        self: &Arc<Self>,
        session: Session,
        peer: SocketAddr,
        account: &Arc<Account>,
        provider: &Provider,
        head: Parts,
        body: AgentBody,
    ) -> Result<Response, Problem> {
        let opened = self.opened().ok_or_else(problem::vault_locked)?;
        let shape = provider.error_shape;
        let refused = |refusal: Refusal| problem::refused(shape, &refusal);
        let here = self.here(account);
        if WELL_KNOWN.contains(&head.uri.path()) {
            return Ok(moved(&here));
        }
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        let asked = ask(Head { method: &head.method, target, headers: &head.headers, here: &here }).map_err(refused)?;
        let (body, turn) =
            self.whole_body(opened, body, asked.limit()).await.map_err(|error| problem::body(shape, &error))?;
        let (part, views) = if asked.verb.reads() {
            (reading(&asked, &body, &here).map_err(refused)?, Vec::new())
        } else {
            let changed = Box::pin(self.changing(opened, account, &session, &here, &asked, &body)).await;
            changed.map_err(|why| match why {
                Unclear::Refused(refusal) => refused(refusal),
                Unclear::Unread(error) => problem::unreadable(shape, &error),
            })?
        };
        let charged = charged(&part);
        let agent = session.agent.clone();
        let asking = Asking { opened, account, provider, session: &session, peer, reason: reason(&head) };
        let request = Request { parts: vec![part], batch: false };
        let response = Box::pin(self.rule(asking, request, turn, views)).await?;
        Ok(answer::inward(self, response, here, &agent, &account.id, charged))
    }

    /// An agent's body, read back if it had to be put aside.
    async fn whole_body(
        &self,
        opened: &Opened,
        body: AgentBody,
        limit: usize,
    ) -> Result<(Bytes, Option<Turn>), crate::door::http::BodyError> {
        match body.gather(limit, &opened.spool).await? {
            Gathered::Whole(bytes) => Ok((bytes, None)),
            Gathered::Aside(kept) => {
                let turn = opened.spool.turn(kept.length()).await?;
                Ok((Bytes::from(kept.read().await?), Some(turn)))
            }
        }
    }

    /// A change, classified by what is there now, and what the person would see of its objects.
    async fn changing(
        &self,
        opened: &Opened,
        account: &Arc<Account>,
        session: &Session,
        here: &Here,
        asked: &Asked,
        body: &Bytes,
    ) -> Result<(Part, Vec<(String, View)>), Unclear> {
        let looked = Looked { opened, account, session, here };
        let own = account.own.clone();
        let (mut at, mut views) = match asked.verb {
            Verb::Post => (At::Nothing, Vec::new()),
            _ => self.dav_at(&looked, &asked.path, Extent::Itself).await?,
        };
        let to = match &asked.to {
            None => At::Nothing,
            Some(to) => {
                let (to, more) = self.dav_at(&looked, to, Extent::Itself).await?;
                views.extend(more);
                to
            }
        };
        let around = match (asked.verb, &at, &asked.to) {
            (Verb::Move, At::Tree(..), Some(_)) if to != At::Nothing => None,
            (Verb::Put, At::Nothing, _) => self.dav_holds(&looked, &parent(&asked.path)).await?,
            (Verb::Move, At::Tree(..), Some(to)) => self.dav_holds(&looked, &parent(to)).await?,
            _ => None,
        };
        if matches!((asked.verb, &at), (Verb::Put | Verb::Delete | Verb::Move, At::Tree(..))) {
            // All that is in it is read only for whom it might be done.
            let seen = Seen { at, to: to.clone(), around, own: own.clone() };
            let part = classify(asked, body, &seen, here).map_err(Unclear::Refused)?;
            let request = Request { parts: vec![part], batch: false };
            let forbids = opened.guard().forbids(session, &account.id, &request, opened.now());
            if forbids {
                return request.parts.into_iter().next().map(|part| (part, views)).ok_or(ReadError::Stopped.into());
            }
            (at, views) = self.dav_at(&looked, &asked.path, Extent::Everything).await?;
        }
        let part = classify(asked, body, &Seen { at, to, around, own }, here).map_err(Unclear::Refused)?;
        if asked.verb == Verb::Put && views.is_empty() {
            views.push((asked.path.clone(), glimpse(&asked.path, body).view));
        }
        let ids = part.operation.objects.ids();
        let known: std::collections::HashMap<String, View> = views.into_iter().collect();
        let view = |id: &String| known.get(id).cloned().unwrap_or_else(|| glimpse(id, &[]).view);
        let views = ids.iter().map(|id| (id.clone(), view(id))).collect();
        Ok((part, views))
    }
}

/// Why it is not known what a change would do.
enum Unclear {
    Refused(Refusal),
    Unread(ReadError),
}

impl From<ReadError> for Unclear {
    fn from(error: ReadError) -> Self {
        Self::Unread(error)
    }
}

/// To where the account's calendars begin.
fn moved(here: &Here) -> Response {
    let mut response = http::Response::new(AnswerBody::empty());
    *response.status_mut() = http::StatusCode::MOVED_PERMANENTLY;
    if let Ok(place) = http::HeaderValue::from_str(&format!("{}/", here.mount)) {
        response.headers_mut().insert(LOCATION, place);
    }
    response
}
