// Bytes a second, smoothed over a few seconds.

const SPAN = 3000; // milliseconds over which the rate is measured
const SOONEST = 400; // milliseconds before which no rate is known

export class Rate {
  private readonly samples: [at: number, bytes: number][] = [];

  /** Record that `bytes` have come by a time in milliseconds; returns bytes a second, or 0 while that is unknown. */
  take(bytes: number, time: number): number {
    const last = this.samples[this.samples.length - 1];
    if (last && bytes < last[1]) this.samples.length = 0;
    if (!last || time > last[0]) this.samples.push([time, bytes]);
    while (this.samples.length > 2 && time - (this.samples[1]?.[0] ?? time) >= SPAN) this.samples.shift();
    const [from, before] = this.samples[0] ?? [time, bytes];
    return time - from < SOONEST ? 0 : ((bytes - before) * 1000) / (time - from);
  }
}
