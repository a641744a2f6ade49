/** What the windows need from the program around them. `tauri.ts` is the real one, `fake.ts` the one for tests and `vite dev`. */
import type { AccountView } from "../bindings/AccountView";
import type { AgentView } from "../bindings/AgentView";
import type { AnswerView } from "../bindings/AnswerView";
import type { AskView } from "../bindings/AskView";
import type { DiscoveredView } from "../bindings/DiscoveredView";
import type { GrantView } from "../bindings/GrantView";
import type { HoldView } from "../bindings/HoldView";
import type { JournalVerified } from "../bindings/JournalVerified";
import type { MailTls } from "../bindings/MailTls";
import type { OutboxView } from "../bindings/OutboxView";
import type { PanicResult } from "../bindings/PanicResult";
import type { PhoneView } from "../bindings/PhoneView";
import type { QuarantineView } from "../bindings/QuarantineView";
import type { RecordView } from "../bindings/RecordView";
import type { Remember } from "../bindings/Remember";
import type { Scope } from "../bindings/Scope";
import type { Settings } from "../bindings/Settings";
import type { SignedOut } from "../bindings/SignedOut";
import type { StatusView } from "../bindings/StatusView";
import type { UndoResult } from "../bindings/UndoResult";
import type { UndoView } from "../bindings/UndoView";
import type { Verdict } from "../bindings/Verdict";

export type EngineState = { state: "starting" } | { state: "up" } | { state: "down"; why: string };

export type Snapshot = {
  engine: EngineState;
  status: StatusView | null;
  accounts: AccountView[];
  agents: AgentView[];
  holds: HoldView[];
  asks: AskView[];
  undo: UndoView[];
  outbox: OutboxView[];
  cut: PanicResult | null;
  stopping: boolean;
  notes: string[];
  no_tray: boolean;
  drill: boolean;
  story: string[];
  panic_key: PanicKey | null;
};

/** The key that stops everything from anywhere, and why it does not work, if so. */
export type PanicKey = { keys: string; why: string | null };

export type Subject = { kind: "hold"; hold: HoldView } | { kind: "ask"; ask: AskView };

export type Confirm = {
  number: number;
  revision: number;
  subject: Subject;
  delay_ms: number;
  swallow_ms: number;
  more: number;
  error: string | null;
  /** Why nothing can be allowed: nobody is taken to be in front of the screen. */
  absent: string | null;
};

export type Choice = {
  verdict: Verdict;
  revision: number;
  digest: string;
  objects?: string[];
  scope?: Scope;
  rule?: string;
  remember?: Remember;
  forever?: boolean;
  retyped_count?: number;
};

export type Action =
  | "panic"
  | "open"
  | "quit"
  | { review: string }
  | { deny: string }
  | { "review-ask": string }
  | { revoke: string }
  | { undo: string };

export type Credential =
  | { kind: "bearer"; token: string }
  | { kind: "password"; username: string; password: string }
  | {
      kind: "oauth2";
      client_id: string;
      client_secret?: string;
      refresh_token: string;
      token_endpoint: string;
    };

export type MailServer = { host: string; port?: number; tls: MailTls };

export type NewAccount = {
  id: string;
  provider: string;
  upstream: { base_url?: string; imap?: MailServer; smtp?: MailServer; sieve?: MailServer };
  /** The person’s own mail address there. */
  address?: string;
  credential: Credential;
  /** Whether the credential is tried first; what does not open the account is not kept. */
  check: boolean;
};

export type Preset = "read-only" | "organize" | "assistant" | "ask-everything";

export type Connected = { id: string; client_id: string; pairing_secret?: string };

/** The engine's methods that the main window may call. */
export type Calls = {
  "account.discover": [{ address: string }, DiscoveredView];
  "account.remove": [{ id: string }, unknown];
  "account.sign_out": [{ id: string }, SignedOut];
  "phone.stop": [{ account: string; on: boolean }, PhoneView];
  "agent.connect": [{ id: string; name: string; program?: string }, Connected];
  "agent.revoke": [{ id: string }, unknown];
  "grant.put": [{ agent: string; account: string; preset: Preset; expires_in?: number }, { grant: GrantView }];
  "grant.revoke": [{ id: string }, unknown];
  "undo.run": [{ entry: string } | { agent: string; since: string }, UndoResult];
  resume: [{ agent?: string; preset?: Preset }, unknown];
  "outbox.cancel": [{ id: string }, unknown];
  "quarantine.list": [Record<string, never>, QuarantineView];
  "quarantine.clear": [Record<string, never>, QuarantineView];
  "answer.list": [Record<string, never>, AnswerView[]];
  "answer.forget": [{ id: string }, unknown];
  "rules.get": [Record<string, never>, { text: string }];
  "rules.put": [{ text: string }, unknown];
  "journal.tail": [{ before?: number; limit?: number; skip_reads?: boolean }, RecordView[]];
  "journal.verify": [Record<string, never>, JournalVerified];
  "settings.get": [Record<string, never>, Settings];
  "settings.set": [Partial<Settings>, Settings];
};

export interface MainBackend {
  snapshot(): Promise<Snapshot>;
  onChange(listener: () => void): void;
  onPage(listener: (page: string) => void): void;
  act(action: Action): Promise<void>;
  call<M extends keyof Calls>(method: M, params: Calls[M][0]): Promise<Calls[M][1]>;
  addAccount(account: NewAccount): Promise<string>;
  unlock(passphrase: string): Promise<void>;
  openSignOutPage(account: string): Promise<void>;
  startDrill(): Promise<void>;
}

export interface ConfirmBackend {
  view(): Promise<Confirm | null>;
  onChange(listener: () => void): void;
  /** The question ends at another time than shown. */
  onEnds(listener: (at: string) => void): void;
  painted(revision: number): Promise<void>;
  /** Somebody uses the window. */
  touch(): Promise<void>;
  decide(choice: Choice): Promise<void>;
}

/** The sentence in whatever a call threw. */
export function sentence(error: unknown): string {
  if (typeof error === "object" && error !== null && "message" in error) {
    return String(error.message);
  }
  return String(error);
}
