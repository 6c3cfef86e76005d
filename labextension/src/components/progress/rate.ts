// Bytes a second, smoothed over a few seconds, from what has come so far.

const SPAN = 3000; // milliseconds over which it is measured
const SOONEST = 400; // milliseconds before which there is nothing to say

export class Rate {
  private readonly seen: [at: number, bytes: number][] = [];

  /** Takes in that `bytes` have come by `at` (milliseconds); returns bytes a second, or 0 while there is none to tell. */
  take(bytes: number, at: number): number {
    const last = this.seen[this.seen.length - 1];
    if (last && bytes < last[1]) this.seen.length = 0;
    if (!last || at > last[0]) this.seen.push([at, bytes]);
    while (this.seen.length > 2 && at - (this.seen[1]?.[0] ?? at) >= SPAN) this.seen.shift();
    const [from, before] = this.seen[0] ?? [at, bytes];
    return at - from < SOONEST ? 0 : ((bytes - before) * 1000) / (at - from);
  }
}
