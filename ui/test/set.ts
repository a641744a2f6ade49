import { cleanup } from "@testing-library/svelte";
import axe from "axe-core";
import { afterEach, beforeEach, expect, vi } from "vitest";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "setTimeout", "clearTimeout", "Date", "performance", "requestAnimationFrame"] });
  vi.setSystemTime(new Date("2026-11-22T09:05:00Z"));
  vi.spyOn(document, "hasFocus").mockReturnValue(true);
});

afterEach(() => {
  cleanup();
  vi.useRealTimers();
  vi.restoreAllMocks();
  document.documentElement.removeAttribute("dir");
});

/** Lets `milliseconds` pass. */
export async function pass(milliseconds: number) {
  await vi.advanceTimersByTimeAsync(milliseconds);
}

/** The page as a person reads it: text and controls, one a line. */
export function read(root: Element = document.body): string {
  const lines: string[] = [];
  const walk = (node: Node) => {
    if (node.nodeType === Node.TEXT_NODE) {
      const text = (node.textContent ?? "").replace(/\s+/g, " ").trim();
      if (text !== "") lines.push(text);
      return;
    }
    if (!(node instanceof Element)) return;
    if (node instanceof HTMLButtonElement) {
      lines.push(`[${node.textContent?.replace(/\s+/g, " ").trim()}]${node.disabled ? " (off)" : ""}`);
    } else if (node instanceof HTMLInputElement) {
      const box = node.type === "checkbox" || node.type === "radio";
      lines.push(box ? `<${node.checked ? "x" : " "}>` : `<${node.type}: ${node.value}>`);
    } else {
      node.childNodes.forEach(walk);
    }
  };
  walk(root);
  return lines.join("\n");
}

/** axe-core finds nothing that jsdom can tell. */
export async function accessible() {
  vi.useRealTimers();
  const { violations } = await axe.run(document.body, { rules: { "color-contrast": { enabled: false }, region: { enabled: false } } });
  expect(violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.html).join(" ")}`)).toEqual([]);
}
