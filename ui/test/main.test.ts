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
  await fireEvent.click(screen.getByText("Panic: revoke everything"));
  expect(backend.acted).toEqual(["panic"]);
});

test("after a panic: what was cut, undo, resume read-only first", async () => {
  const status = { ...sampleSnapshot().status!, panicked: true, panicked_why: "You pressed Panic." };
  const cut = { epoch: 2n, cut: { connections: 3, tokens: 1, holds: 1 } };
  const backend = await open(sampleSnapshot({ status, cut, holds: [] }));
  expect(read()).toMatchSnapshot();
  await fireEvent.click(screen.getByText("Undo what it did in the last hour"));
  await fireEvent.click(screen.getByText("Resume"));
  expect(backend.called).toEqual([
    ["undo.run", { agent: "claude", since: "1h" }],
    ["resume", { agent: "claude", preset: "read-only" }],
  ]);
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
