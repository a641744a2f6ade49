import { counted, grouped } from "../text";
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

/** `12 objects were put back, 1 was not: …` */
export function undone({ restored, not_restored }: { restored: number; not_restored: { object: string; why: string }[] }): string {
  const was = (count: number) => (count === 1 ? "was" : "were");
  const put = `${counted(restored, ["object", "objects"])} ${was(restored)} put back`;
  const first = not_restored[0];
  return first === undefined ? `${put}.` : `${put}, ${grouped(not_restored.length)} ${was(not_restored.length)} not: ${first.why}`;
}
