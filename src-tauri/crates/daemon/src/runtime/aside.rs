//! Large bodies: understood one at a time, put aside while their hold waits, read again when it runs.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};
use latch_core::call::{Aside, CallBody};
use latch_core::classify::Refusal;
use latch_core::classify::http::{Head, route};
use latch_core::operation::Request;

use super::execute::Failure;
use super::{Opened, Runtime};
use crate::door::http::BodyError;
use crate::spool::{Kept, SPOOL_ABOVE, SpoolError, Turn};

/// A request that was understood, with the room that its copies take.
pub(super) struct Understood {
    pub(super) request: Result<Request, Refusal>,
    pub(super) turn: Option<Turn>,
}

/// A request's head, for another thread.
pub(super) struct HeadOf {
    pub(super) provider: String,
    pub(super) method: Method,
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    pub(super) mount: String,
}

/// Reads what was put aside, when it is its turn, and finds out what it would do, beside the connections: it takes its time.
pub(super) async fn understand(runtime: &Arc<Runtime>, head: HeadOf, kept: Kept) -> Result<Understood, BodyError> {
    let ended = || SpoolError::Disk("the engine is ending".to_owned());
    let opened = runtime.opened().ok_or_else(ended)?;
    let turn = opened.spool.turn(kept.length()).await?;
    let bytes = Bytes::from(kept.read().await?);
    drop(kept);
    let runtime = Arc::clone(runtime);
    let request = tokio::task::spawn_blocking(move || {
        let provider = runtime.catalog.provider(&head.provider)?;
        let of = Head { method: &head.method, target: &head.target, headers: &head.headers, mount: &head.mount };
        Some(route(provider, of).and_then(|routed| routed.classify(&bytes)))
    });
    let request = request.await.ok().flatten().ok_or_else(ended)?;
    Ok(Understood { request, turn: Some(turn) })
}

/// Gives a request that was allowed its bodies back.
pub(super) async fn whole(opened: &Opened, mut request: Request) -> Result<(Request, Option<Turn>), Failure> {
    let length = request.parts.iter().map(|part| part.call.body.length()).sum::<usize>();
    if !request.parts.iter().any(|part| matches!(part.call.body, CallBody::Aside(_))) {
        return Ok((request, None));
    }
    let turn = opened.spool.turn(length).await.map_err(Failure::Aside)?;
    for part in &mut request.parts {
        let CallBody::Aside(aside) = &part.call.body else { continue };
        let kept = aside.keeper::<Kept>().ok_or(Failure::NotDivisible)?;
        let bytes = kept.read().await.map_err(Failure::Aside)?;
        part.call.body = CallBody::Bytes(bytes.into());
    }
    Ok((request, Some(turn)))
}

impl Runtime {
    /// Puts a hold's large bodies aside. If that can't be done, the hold ends: it must not fill the memory for as long as the person thinks.
    pub(super) async fn put_aside(&self, opened: &Opened, id: &str) {
        let bodies: Option<Vec<CallBody>> =
            opened.guard().hold(id).map(|hold| hold.request.parts.iter().map(|part| part.call.body.clone()).collect());
        let Some(mut bodies) = bodies.filter(|all| all.iter().any(is_large)) else { return };
        for body in bodies.iter_mut().filter(|body| is_large(body)) {
            let CallBody::Bytes(bytes) = &*body else { continue };
            match opened.spool.keep(bytes).await {
                Ok(kept) => *body = CallBody::Aside(Aside::new(bytes, Arc::new(kept))),
                Err(error) => {
                    let why = format!("it could not be put aside, so nothing runs: {error}");
                    let commit = opened.guard().handle_unreadable(id, &why, opened.now());
                    let _ = opened.store.commit(commit).await;
                    self.settle(opened);
                    return;
                }
            }
        }
        opened.guard().put_bodies_aside(id, bodies);
    }
}

fn is_large(body: &CallBody) -> bool {
    matches!(body, CallBody::Bytes(bytes) if bytes.len() > SPOOL_ABOVE)
}
