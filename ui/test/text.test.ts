import { expect, test } from "vitest";

import { sampleHold } from "../src/backend/fake";
import { act, grouped, left, visible } from "../src/text";

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
  expect(act(sampleHold(2, { verb: "Mark as read" }), 1)).toBe("Mark 1 message as read");
});
