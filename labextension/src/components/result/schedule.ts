// When steps worked: their times from the start of the build, lanes for those that ran at once, the critical path.

import type { Vertex } from "../../model";

/** Seconds from the first start of all. */
export interface Item {
  vertex: Vertex;
  start: number;
  end: number;
  lane: number;
  critical: boolean;
}

export interface Schedule {
  items: Item[];
  total: number;
  lanes: number;
  /** Seconds in which no step worked, of the time from the first to the last. */
  idle: number;
  /** Seconds of work on the critical path. */
  critical: number;
  /** Seconds of all steps together. */
  work: number;
}

const SLACK = 0.002; // seconds by which a clock may lie

/** Seconds since 1970 of a time in ISO 8601, to the microsecond; browsers read no more than milliseconds of it. */
function instant(text: string | null | undefined): number {
  const [, fraction = ""] = /\.\d{3}(\d{1,6})/.exec(text ?? "") ?? [];
  return text ? Date.parse(text) / 1000 + Number(`0.000${fraction || "0"}`) : NaN;
}

export function schedule(vertexes: Vertex[]): Schedule {
  const timed = vertexes.flatMap((vertex) => {
    const [start, end] = [instant(vertex.started), instant(vertex.completed)];
    if (Number.isNaN(start)) return [];
    const took = Number.isNaN(end) ? (vertex.seconds ?? 0) : end - start;
    return [{ vertex, start, end: start + Math.max(0, took), lane: 0, critical: false }];
  });
  const began = Math.min(...timed.map((item) => item.start));
  const items = timed
    .map((item) => ({ ...item, start: item.start - began, end: item.end - began }))
    .sort((a, b) => a.start - b.start || a.end - b.end);
  const free: number[] = [];
  for (const item of items) {
    let lane = free.findIndex((end) => end <= item.start + SLACK);
    if (lane < 0) lane = free.length;
    free[lane] = item.end;
    item.lane = lane;
  }
  const path = criticalPath(items);
  let [idle, busy] = [0, 0]; // `busy`: until when some step has worked
  for (const { start, end } of items) {
    idle += Math.max(0, start - busy);
    busy = Math.max(busy, end);
  }
  return {
    items,
    total: busy,
    idle,
    lanes: free.length,
    critical: path.reduce((sum, item) => sum + item.end - item.start, 0),
    work: items.reduce((sum, item) => sum + item.end - item.start, 0),
  };
}

/** From the last step to end, back through what each one had to wait for longest. */
function criticalPath(items: Item[]): Item[] {
  const known = new Map(items.map((item) => [item.vertex.digest, item]));
  const latest = (some: Item[]): Item | undefined =>
    some.reduce<Item | undefined>((last, item) => (!last || item.end > last.end ? item : last), undefined);
  const path: Item[] = [];
  for (let at = latest(items); at && !at.critical;) {
    at.critical = true;
    path.push(at);
    const { start } = at;
    const inputs = (at.vertex.inputs ?? []).flatMap((digest) => known.get(digest) ?? []);
    // An export has no inputs in the stream, and waits for all.
    at = latest(inputs.length ? inputs : items.filter((item) => item.end <= start + SLACK && !item.critical));
  }
  return path;
}

/** Round seconds at which an axis of `total` seconds has a mark with room for its words: at most six. */
export function ticks(total: number): number[] {
  const rough = total / 5;
  const power = 10 ** Math.floor(Math.log10(rough || 1));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough) ?? power;
  const marks: number[] = [];
  for (let at = 0; at < 0.95 * total; at += step) marks.push(at);
  return marks;
}
