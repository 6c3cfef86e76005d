// The schedule of a build: the times of its steps, lanes for concurrent ones, and the critical path.

import type { Vertex } from "../../model";

/** A step in the schedule; seconds count from the first start. */
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
  /** Seconds between the first start and the last end in which no step worked. */
  idle: number;
  /** Seconds of work on the critical path. */
  critical: number;
  /** Seconds of all steps together. */
  work: number;
}

const SLACK = 0.002; // seconds by which clocks may differ

/** Return a time in ISO 8601 as seconds since 1970, to the microsecond; browsers parse only milliseconds. */
function instant(text: string | null | undefined): number {
  const [, fraction = ""] = /\.\d{3}(\d{1,6})/.exec(text ?? "") ?? [];
  return text ? Date.parse(text) / 1000 + Number(`0.000${fraction || "0"}`) : NaN;
}

export function schedule(vertexes: Vertex[]): Schedule {
  const timedVertexes = vertexes.flatMap((vertex) => {
    const [start, end] = [instant(vertex.started), instant(vertex.completed)];
    if (Number.isNaN(start)) return [];
    const took = Number.isNaN(end) ? (vertex.seconds ?? 0) : end - start;
    return [{ vertex, start, end: start + Math.max(0, took), lane: 0, critical: false }];
  });
  const began = Math.min(...timedVertexes.map((item) => item.start));
  const items = timedVertexes
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

/** Mark the critical path: from the last step, back through the input that each one waited for longest. */
function criticalPath(items: Item[]): Item[] {
  const byDigest = new Map(items.map((item) => [item.vertex.digest, item]));
  const latest = (candidates: Item[]): Item | undefined =>
    candidates.reduce<Item | undefined>((last, item) => (!last || item.end > last.end ? item : last), undefined);
  const path: Item[] = [];
  for (let current = latest(items); current && !current.critical;) {
    current.critical = true;
    path.push(current);
    const { start } = current;
    const inputs = (current.vertex.inputs ?? []).flatMap((digest) => byDigest.get(digest) ?? []);
    // An export has no inputs in the stream; it waits for all steps.
    current = latest(inputs.length ? inputs : items.filter((item) => item.end <= start + SLACK && !item.critical));
  }
  return path;
}

/** Return the round seconds to mark on an axis of `total` seconds, at most six. */
export function ticks(total: number): number[] {
  const rough = total / 5;
  const power = 10 ** Math.floor(Math.log10(rough || 1));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough) ?? power;
  const marks: number[] = [];
  for (let mark = 0; mark < 0.95 * total; mark += step) marks.push(mark);
  return marks;
}
