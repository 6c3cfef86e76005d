// What a screen reader is told of a build: that steps end, several at once in one sentence, and never in a hurry.

import { h } from "../../dom";

const PAUSE = 2500; // milliseconds between two sentences

export class Announcer {
  readonly node = h("div", { class: "pbp-hidden", role: "status", "aria-live": "polite", "aria-atomic": "true" });
  private waiting: string[] = [];
  private timer = 0;
  private last = -Infinity;

  /** Says `sentence` soon; of many that wait, their number and the last one. */
  say(sentence: string): void {
    this.waiting.push(sentence);
    this.timer ||= window.setTimeout(() => this.speak(), Math.max(0, this.last + PAUSE - performance.now()));
  }

  private speak(): void {
    const many = this.waiting.length - 2;
    const said = many > 0 ? [`${many} more steps finished.`, ...this.waiting.slice(-2)] : this.waiting;
    this.node.textContent = said.join(" ");
    this.waiting = [];
    this.timer = 0;
    this.last = performance.now();
  }

  dispose(): void {
    clearTimeout(this.timer);
  }
}
