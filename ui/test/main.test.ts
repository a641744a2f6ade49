import { fireEvent, render, screen } from "@testing-library/svelte";
import { expect, test } from "vitest";

import type { Snapshot } from "../src/backend/backend";
import { FakeMain, sampleHold, sampleSnapshot } from "../src/backend/fake";
import Main from "../src/main/Main.svelte";
import { accessible, pass, read } from "./set";

async function open(snapshot: Snapshot, page?: string) {
  const backend = new FakeMain(snapshot);
  render(Main, { backend });
  await pass(50);
  if (page !== undefined) {
    await fireEvent.click(screen.getByRole("button", { name: page }));
    await pass(50);
  }
  return backend;
}

test("panic is one click", async () => {
  const backend = await open(sampleSnapshot());
  await fireEvent.click(screen.getByRole("button", { name: "Panic: revoke everything (Ctrl+Alt+Shift+P)" }));
  expect(backend.acted).toEqual(["panic"]);
});

test("copies of what was deleted for ever are named, and erased after a second word", async () => {
  const backend = await open(sampleSnapshot(), "Settings");
  expect(read(document.querySelector("[aria-labelledby=quarantine]")!)).toMatchSnapshot();
  await fireEvent.click(screen.getByRole("button", { name: "Erase all copies…" }));
  await fireEvent.click(screen.getByRole("button", { name: "Keep them" }));
  expect(backend.called.at(-1)?.[0]).not.toBe("quarantine.clear");
  await fireEvent.click(screen.getByRole("button", { name: "Erase all copies…" }));
  await fireEvent.click(screen.getByRole("button", { name: "Erase 3 copies" }));
  await pass(10);
  expect(backend.called.at(-1)).toEqual(["quarantine.clear", {}]);
  expect(screen.queryByRole("button", { name: "Erase all copies…" })).toBeNull();
});

test("after a panic: what was cut, undo, resume read-only first", async () => {
  const status = { ...sampleSnapshot().status!, panicked: true, panicked_why: "You pressed Panic." };
  const cut = { epoch: 2n, cut: { connections: 3, tokens: 1, holds: 1 } };
  const mail = { id: "o1", agent: "claude", account: "work", subject: "Offer", recipients: ["bob@example.org"], sends_at: "2026-11-22T09:06:00Z", frozen: true };
  const backend = await open(sampleSnapshot({ status, cut, holds: [], outbox: [mail] }));
  expect(read()).toMatchSnapshot();
  await fireEvent.click(screen.getByText("Undo what Claude did in the last hour"));
  await fireEvent.click(screen.getByRole("button", { name: "Resume Claude" }));
  expect(backend.called).toEqual([
    ["undo.run", { agent: "claude", since: "1h" }],
    ["resume", { agent: "claude", preset: "read-only" }],
  ]);
  await accessible();
});

test("signing out says for each account how far it came, and opens the page for the rest", async () => {
  const status = { ...sampleSnapshot().status!, panicked: true };
  const page = "https://myaccount.google.com/connections";
  const account = (id: string) => ({ id, provider: "gmail", origin: "https://gmail.googleapis.com:443", credential: "oauth2", sign_out_page: page });
  const backend = await open(sampleSnapshot({ status, holds: [], accounts: ["home", "work", "gone"].map(account) }));
  const answers = [
    { done: true, state: "revoked", text: "Signed out. Add the account again to use it." },
    { done: true, state: "accepted", text: "The provider took it." },
  ];
  backend.call = (() => {
    const answer = answers.shift();
    return answer === undefined ? Promise.reject({ message: "there is no such account" }) : Promise.resolve(answer);
  }) as typeof backend.call;
  await fireEvent.click(screen.getByText("Sign out of all 3 accounts"));
  await pass(10);
  const said = read(document.querySelector("[aria-labelledby=sign-out]")!);
  expect(said).toMatchSnapshot();
  await fireEvent.click(screen.getAllByText(`Open ${page}`)[0]!);
  expect(backend.opened).toEqual(["work"]);
  await accessible();
});

test("the keys that stop everything are pressed, not typed", async () => {
  const backend = await open(sampleSnapshot(), "Settings");
  const field = screen.getByLabelText(/Keys that stop everything/) as HTMLInputElement;
  for (const [keys, shown] of [
    [{ code: "KeyX" }, "Ctrl+Alt+Shift+P"],
    [{ code: "ControlLeft", ctrlKey: true }, "Ctrl+Alt+Shift+P"],
    [{ code: "Tab", altKey: true }, "Ctrl+Alt+Shift+P"],
    [{ code: "Pause", ctrlKey: true, altKey: true }, "Ctrl+Alt+Pause"],
  ] as const) {
    await fireEvent.keyDown(field, keys);
    expect(field.value).toBe(shown);
  }
  expect(document.getElementById("panic-keys-state")?.textContent).toContain("Save to use them");
  await fireEvent.click(screen.getByText("Use none"));
  await fireEvent.click(screen.getByText("Save"));
  expect(backend.called.at(-1)).toEqual(["settings.set", expect.objectContaining({ panic_keys: "" })]);
});

test("keys that were not given to us are not offered", async () => {
  await open(sampleSnapshot({ panic_key: { keys: "Ctrl+Alt+Shift+P", why: "another program may have taken it" } }), "Settings");
  expect(document.getElementById("panic")?.textContent?.trim()).toBe("Panic: revoke everything");
  expect(document.getElementById("panic-keys-state")?.textContent).toContain("They don’t work: another program may have taken it.");
});

test("the drill says that it is one, tells its story and can be ended", async () => {
  const backend = await open(sampleSnapshot({ drill: true, story: ["Tidybot: I only look.", "8 of 8 messages changed."] }));
  expect(read(document.querySelector("[aria-labelledby=drill]")!)).toMatchSnapshot();
  await fireEvent.click(screen.getByText("End the drill"));
  expect(backend.acted).toEqual(["quit"]);
  await accessible();
});

test("the phone stop is switched, and said when it is offline", async () => {
  const backend = await open(sampleSnapshot(), "Accounts");
  await fireEvent.click(screen.getByRole("switch", { name: /Stop from the phone: off/ }));
  await pass(10);
  expect(backend.called).toContainEqual(["phone.stop", { account: "work", on: true }]);
  const status = sampleSnapshot().status!;
  const phone = [{ account: "work", state: "offline" as const, since: "2026-11-22T09:14:00Z", text: "Moving the mail stops nothing until then" }];
  backend.change(sampleSnapshot({ status: { ...status, phone } }));
  await pass(10);
  const shown = screen.getByRole("switch", { name: /Stop from the phone: offline, since/ }) as HTMLInputElement;
  expect(shown.checked).toBe(true);
  expect(document.body.textContent).toContain("Moving the mail stops nothing until then");
  await fireEvent.click(shown);
  await pass(10);
  expect(backend.called).toContainEqual(["phone.stop", { account: "work", on: false }]);
  await accessible();
});

test("a credential is sent once and not kept in the form", async () => {
  const backend = await open(sampleSnapshot(), "Accounts");
  await fireEvent.change(screen.getByLabelText(/Credential/), { target: { value: "bearer" } });
  await fireEvent.input(screen.getByLabelText(/Name, used/), { target: { value: "home" } });
  const field = screen.getByLabelText(/^Access token/) as HTMLInputElement;
  await fireEvent.input(field, { target: { value: "secret-canary" } });
  await fireEvent.click(screen.getByText("Add account"));
  await pass(10);
  expect(backend.accounts[0]?.credential).toEqual({ kind: "bearer", token: "secret-canary" });
  expect(field.value).toBe("");
});

async function found(address: string, answer?: object) {
  const backend = await open(sampleSnapshot(), "Accounts");
  if (answer !== undefined) backend.call = (() => Promise.resolve(answer)) as typeof backend.call;
  await fireEvent.input(screen.getByLabelText("Mail address"), { target: { value: address } });
  await fireEvent.click(screen.getByText("Find its servers"));
  await pass(10);
  return backend;
}

test("a mailbox is added by its address, after a server elsewhere was agreed to, and its login is tried", async () => {
  const backend = await found("erin@example.org");
  expect(backend.called).toEqual([["account.discover", { address: "erin@example.org" }]]);
  expect(read(document.querySelector("[aria-labelledby=add-mailbox]")!)).toMatchSnapshot();
  const field = screen.getByLabelText("Password") as HTMLInputElement;
  await fireEvent.input(field, { target: { value: "secret-canary" } });
  const button = screen.getByText("Try the login and add") as HTMLButtonElement;
  expect(button.disabled).toBe(true);
  await fireEvent.click(screen.getByLabelText(/I know that my password goes to/));
  expect(button.disabled).toBe(false);
  await fireEvent.click(button);
  await pass(10);
  expect(backend.accounts).toEqual([
    {
      id: "erin",
      provider: "imap",
      upstream: { imap: { host: "imap.example.net", port: 993, tls: "implicit" } },
      address: "erin@example.org",
      credential: { kind: "password", username: "erin@example.org", password: "secret-canary" },
      check: true,
    },
  ]);
  expect(screen.queryByLabelText("Password")).toBeNull();
  await accessible();
});

test("the yes names every server elsewhere that gets the password, and only those", async () => {
  const server = (host: string, outside: boolean) => ({ host, port: 993, tls: "implicit", by: "domain", outside });
  const backend = await found("erin@example.org", {
    address: "erin@example.org",
    id: "erin",
    provider: "imap",
    username: "erin@example.org",
    password: "own",
    imap: server("imap.example.org", false),
    smtp: server("smtp.evil.example", true),
  });
  const yes = () => screen.queryByLabelText(/I know that my password goes to/) as HTMLInputElement | null;
  const button = screen.getByText("Try the login and add") as HTMLButtonElement;
  expect(yes()?.closest("label")?.textContent?.replace(/\s+/g, " ")).toContain(
    "goes to smtp.evil.example, which is not under example.org",
  );
  expect(button.disabled).toBe(true);
  await fireEvent.click(yes()!);
  expect(button.disabled).toBe(false);
  // Without sending the password goes nowhere else, and what was agreed to is for the same servers again.
  await fireEvent.click(screen.getByLabelText(/Also send mail, through smtp\.evil\.example/));
  expect(yes()).toBeNull();
  expect(button.disabled).toBe(false);
  await fireEvent.input(screen.getByLabelText("Password"), { target: { value: "secret-canary" } });
  await fireEvent.click(button);
  await pass(10);
  expect(backend.accounts[0]?.upstream).toEqual({ imap: { host: "imap.example.org", port: 993, tls: "implicit" } });
});

test("whoever types the server for reading may type one for mail filters", async () => {
  const backend = await found("erin@example.org");
  expect(screen.queryByLabelText(/Server for mail filters/)).toBeNull();
  await fireEvent.input(screen.getByLabelText("Server for reading (IMAP)"), { target: { value: "mail.example.org" } });
  expect(screen.queryByLabelText("Encryption for mail filters")).toBeNull();
  await fireEvent.input(screen.getByLabelText(/Server for mail filters/), { target: { value: "sieve.example.org" } });
  expect((screen.getByLabelText("Encryption for mail filters") as HTMLSelectElement).value).toBe("starttls");
  await fireEvent.input(screen.getByLabelText("Port for mail filters"), { target: { value: "4191" } });
  await fireEvent.input(screen.getByLabelText("Password"), { target: { value: "secret-canary" } });
  await fireEvent.click(screen.getByText("Try the login and add"));
  await pass(10);
  expect(backend.accounts[0]?.upstream).toEqual({
    imap: { host: "mail.example.org", port: 993, tls: "implicit" },
    sieve: { host: "sieve.example.org", port: 4191, tls: "starttls" },
  });
  await accessible();
});

test("whoever types the server for reading may type the one for sending", async () => {
  const backend = await found("erin@own.example", {
    address: "erin@own.example",
    id: "erin",
    provider: "imap",
    username: "erin@own.example",
    password: "unknown",
    notes: ["own.example does not say where its mail servers are, and no usual name answered."],
  });
  expect(read(document.querySelector("[aria-labelledby=add-mailbox]")!)).toMatchSnapshot();
  await fireEvent.input(screen.getByLabelText("Server for reading (IMAP)"), { target: { value: "mail.own.example" } });
  await fireEvent.input(screen.getByLabelText("User name there"), { target: { value: "u123" } });
  expect(screen.queryByLabelText("Encryption for sending")).toBeNull();
  await fireEvent.input(screen.getByLabelText(/Server for sending/), { target: { value: " smtp.own.example " } });
  const encryption = screen.getByLabelText("Encryption for sending") as HTMLSelectElement;
  expect(encryption.value).toBe("implicit");
  await fireEvent.change(encryption, { target: { value: "starttls" } });
  await fireEvent.input(screen.getByLabelText("Port for sending"), { target: { value: "587" } });
  await fireEvent.input(screen.getByLabelText("Password"), { target: { value: "secret-canary" } });
  await accessible();
  await fireEvent.click(screen.getByText("Try the login and add"));
  await new Promise((resolve) => setTimeout(resolve, 10));
  expect(backend.accounts).toEqual([
    {
      id: "erin",
      provider: "imap",
      upstream: {
        imap: { host: "mail.own.example", tls: "implicit" },
        smtp: { host: "smtp.own.example", port: 587, tls: "starttls" },
      },
      address: "erin@own.example",
      credential: { kind: "password", username: "u123", password: "secret-canary" },
      check: true,
    },
  ]);
});

test("what was typed for sending is for the servers that were typed, and not for those that were found", async () => {
  const server = (host: string) => ({ host, port: 993, tls: "implicit", by: "domain", outside: false });
  const backend = await found("erin@example.org", {
    address: "erin@example.org",
    id: "erin",
    provider: "imap",
    username: "erin@example.org",
    password: "own",
    imap: server("imap.example.org"),
    smtp: server("smtp.example.org"),
  });
  const reading = screen.getByLabelText("Server for reading (IMAP)");
  await fireEvent.input(reading, { target: { value: "mail.example.org" } });
  expect(screen.queryByLabelText(/Also send mail/)).toBeNull();
  await fireEvent.input(screen.getByLabelText(/Server for sending/), { target: { value: "typed.example.org" } });
  await fireEvent.input(reading, { target: { value: "imap.example.org" } });
  expect(screen.queryByLabelText(/Server for sending/)).toBeNull();
  await fireEvent.input(screen.getByLabelText("Password"), { target: { value: "secret-canary" } });
  await fireEvent.click(screen.getByText("Try the login and add"));
  await pass(10);
  expect(backend.accounts[0]?.upstream.smtp?.host).toBe("smtp.example.org");
});

test("a yes for one server elsewhere is none for two", async () => {
  const server = (host: string) => ({ host, port: 993, tls: "implicit", by: "domain", outside: true });
  await found("erin@example.org", {
    address: "erin@example.org",
    id: "erin",
    provider: "imap",
    username: "erin@example.org",
    password: "own",
    imap: server("imap.example.net"),
    smtp: server("smtp.evil.example"),
  });
  const yes = () => screen.getByLabelText(/I know that my password goes to/) as HTMLInputElement;
  const sends = screen.getByLabelText(/Also send mail/);
  expect(yes().closest("label")?.textContent?.replace(/\s+/g, " ")).toContain(
    "goes to imap.example.net and smtp.evil.example, which are not under example.org",
  );
  await fireEvent.click(sends);
  await fireEvent.click(yes());
  expect(yes().checked).toBe(true);
  await fireEvent.click(sends);
  expect(yes().checked).toBe(false);
  expect((screen.getByText("Try the login and add") as HTMLButtonElement).disabled).toBe(true);
});

test("a password that is refused leaves the form and what was found, not the password", async () => {
  const backend = await found("erin@gmail.com", {
    address: "erin@gmail.com",
    id: "erin",
    provider: "imap",
    name: "Gmail",
    username: "erin@gmail.com",
    password: "app",
    help: "Google takes an app password here, not your account’s password.",
    link: "https://myaccount.google.com/apppasswords",
    imap: { host: "imap.gmail.com", port: 993, tls: "implicit", by: "known", outside: false },
  });
  backend.addAccount = () => Promise.reject({ message: "imap.gmail.com does not accept this user name and password, so nothing was saved." });
  await fireEvent.input(screen.getByLabelText("Password"), { target: { value: "secret-canary" } });
  await fireEvent.click(screen.getByText("Try the login and add"));
  await pass(10);
  expect(screen.getByRole("alert").textContent).toContain("nothing was saved");
  expect((screen.getByLabelText("Password") as HTMLInputElement).value).toBe("");
  expect(read(document.querySelector("[aria-labelledby=add-mailbox]")!)).toMatchSnapshot();
});

test("where no password is taken none is asked for", async () => {
  await found("erin@outlook.com", {
    address: "erin@outlook.com",
    id: "erin",
    provider: "imap",
    name: "Outlook.com",
    username: "erin@outlook.com",
    password: "oauth",
    help: "Microsoft takes no passwords from mail programs any more.",
    link: "https://learn.microsoft.com",
  });
  expect(screen.queryByLabelText("Password")).toBeNull();
  expect(document.body.textContent).toContain("Microsoft takes no passwords");
});

test.each(["Overview", "Agents", "Accounts", "Activity", "Settings"])("%s reads well and axe finds nothing", async (page) => {
  document.documentElement.lang = "en";
  document.title = "Latchstring";
  await open(
    sampleSnapshot({ holds: [sampleHold(12), sampleHold(40, { id: "h2", state: "proposal" })], notes: ["The engine stopped."] }),
    page === "Overview" ? undefined : page,
  );
  expect(read()).toMatchSnapshot();
  await accessible();
});

test("offline says so", async () => {
  await open(sampleSnapshot({ engine: { state: "down", why: "it ended" }, status: null, holds: [] }));
  expect(screen.getByRole("status").textContent).toContain("Offline");
});
