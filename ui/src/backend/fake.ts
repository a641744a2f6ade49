/** Backends without a program behind them: for tests and `vite dev`. */
import type { AgentView } from "../bindings/AgentView";
import type { HoldView } from "../bindings/HoldView";
import type { Action, Calls, Choice, Confirm, ConfirmBackend, MainBackend, NewAccount, Snapshot } from "./backend";

/** Records every decision; `decide` can be made to fail. */
export class FakeConfirm implements ConfirmBackend {
  decided: Choice[] = [];
  touches = 0;
  paintedRevisions: number[] = [];
  refusal: string | null = null;
  private listener: () => void = () => undefined;
  private ends: (at: string) => void = () => undefined;

  constructor(private current: Confirm) {}

  view = () => Promise.resolve(this.current);
  onChange = (listener: () => void) => {
    this.listener = listener;
  };
  onEnds = (listener: (at: string) => void) => {
    this.ends = listener;
  };
  touch = () => {
    this.touches += 1;
    return Promise.resolve();
  };
  painted = (revision: number) => {
    this.paintedRevisions.push(revision);
    return Promise.resolve();
  };
  decide = (choice: Choice) => {
    if (this.refusal !== null) return Promise.reject({ message: this.refusal });
    this.decided.push(choice);
    return Promise.resolve();
  };

  /** It ends at another time. */
  move(at: string) {
    this.ends(at);
  }

  /** The question changes under the person's eyes. */
  change(next: Confirm) {
    this.current = next;
    this.listener();
  }
}

/** Records every call and answers with plain results. */
export class FakeMain implements MainBackend {
  acted: Action[] = [];
  called: [string, unknown][] = [];
  accounts: NewAccount[] = [];
  opened: string[] = [];
  private listener: () => void = () => undefined;

  constructor(private current: Snapshot) {}

  snapshot = () => Promise.resolve(this.current);
  onChange = (listener: () => void) => {
    this.listener = listener;
  };
  onPage = () => undefined;
  act = (action: Action) => {
    this.acted.push(action);
    return Promise.resolve();
  };
  call = <M extends keyof Calls>(method: M, params: Calls[M][0]): Promise<Calls[M][1]> => {
    this.called.push([method, params]);
    return Promise.resolve((RESULTS[method] ?? {}) as Calls[M][1]);
  };
  addAccount = (account: NewAccount) => {
    this.accounts.push(account);
    return Promise.resolve(account.id);
  };
  unlock = () => Promise.resolve();
  openSignOutPage = (account: string) => {
    this.opened.push(account);
    return Promise.resolve();
  };
  startDrill = () => Promise.resolve();

  change(next: Snapshot) {
    this.current = next;
    this.listener();
  }
}

const RESULTS: Partial<Record<keyof Calls, unknown>> = {
  "account.discover": {
    address: "erin@example.org",
    id: "erin",
    provider: "imap",
    username: "erin@example.org",
    password: "unknown",
    imap: { host: "imap.example.net", port: 993, tls: "implicit", by: "domain", outside: true },
    smtp: { host: "smtp.example.org", port: 587, tls: "starttls", by: "domain", outside: false, problem: "it can’t be reached" },
    notes: [],
  },
  "undo.run": { restored: 11, not_restored: [{ object: "m4", why: "somebody moved it since" }] },
  "agent.connect": { id: "claude", client_id: "latch-claude", pairing_secret: "shown-once" },
  "journal.tail": [
    { seq: 7, at: "2026-11-22T09:14:00Z", kind: "outcome", agent: "claude", account: "work", count: 12, text: "Trashed 12 messages" },
  ],
  "settings.get": {
    http_wait_seconds: 25,
    hold_seconds: 600,
    proposal_hours: 24,
    outbox_seconds: 60,
    token_seconds: 900,
    quarantine_mib: 512,
    object_text_days: 90,
    panic_keys: "Ctrl+Alt+Shift+P",
  },
  "account.sign_out": { done: true, state: "accepted", text: "The provider took it and does not tell whether it is in force." },
  "phone.stop": { account: "work", state: "watching", since: "2026-11-22T09:14:00Z", text: "Its mail server reports at once when the mail leaves the inbox." },
  "quarantine.list": {
    items: 3,
    bytes: 40960,
    limit: 536870912,
    entries: [
      {
        undo: { entry: "u7", agent: "claude", account: "work", text: "Deleted 3 messages for ever", at: "2026-11-22T08:00:00Z", count: 3, undone: false },
        items: 3,
        bytes: 40960,
      },
    ],
  },
  "quarantine.clear": { items: 0, bytes: 0, limit: 536870912, entries: [] },
  "answer.list": [],
  "answer.forget": {},
  "rules.get": { text: "" },
  "journal.verify": { ok: true, records: 7 },
};

export function sampleHold(count: number, change: Partial<HoldView> = {}): HoldView {
  const senders = ["Alice <alice@example.org>", "Your bank <news@bank.example>"];
  return {
    id: "h1",
    digest: "d1",
    agent: "claude",
    agent_name: "Claude",
    program: ["/usr/bin/claude", "/usr/bin/bash"],
    class: "remove",
    account: "work",
    verb: "Trash",
    keep: "Keep them",
    noun: ["message", "messages"],
    count,
    objects: Array.from({ length: count }, (_, at) => ({
      id: `m${at}`,
      title: `Minutes of meeting ${at}`,
      from: senders[at % 2] ?? null,
      date: "2026-11-20T08:00:00Z",
      flags: at === 1 ? ["starred"] : [],
    })),
    summary: {
      senders: senders.map((sender) => ({ sender, count: Math.ceil(count / 2) })),
      oldest: "2026-01-01T08:00:00Z",
      newest: "2026-11-20T08:00:00Z",
      starred: 1,
      unread: 2,
      important: 0,
    },
    facts: [],
    reversible: "yes",
    undo_text: "Undo moves them back out of the Trash.",
    agent_reason: "Cleaning up.",
    why: "over its budget of 5 in 10 minutes",
    partial: true,
    task_scope: true,
    memorable: true,
    forever: false,
    retype: false,
    state: "open",
    opened_at: "2026-11-22T09:00:00Z",
    expires_at: "2026-11-22T09:10:00Z",
    waiting: true,
    prompt: true,
    recent: { last_hour: [{ class: "modify", count: 31 }], denied: 2 },
    ...change,
  };
}

export function sampleConfirm(hold: HoldView, change: Partial<Confirm> = {}): Confirm {
  return { number: 1, revision: 1, subject: { kind: "hold", hold }, delay_ms: 1000, swallow_ms: 350, more: 0, error: null, absent: null, ...change };
}

export function sampleAgent(): AgentView {
  return {
    id: "claude",
    client_id: "latch-claude",
    name: "Claude",
    program: "/usr/bin/claude",
    grants: [{ id: "g1", agent: "claude", account: "work", preset: "organize", summary: "organizes work" }],
    tokens: 1,
    token_expires_at: "2099-01-01T00:00:00Z",
    stopped: false,
    recent: { last_hour: [{ class: "modify", count: 31 }], denied: 0 },
  };
}

export function sampleSnapshot(change: Partial<Snapshot> = {}): Snapshot {
  return {
    engine: { state: "up" },
    status: {
      version: "0.1.0",
      home: "~/.local/share/latchstring",
      doors: { http: "http://127.0.0.1:7070" },
      vault: "keyring",
      vault_locked: false,
      panicked: false,
      owner: "tray",
      accounts: 1,
      agents: 1,
      waiting: 1,
      phone: [{ account: "work", state: "off", text: "No mail in its inbox stops anything." }],
    },
    accounts: [{ id: "work", provider: "gmail", address: "erin@example.org", origin: "https://gmail.googleapis.com:443", credential: "oauth2", sign_out_page: "https://myaccount.google.com/connections" }],
    agents: [sampleAgent()],
    holds: [sampleHold(12)],
    asks: [],
    undo: [
      { entry: "u1", agent: "claude", account: "work", text: "Archived 20 messages", at: "2026-11-22T08:50:00Z", count: 20, undone: false },
    ],
    outbox: [],
    cut: null,
    stopping: false,
    notes: [],
    no_tray: false,
    drill: false,
    story: [],
    panic_key: { keys: "Ctrl+Alt+Shift+P", why: null },
    ...change,
  };
}
