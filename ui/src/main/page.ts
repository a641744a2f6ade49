import type { Action, MainBackend, Snapshot } from "../backend/backend";

/** Runs what a button asks for and says how it went. */
export type Run = (work: () => Promise<string | void>) => Promise<boolean>;

export type PageProps = { known: Snapshot; backend: MainBackend; run: Run };
export type Act = (action: Action) => void;

export const PRESETS = {
  "read-only": "Read only: reads, changes nothing",
  organize: "Organize: labels and archives a little unasked; asks before more; never sends",
  assistant: "Assistant: as organize, and sends to people you know after a minute’s delay",
  "ask-everything": "Ask everything: reads; asks you before every change",
} as const;

/** `Put 12 back, 1 not: …` */
export function undone(result: { restored: number; not_restored: { object: string; why: string }[] }): string {
  const first = result.not_restored[0];
  const put = `${result.restored} put back`;
  return first === undefined ? `${put}.` : `${put}, ${result.not_restored.length} not: ${first.why}`;
}
