import { expect, test, vi } from "vitest";

import { sampleHold } from "../src/backend/fake";
import { undone } from "../src/main/page";
import { act, day, did, grouped, size, left, visible } from "../src/text";

test.each([
  ["invoice\u202efdp.exe", "invoice‹U+202E›fdp.exe"],
  ["a\u200bb\ufeffc", "a‹U+200B›b‹U+FEFF›c"],
  ["x\u{e0041}y", "x‹U+E0041›y"],
  ["one\r\ntwo\u0007", "one two‹U+0007›"],
  ["p\u0430ypal.com pays", "xn--pypal-4ve.com pays"],
  ["Grüße aus münchen.de", "Grüße aus münchen.de"],
  ["пример.рф", "пример.рф"],
  ["👍 fine", "👍 fine"],
  ["\ud800 alone", "‹U+D800› alone"],
])("%j is shown as %j", (raw, shown) => {
  expect(visible(raw)).toBe(shown);
});

test("numbers and times", () => {
  expect([grouped(7), grouped(1000), grouped(1234567)]).toEqual(["7", "1,000", "1,234,567"]);
  const now = Date.parse("2026-11-22T08:00:00Z");
  expect([left("2026-11-22T08:12:00Z", now), left("2026-11-22T07:00:00Z", now), left("soon", now)]).toEqual(["12 min", "", ""]);
});

test.each([
  ["Trash", 12, "message", "Trash 12 messages"],
  ["Trash", 1, "message", "Trash 1 message"],
  ["Delete for ever", 1214, "message", "Delete 1,214 messages for ever"],
  ["Mark as read", 1, "message", "Mark 1 message as read"],
  ["Take the star off", 1, "message", "Take the star off 1 message"],
  ["Change the labels of", 3, "message", "Change the labels of 3 messages"],
  ["Create a label", 1, "change", "Create a label"],
  ["Change the language", 3, "change", "Change the language and 2 more"],
])("%s, %i × %s reads %s", (verb, count, one, text) => {
  expect(act(sampleHold(2, { verb, noun: [one, `${one}s`] }), count)).toBe(text);
});

test("sizes", () => {
  expect([0, 1, 40960, 1_500_000, 536_870_912].map(size)).toEqual(["0 bytes", "1 byte", "40 KiB", "1.4 MiB", "512 MiB"]);
});

test("what undo and agents did", () => {
  const gone = { object: "m1", why: "it was moved since" };
  expect(undone({ restored: 1, not_restored: [] })).toBe("1 object was put back.");
  expect(undone({ restored: 12, not_restored: [gone] })).toBe("12 objects were put back, 1 was not: it was moved since");
  expect(did({ last_hour: [], denied: 0 })).toBe("nothing but reading");
  expect(did({ last_hour: [{ class: "remove", count: 1 }], denied: 2 })).toBe("1 removed, 2 denied");
});

test("a day without a time is that day west of Greenwich, too", () => {
  vi.stubEnv("TZ", "America/New_York");
  try {
    expect(day("2026-03-02T02:00:00Z")).toBe("1 Mar 2026");
    expect(day("2026-03-02")).toBe("2 Mar 2026");
    expect(day("2026-13-45")).toBe("");
    expect(day(null)).toBe("");
  } finally {
    vi.unstubAllEnvs();
  }
});
