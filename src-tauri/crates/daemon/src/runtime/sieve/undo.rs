//! Putting mail filters back (I9).

use std::fmt::Display;

use latch_core::call::Call;
use latch_core::journal::Commit;
use latch_core::operation::Class;
use latch_core::undo::sieve::{Back, inverse, unread};
use latch_ipc::contract::{NotRestored, UndoResult};
use latch_ipc::rpc::{ErrorCode, RpcError};

use crate::runtime::accounts::Account;
use crate::runtime::stop::storage;
use crate::runtime::undo::{Undo, rest};
use crate::runtime::{Opened, Runtime};

impl Runtime {
    pub(crate) async fn put_back_filters(
        &self,
        opened: &Opened,
        undo: Undo,
        account: &Account,
    ) -> Result<UndoResult, RpcError> {
        let epoch = opened.gate.current();
        let failed = |code, why: &dyn Display| RpcError::new(code, format!("nothing was put back: {why}"));
        let alone = self.filters_alone(account).await;
        let _alone = alone.map_err(|why| failed(ErrorCode::Conflict, &why))?;
        let now = self.filters_of(account, epoch, |stored| unread(&undo.entry, stored)).await;
        let now = now.map_err(|error| failed(ErrorCode::Upstream, &error))?;
        let mut result = UndoResult::default();
        let objects: Vec<String> = undo.entry.changes.iter().map(|change| change.object.clone()).collect();
        let all = u32::try_from(objects.len()).unwrap_or(u32::MAX);
        let left =
            |why: String| objects.iter().map(move |object| NotRestored { object: object.clone(), why: why.clone() });
        let mut failed = Vec::new();
        match inverse(&undo.entry, &now) {
            Back::Already => {
                result.restored = all;
                result.notes.push("It was as before already.".to_owned());
            }
            Back::Left(why) => {
                result.not_restored.extend(left(why));
                failed.clone_from(&objects);
            }
            Back::Calls { calls, note } => {
                for call in calls {
                    if let Some(why) = self.filters_back(opened, account, &undo, &call).await? {
                        result.not_restored.extend(left(why));
                        failed.clone_from(&objects);
                        break;
                    }
                }
                if failed.is_empty() {
                    result.restored = all;
                    result.notes.extend(note);
                }
            }
        }
        let done = rest(undo, &failed);
        let commit = Commit { puts: vec![done.put()], ..Commit::default() };
        opened.store.commit(commit).await.map_err(|error| storage(&error))?;
        opened.guard().forget_answers(&done.account);
        Ok(result)
    }

    /// One command between its records; why it did not succeed.
    async fn filters_back(
        &self,
        opened: &Opened,
        account: &Account,
        undo: &Undo,
        call: &Call,
    ) -> Result<Option<String>, RpcError> {
        let calls = std::slice::from_ref(call);
        let mut plan = opened.guard().begin_undo(&undo.account, &undo.entry.action, Class::Modify, 1, calls);
        let commit = opened.guard().intent(&mut plan, 0, opened.now());
        let intent = opened.store.commit(commit).await.map_err(|error| storage(&error))?.seq;
        let lease = opened.guard().lease(&mut plan, 0);
        let why = match lease {
            Ok(lease) => match opened.upstream.sieve(lease, &account.target, call).await {
                Ok(answer) if answer.is_ok() => None,
                Ok(answer) => Some(format!("the mail server said no: {}", answer.status.text)),
                Err(error) => Some(error.to_string()),
            },
            Err(stopped) => Some(stopped.to_string()),
        };
        let text = why.clone().map_or_else(|| "put back".to_owned(), |why| format!("not put back: {why}"));
        let commit = opened.guard().outcome(&plan, intent, Some(undo.id.clone()), text, opened.now());
        opened.store.commit(commit).await.map_err(|error| storage(&error))?;
        Ok(why)
    }
}
