use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// `phone.stop`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhoneStopParams {
    /// In which account's inbox.
    pub account: String,
    /// Leave a mail there, or take it away.
    pub on: bool,
}

/// How an account's stop mail is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct PhoneView {
    /// The account.
    pub account: String,
    /// Whether moving the mail stops everything now.
    pub state: PhoneState,
    /// Since when, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The same in a sentence.
    pub text: String,
}

/// Whether moving the mail stops everything now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
#[ts(export)]
pub enum PhoneState {
    /// There is no such mail.
    Off,
    /// It is being left, or looked for.
    Starting,
    /// It is there and watched.
    Watching,
    /// Its mailbox can't be reached: what happens to it is seen when it can be.
    Offline,
    /// Everything is stopped: it is looked for, or left anew, after Resume.
    Stopped,
}
