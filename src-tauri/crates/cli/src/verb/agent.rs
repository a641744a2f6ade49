//! Agents, grants and tokens: seen and reduced from here, given only by the owner.

use std::io::Read;
use std::path::Path;

use latch_daemon::confirm::tty::show;
use latch_ipc::Secret;
use latch_ipc::contract::{
    AgentConnect, AgentConnectParams, AgentList, AgentRevoke, Empty, GrantPut, GrantPutParams, GrantRevoke, Id,
    TokenIssue, TokenIssueParams,
};
use zeroize::Zeroizing;

use super::Call;
use crate::args::{Agent, Grant, Token};
use crate::exit::{Exit, Failure};

/// The longest pairing secret that is read, in bytes.
const MAX_SECRET: u64 = 4096;

pub(super) async fn agent(call: &Call, verb: Agent) -> Result<Exit, Failure> {
    match verb {
        Agent::Connect { id, name, program } => {
            let name = name.unwrap_or_else(|| id.clone());
            let connected = call.engine().await?.call(AgentConnect, AgentConnectParams { id, name, program }).await?;
            call.print(&connected, |connected| format!("Connected {}.\n", show::plain(&connected.id)))
        }
        Agent::List => {
            let agents = call.engine().await?.call(AgentList, Empty {}).await?;
            call.print(&agents, |agents| show::agents(agents))
        }
        Agent::Revoke { id } => {
            let gone = call.engine().await?.call(AgentRevoke, Id { id }).await?;
            call.print(&gone, |_| "Revoked: its tokens, grants and pairing secret are void.\n".to_owned())
        }
    }
}

pub(super) async fn grant(call: &Call, verb: Grant) -> Result<Exit, Failure> {
    match verb {
        Grant::Put { agent, account, preset, expires_in, details } => {
            let authorization_details = details.map(|details| serde_json::from_str(&details)).transpose();
            let authorization_details = authorization_details
                .map_err(|error| Failure::new(Exit::Usage, format!("--details is not JSON: {error}")))?;
            let params = GrantPutParams { agent, account, preset, authorization_details, budgets: None, expires_in };
            let put = call.engine().await?.call(GrantPut, params).await?;
            call.print(&put, |put| {
                format!("{} may now: {}\n", show::plain(&put.grant.agent), show::plain(&put.grant.summary))
            })
        }
        Grant::List => {
            let agents = call.engine().await?.call(AgentList, Empty {}).await?;
            let grants: Vec<_> = agents.iter().flat_map(|agent| agent.grants.clone()).collect();
            call.print(&grants, |_| show::agents(&agents))
        }
        Grant::Revoke { id } => {
            let gone = call.engine().await?.call(GrantRevoke, Id { id }).await?;
            call.print(&gone, |_| "Taken away.\n".to_owned())
        }
    }
}

pub(super) async fn token(call: &Call, token: Token) -> Result<Exit, Failure> {
    let pairing_secret = pairing_secret(token.pairing_secret_file.as_deref(), token.pairing_secret_env.as_deref())?;
    let params = TokenIssueParams { agent: token.agent, expires_in: token.expires_in, pairing_secret };
    let issued = call.engine().await?.call(TokenIssue, params).await?;
    call.print(&issued, |issued| format!("{}\n", issued.access_token.expose()))
}

/// An agent's pairing secret, from wherever it keeps it.
pub(super) fn pairing_secret(file: Option<&Path>, variable: Option<&str>) -> Result<Option<Secret>, Failure> {
    match (file, variable) {
        (Some(path), _) => secret_file(path).map(Some),
        (None, Some(name)) => secret_variable(name).map(Some),
        (None, None) => Ok(None),
    }
}

fn secret_file(path: &Path) -> Result<Secret, Failure> {
    let failed = |error: std::io::Error| Failure::failed(format!("{} can't be read: {error}", path.display()));
    let mut text = Zeroizing::new(String::new());
    std::fs::File::open(path).map_err(failed)?.take(MAX_SECRET).read_to_string(&mut text).map_err(failed)?;
    secret(&text, &path.display().to_string())
}

fn secret_variable(name: &str) -> Result<Secret, Failure> {
    let text = std::env::var(name).map(Zeroizing::new);
    let text = text.map_err(|_| Failure::new(Exit::Usage, format!("the variable {name} is not set.")))?;
    secret(&text, name)
}

fn secret(text: &str, source: &str) -> Result<Secret, Failure> {
    match text.trim() {
        "" => Err(Failure::new(Exit::Usage, format!("{source} holds no pairing secret."))),
        text => Ok(Secret::new(text.to_owned())),
    }
}
