// The announcements of a build to screen readers: steps that end, several in one sentence, with pauses between.

import { h } from "../../dom";

const PAUSE = 2500; // milliseconds between two sentences

export class Announcer {
  readonly node = h("div", { class: "pbp-hidden", role: "status", "aria-live": "polite", "aria-atomic": "true" });
  private queue: string[] = [];
  private timer = 0;
  private last = -Infinity;

  /** Announce a sentence soon; of many in the queue, only their number and the last two. */
  say(sentence: string): void {
    this.queue.push(sentence);
    this.timer ||= window.setTimeout(() => this.speak(), Math.max(0, this.last + PAUSE - performance.now()));
  }

  private speak(): void {
    const others = this.queue.length - 2;
    const sentences = others > 0 ? [`${others} more steps finished.`, ...this.queue.slice(-2)] : this.queue;
    this.node.textContent = sentences.join(" ");
    this.queue = [];
    this.timer = 0;
    this.last = performance.now();
  }

  dispose(): void {
    clearTimeout(this.timer);
  }
}
