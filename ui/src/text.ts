/** Words for people. What comes from outside is shown through `visible` and never as markup. */
import type { HoldView } from "./bindings/HoldView";

const HIDDEN =
  // eslint-disable-next-line no-control-regex
  /[\u0000-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ue000-\uf8ff\ufe00-\ufe0e\ufeff\uffa0\ufff0-\ufffb\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}\u{f0000}-\u{10ffff}]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/gu;
const DOMAIN = /[\p{L}\p{N}\p{M}-]+(?:\.[\p{L}\p{N}\p{M}-]+)+/gu;

/** Shows what could hide or reorder text as `‹U+202E›`, line ends as spaces, and domains of mixed scripts as punycode. */
export function visible(text: string): string {
  return escaped(text.replace(/\r\n|[\r\n\t]/g, " "));
}

/** The same for text of several lines. */
export function visibleLines(text: string): string {
  return text.split(/\r\n|\r|\n/).map((line) => escaped(line.replace(/\t/g, "    "))).join("\n");
}

function escaped(text: string): string {
  return text
    .replace(HIDDEN, (letter) => `‹U+${(letter.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}›`)
    .replace(DOMAIN, (domain) => (mixesScripts(domain) ? punycode(domain) : domain));
}

const SCRIPTS: [string, RegExp][] = [
  ["Latin", /\p{Script=Latin}/u],
  ["Cyrillic", /\p{Script=Cyrillic}/u],
  ["Greek", /\p{Script=Greek}/u],
  ["Armenian", /\p{Script=Armenian}/u],
  ["Hebrew", /\p{Script=Hebrew}/u],
  ["Arabic", /\p{Script=Arabic}/u],
  ["Cherokee", /\p{Script=Cherokee}/u],
  ["East Asian", /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Script=Bopomofo}]/u],
];

function mixesScripts(domain: string): boolean {
  const letters = [...domain].filter((letter) => /\p{L}/u.test(letter));
  const scripts = new Set(letters.map((letter) => SCRIPTS.find(([, test]) => test.test(letter))?.[0] ?? "other"));
  return scripts.size > 1;
}

function punycode(domain: string): string {
  try {
    return new URL(`http://${domain}`).hostname;
  } catch {
    return [...domain].map((letter) => (letter > "\u007f" ? `‹U+${letter.codePointAt(0)?.toString(16).toUpperCase()}›` : letter)).join("");
  }
}

/** `Trash 12 messages`, `Delete 214 messages for ever`. */
export function act(hold: HoldView, count: number): string {
  const space = hold.verb.indexOf(" ");
  const [first, rest] = space < 0 ? [hold.verb, ""] : [hold.verb.slice(0, space), hold.verb.slice(space)];
  return visible(`${first} ${counted(count, hold.noun)}${rest}`);
}

/** `1 message`, `12 messages`. */
export function counted(count: number, noun: [string, string]): string {
  return `${grouped(count)} ${count === 1 ? noun[0] : noun[1]}`;
}

export function grouped(count: number | bigint): string {
  return count.toString().replace(/\B(?=(\d{3})+$)/g, ",");
}

/** `12 min`, `3 h`; empty when it is over or can't be read. */
export function left(until: string | null | undefined, now: number): string {
  const seconds = until == null ? NaN : Math.floor((Date.parse(until) - now) / 1000);
  if (!(seconds > 0)) return "";
  if (seconds <= 90) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} days`;
}

/** `22 Nov 2026, 09:14`, in the person's time zone. */
export function moment(at: string | null | undefined): string {
  const date = new Date(at ?? NaN);
  if (Number.isNaN(date.getTime())) return "";
  const day = date.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });
  return `${day}, ${date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" })}`;
}

export function day(at: string | null | undefined): string {
  return moment(at).split(",")[0] ?? "";
}
