/** Swallows input that can't be meant for this window: right after it opened or came to the front, and while somebody goes on typing. */
export class Swallow {
  length = 350;
  private until = 0;

  start(window: Window): () => void {
    const restart = () => {
      this.until = performance.now() + this.length;
    };
    const guard = (event: Event) => {
      if (performance.now() >= this.until) return;
      if (event instanceof KeyboardEvent) restart();
      event.preventDefault();
      event.stopImmediatePropagation();
    };
    restart();
    const kinds = ["keydown", "keypress", "keyup", "pointerdown", "pointerup", "mousedown", "mouseup", "click", "beforeinput"];
    for (const kind of kinds) window.addEventListener(kind, guard, { capture: true });
    window.addEventListener("focus", restart);
    return () => {
      for (const kind of kinds) window.removeEventListener(kind, guard, { capture: true });
      window.removeEventListener("focus", restart);
    };
  }
}
