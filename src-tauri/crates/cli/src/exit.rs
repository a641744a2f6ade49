//! How `latch` ends.

use std::process::ExitCode;

use latch_ipc::client::CallError;
use latch_ipc::rpc::ErrorCode;

/// The contract's exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    Denied = 3,
    NotRunning = 4,
    Panicked = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why it did not work: a code for programs, a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// Our own or the system's failure.
    pub(crate) fn failed(error: impl std::fmt::Display) -> Self {
        Self::new(Exit::Failed, error.to_string())
    }

    /// Tells it on stderr.
    pub(crate) fn tell(&self, json: bool) {
        if json {
            let error = serde_json::json!({ "error": { "exit": self.exit as u8, "message": self.message } });
            eprintln!("{error}");
        } else {
            eprintln!("latch: {}", latch_daemon::confirm::tty::show::plain_lines(&self.message));
        }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let exit = match &error {
            CallError::Closed => Exit::NotRunning,
            CallError::Shape(_) => Exit::Failed,
            CallError::Refused(refused) => exit_of(refused.code),
        };
        Self::new(exit, error.to_string())
    }
}

fn exit_of(code: i32) -> Exit {
    let is = |known: ErrorCode| code == known as i32;
    if is(ErrorCode::Forbidden) || is(ErrorCode::AskOwner) {
        Exit::Denied
    } else if is(ErrorCode::Panicked) {
        Exit::Panicked
    } else if is(ErrorCode::InvalidParams) {
        Exit::Usage
    } else {
        Exit::Failed
    }
}

#[cfg(test)]
mod tests {
    use latch_ipc::rpc::RpcError;

    use super::*;

    #[test]
    fn errors_map_to_the_contracts_codes() {
        let check = |code, exit: Exit| {
            assert_eq!(Failure::from(CallError::Refused(RpcError::new(code, "x"))).exit, exit, "{code:?}");
        };
        check(ErrorCode::Forbidden, Exit::Denied);
        check(ErrorCode::AskOwner, Exit::Denied);
        check(ErrorCode::Panicked, Exit::Panicked);
        check(ErrorCode::InvalidParams, Exit::Usage);
        check(ErrorCode::NotFound, Exit::Failed);
        check(ErrorCode::Vault, Exit::Failed);
        assert_eq!(Failure::from(CallError::Closed).exit, Exit::NotRunning);
    }
}
