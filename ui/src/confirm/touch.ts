/** Tells that somebody uses the window, at most once in `pause` milliseconds. Returns how to stop. */
export function watchUse(window: Window, tell: () => void, pause = 5000): () => void {
  let told = -Infinity;
  const used = () => {
    if (performance.now() - told < pause) return;
    told = performance.now();
    tell();
  };
  const kinds = ["keydown", "pointerdown", "pointermove", "wheel", "scroll", "change"];
  for (const kind of kinds) window.addEventListener(kind, used, { capture: true, passive: true });
  return () => {
    for (const kind of kinds) window.removeEventListener(kind, used, { capture: true });
  };
}
