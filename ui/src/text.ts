/** Words for people. What comes from outside is shown through `visible` and never as markup. */
import type { Class } from "./bindings/Class";
import type { HoldView } from "./bindings/HoldView";
import type { RecentView } from "./bindings/RecentView";

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

/** `Trash 12 messages`, `Delete 214 messages for ever`, `Change the labels of 1 message`; a verb that says it all stands alone. */
export function act(hold: HoldView, count: number): string {
  const verb = hold.verb.replace(/,+$/, "");
  if (hold.noun[0] === "change") return visible(count > 1 ? `${verb} and ${grouped(count - 1)} more` : verb);
  const objects = counted(count, hold.noun);
  const space = verb.indexOf(" ");
  if (space < 0 || / (of|off|for)$/.test(verb)) return visible(`${verb} ${objects}`);
  return visible(`${verb.slice(0, space)} ${objects}${verb.slice(space)}`);
}

const DID: Record<Class, string> = {
  read: "read",
  modify: "changed",
  remove: "removed",
  unclassified: "of unknown effect",
  send: "sent",
  publish: "published",
  share: "shared",
  destroy: "destroyed",
  spend: "paid",
  divert: "settings redirected",
};

/** `31 changed, 5 removed, 2 denied`; what an agent did in the last hour. */
export function did(recent: RecentView): string {
  const parts = recent.last_hour.map((one) => `${grouped(one.count)} ${DID[one.class]}`);
  if (recent.denied > 0) parts.push(`${grouped(recent.denied)} denied`);
  return parts.length === 0 ? "nothing but reading" : parts.join(", ");
}

/** As a sentence of its own. */
export function sentence(text: string): string {
  const shown = visible(text).trim().replace(/\.+$/, "");
  return shown === "" ? "" : `${shown.charAt(0).toUpperCase()}${shown.slice(1)}.`;
}

/** `1 message`, `12 messages`. */
export function counted(count: number, noun: [string, string]): string {
  return `${grouped(count)} ${count === 1 ? noun[0] : noun[1]}`;
}

export function grouped(count: number | bigint): string {
  return count.toString().replace(/\B(?=(\d{3})+$)/g, ",");
}

/** `40 KiB`, `512 MiB`. */
export function size(bytes: number): string {
  const steps = ["bytes", "KiB", "MiB", "GiB"];
  let step = 0;
  for (; bytes >= 1024 && step < steps.length - 1; step += 1) bytes /= 1024;
  return step === 0 ? counted(bytes, ["byte", "bytes"]) : `${Math.round(bytes * 10) / 10} ${steps[step]}`;
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

/** `22 Nov 2026`. A date alone is that day in every time zone. */
export function day(at: string | null | undefined): string {
  if (/^\d{4}-\d{2}-\d{2}$/.test(at ?? "")) {
    const date = new Date(`${at}T00:00:00Z`);
    if (Number.isNaN(date.getTime())) return "";
    return date.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });
  }
  return moment(at).split(",")[0] ?? "";
}
