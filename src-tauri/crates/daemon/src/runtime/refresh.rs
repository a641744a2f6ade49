//! Fresh access tokens at the provider: each under a lease of its own, recorded first.

use std::sync::{Arc, Weak};

use futures_util::future::BoxFuture;
use latch_core::call::Call;
use latch_core::guard::record;
use latch_core::journal::{Commit, Kind, Put, Shelf};
use latch_core::lease::{Epoch, Lease};
use latch_ipc::Secret;

use super::{Runtime, accounts};
use crate::upstream::{Hooks, SignIn};

/// The upstream's way back to the runtime.
pub(super) struct Refreshing(pub(super) Weak<Runtime>);

impl Hooks for Refreshing {
    fn mint_refresh<'a>(&'a self, account: &'a str, call: &'a Call, epoch: Epoch) -> BoxFuture<'a, Option<Lease>> {
        Box::pin(async move {
            let runtime: Arc<Runtime> = self.0.upgrade()?;
            let opened = runtime.opened()?;
            let mut note = record(opened.now(), Kind::Read, "fresh access token asked for at the provider");
            note.account = Some(account.to_owned());
            opened.store.append_read(note).await.ok()?;
            opened.guard().lease_refresh(account, call, epoch).ok()
        })
    }

    fn rotated<'a>(&'a self, account: &'a str, sign_in: &'a SignIn, refresh_token: Secret) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let Some(runtime) = self.0.upgrade() else { return };
            let Some(opened) = runtime.opened() else { return };
            // One that is only tried, or was removed meanwhile: whatever has its name now is another one's credential.
            let this = || opened.account(account).filter(|one| one.target.is_opened_by(sign_in));
            if this().is_none() {
                return;
            }
            let _turn = opened.turns.take(&accounts::turn(account)).await;
            let sealed = runtime.vault.key().ok().and_then(|key| {
                let one = this()?;
                one.rotated(refresh_token)?.seal(&key, account, &one.sealed_to).ok()
            });
            let Some(value) = sealed else { return };
            let commit = Commit {
                puts: vec![Put { shelf: Shelf::Credential, id: account.to_owned(), value }],
                ..Commit::default()
            };
            if opened.store.commit(commit).await.is_err() {
                tracing::error!(account, "a new refresh token could not be kept");
            }
        })
    }
}
