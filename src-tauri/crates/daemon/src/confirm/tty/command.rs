//! What the owner may type when nothing is asked.

use latch_ipc::client::CallError;
use latch_ipc::contract::{
    AccountList, AccountRemove, AgentConnect, AgentConnectParams, AgentList, AgentRevoke, AnswerForget, AnswerList,
    Empty, GrantPut, GrantPutParams, GrantRevoke, HoldList, Id, JournalTail, JournalTailParams, JournalVerify,
    OutboxCancel, OutboxList, PhoneStop, QuarantineClear, QuarantineList, Resume, ResumeParams, StatusCall, TokenIssue,
    TokenIssueParams, UndoList, UndoListParams, UndoRun, UndoRunParams, Unlock, VaultUnlock,
};
use latch_ipc::phone::PhoneStopParams;
use latch_ipc::{Client, Secret};

use super::{End, Next, Terminal, account, connect, show};

const HELP: &str = "\
status                           how things stand
holds, show ID, next             what waits for you; ask it again; ask the next one now
answers, forget ID               answers of yours that go on; takes one back
accounts                         every account
account add ADDRESS              finds the mail servers of an address, tries the password, adds it
account add                      asks for everything: servers, tokens, OAuth
account show ID                  how a mail program reaches it
account remove ID                forgets an account and its credential
phone ID on, phone ID off        a mail in its inbox whose leaving it stops everything, from any phone
agents                           every agent and what it may do
agent connect ID NAME            connects an agent; shows its pairing secret once
agent revoke ID                  ends an agent
grant AGENT ACCOUNT PRESET       read-only, organize, assistant or ask-everything
grant revoke ID                  takes a grant away
token AGENT                      an access token for 15 minutes
undo                             what can be undone
undo ENTRY, undo AGENT 1h        puts it back
outbox, outbox cancel ID         mails that wait to be sent
copies, copies erase             copies of what was deleted for ever; erases them, and their undo with them
journal, journal verify          what happened; whether the record is whole
unlock                           opens the vault: asks for its passphrase, or looks at the keyring again
panic                            stops everything, at once
resume [AGENT [PRESET]]          lets it go on, read-only unless you say more
quit                             ends the engine: agents lose access until it runs again
";

/// Runs one command line.
pub(super) async fn run(client: &Client, terminal: &mut Terminal, line: &str) -> Next {
    let words: Vec<&str> = line.split_whitespace().collect();
    let said = match words.as_slice() {
        [] => return Next::Question,
        ["quit" | "exit"] => return Next::End(End::Quit),
        ["next"] => return Next::QuestionNow,
        ["show", id] => return Next::Show((*id).to_owned()),
        ["help" | "?"] => Ok(HELP.to_owned()),
        ["status"] => client.call(StatusCall, Empty {}).await.map(|status| show::status(&status)),
        ["holds"] => client.call(HoldList, Empty {}).await.map(|holds| match holds.is_empty() {
            true => "Nothing waits for you.\n".to_owned(),
            false => holds.iter().map(show::hold_line).collect(),
        }),
        ["answers"] => client.call(AnswerList, Empty {}).await.map(|answers| show::answers(&answers)),
        ["forget", id] => {
            client.call(AnswerForget, id_of(id)).await.map(|_| "Taken back; you will be asked again.\n".to_owned())
        }
        ["accounts"] => client.call(AccountList, Empty {}).await.map(|accounts| show::accounts(&accounts)),
        ["account", "add"] => account::by_hand(client, terminal).await,
        ["account", "add", address] => {
            account::add(client, terminal, account::Wanted::of(address)).await.map(|_| String::new())
        }
        ["account", "show", id] => connect::shown(client, id).await,
        ["account", "remove", id] => client.call(AccountRemove, id_of(id)).await.map(|_| "Forgotten.\n".to_owned()),
        ["phone", id, turn @ ("on" | "off")] => {
            let params = PhoneStopParams { account: (*id).to_owned(), on: *turn == "on" };
            client.call(PhoneStop, params).await.map(|phone| show::phone(&phone))
        }
        ["agents"] => client.call(AgentList, Empty {}).await.map(|agents| show::agents(&agents)),
        ["agent", "connect", id, name @ ..] => agent_connect(client, id, &name.join(" ")).await,
        ["agent", "revoke", id] => {
            client.call(AgentRevoke, id_of(id)).await.map(|_| "Revoked: its tokens and grants are void.\n".to_owned())
        }
        ["grant", "revoke", id] => client.call(GrantRevoke, id_of(id)).await.map(|_| "Taken away.\n".to_owned()),
        ["grant", agent, account, preset] => grant(client, agent, account, preset).await,
        ["token", agent] => token(client, agent).await,
        ["undo"] => client.call(UndoList, UndoListParams::default()).await.map(|entries| show::undos(&entries)),
        ["undo", entry] => undo(client, UndoRunParams::Entry { entry: (*entry).to_owned() }).await,
        ["undo", agent, since] => {
            undo(client, UndoRunParams::Agent { agent: (*agent).to_owned(), since: (*since).to_owned() }).await
        }
        ["outbox"] => client.call(OutboxList, Empty {}).await.map(|mails| show::outbox(&mails)),
        ["outbox", "cancel", id] => {
            client.call(OutboxCancel, id_of(id)).await.map(|_| "Taken back; it does not leave.\n".to_owned())
        }
        ["copies"] => client.call(QuarantineList, Empty {}).await.map(|copies| show::copies(&copies)),
        ["copies", "erase"] => erase(client, terminal).await,
        ["journal"] => journal(client).await,
        ["journal", "verify"] => client.call(JournalVerify, Empty {}).await.map(|verified| show::verified(&verified)),
        ["unlock"] => unlock(client, terminal).await,
        ["resume"] => resume(client, None, None).await,
        ["resume", agent] => resume(client, Some(agent), None).await,
        ["resume", agent, preset] => resume(client, Some(agent), Some(preset)).await,
        _ => Ok("I don't understand that. Type help for what you can do.\n".to_owned()),
    };
    terminal.say(&said.unwrap_or_else(|error| super::said_no(&error)));
    Next::Question
}

fn id_of(id: &str) -> Id {
    Id { id: id.to_owned() }
}

pub(super) async fn needed(terminal: &mut Terminal, prompt: &str) -> Option<String> {
    terminal.ask(prompt).await.filter(|text| !text.is_empty())
}

pub(super) async fn secret(terminal: &mut Terminal, prompt: &str) -> Option<Secret> {
    terminal.hidden(prompt).await.and_then(kept)
}

pub(super) fn kept(line: super::Line) -> Option<Secret> {
    (!line.trim().is_empty()).then(|| Secret::new(line.trim().to_owned()))
}

async fn agent_connect(client: &Client, id: &str, name: &str) -> Result<String, CallError> {
    let name = if name.is_empty() { id } else { name };
    let params = AgentConnectParams { id: id.to_owned(), name: name.to_owned(), program: None };
    let connected = client.call(AgentConnect, params).await?;
    let mut text =
        format!("Connected {}. Client id: {}\n", show::plain(&connected.id), show::plain(&connected.client_id));
    if let Some(secret) = connected.pairing_secret {
        text.push_str(&format!("Pairing secret, shown only now: {}\n", secret.expose()));
    }
    text.push_str(&format!("It may do nothing yet. Next: grant {} ACCOUNT organize\n", show::plain(&connected.id)));
    Ok(text)
}

async fn grant(client: &Client, agent: &str, account: &str, preset: &str) -> Result<String, CallError> {
    let params = GrantPutParams {
        agent: agent.to_owned(),
        account: account.to_owned(),
        preset: preset.to_owned(),
        authorization_details: None,
        budgets: None,
        expires_in: None,
    };
    let put = client.call(GrantPut, params).await?;
    Ok(format!("{} may now: {}\n", show::plain(&put.grant.agent), show::plain(&put.grant.summary)))
}

async fn token(client: &Client, agent: &str) -> Result<String, CallError> {
    let params = TokenIssueParams { agent: Some(agent.to_owned()), ..TokenIssueParams::default() };
    let issued = client.call(TokenIssue, params).await?;
    Ok(format!("{}\nIt lives {} s.\n", issued.access_token.expose(), issued.expires_in))
}

async fn undo(client: &Client, params: UndoRunParams) -> Result<String, CallError> {
    client.call(UndoRun, params).await.map(|result| show::undone(&result))
}

async fn journal(client: &Client) -> Result<String, CallError> {
    let params = JournalTailParams { limit: Some(30), skip_reads: Some(true), before: None };
    client.call(JournalTail, params).await.map(|records| show::records(&records))
}

/// Opens the vault, if it needs the person for it.
pub(super) async fn unlock(client: &Client, terminal: &mut Terminal) -> Result<String, CallError> {
    let status = client.call(StatusCall, Empty {}).await?;
    let passphrase = match status.vault.as_str() {
        "passphrase" if status.vault_locked => {
            let Some(passphrase) = secret(terminal, "Passphrase (not shown): ").await else {
                return Ok("Nothing was unlocked.\n".to_owned());
            };
            passphrase
        }
        _ => Secret::default(),
    };
    client.call(VaultUnlock, Unlock { passphrase }).await.map(|_| String::new())
}

async fn erase(client: &Client, terminal: &mut Terminal) -> Result<String, CallError> {
    let copies = client.call(QuarantineList, Empty {}).await?;
    if copies.items == 0 {
        return Ok(show::copies(&copies));
    }
    let prompt =
        format!("{}Type {} to erase them; nothing brings them back then: ", show::copies(&copies), copies.items);
    if needed(terminal, &prompt).await.and_then(|typed| typed.trim().parse().ok()) != Some(copies.items) {
        return Ok("Nothing was erased.\n".to_owned());
    }
    client.call(QuarantineClear, Empty {}).await.map(|_| "Erased.\n".to_owned())
}

async fn resume(client: &Client, agent: Option<&str>, preset: Option<&str>) -> Result<String, CallError> {
    let params = ResumeParams { agent: agent.map(str::to_owned), preset: preset.map(str::to_owned) };
    client.call(Resume, params).await?;
    Ok(match agent {
        Some(agent) => format!("{} goes on, {}.\n", show::plain(agent), preset.unwrap_or("read-only")),
        None => "The engine goes on. Every agent stays stopped until you resume it by name.\n".to_owned(),
    })
}
