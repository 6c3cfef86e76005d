// Documents of others on their way in: whatever they say, what the components get has its types and its size.

import assert from "node:assert/strict";
import { test } from "node:test";
import { readFileSync } from "node:fs";
import { own, summaryOf } from "../src/document";
import type { Summary } from "../src/model";

const RECORDED = JSON.parse(readFileSync("../tests/browser/data/image.json", "utf8")) as Record<string, unknown>;
const WRONG: unknown[] = [
  null,
  true,
  0,
  -1,
  1e308,
  "",
  "constructor",
  "__proto__",
  [],
  [null],
  [[]],
  {},
  { length: 3 },
  { toString: 1, valueOf: 1, constructor: null },
  JSON.parse('{"__proto__": {"digest": "x"}, "constructor": 1}'),
];

function randomly(seed: number): (below: number) => number {
  return (below) => (seed = (seed * 48271) % 2147483647) % below;
}

/** The document with a few of its values replaced by what does not belong there. */
function broken(value: unknown, random: (below: number) => number): unknown {
  if (!random(12)) return WRONG[random(WRONG.length)];
  if (Array.isArray(value)) return value.map((one) => broken(one, random));
  if (value && typeof value === "object")
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, broken(one, random)]));
  return value;
}

const isText = (value: unknown): void => assert.equal(typeof value, "string");
const isNumber = (value: unknown): void => assert.ok(Number.isFinite(value), String(value));

/** What the components take for granted. */
function check(summary: Summary): void {
  isText(summary.builder);
  for (const field of ["target", "request", "command", "error", "dockerfile", "fetch"] as const)
    if (field in summary) isText(summary[field]);
  for (const step of summary.vertexes ?? []) {
    isText(step.digest);
    isText(step.name);
    step.inputs?.forEach(isText);
    if ("seconds" in step) isNumber(step.seconds);
  }
  for (const output of summary.outputs ?? []) {
    isText(output.type);
    output.names?.forEach(isText);
    for (const file of output.files ?? []) [file.path, file.type].forEach(isText);
  }
  Object.values(summary.omitted ?? {}).forEach(isNumber);
  if (!summary.image) return;
  summary.image.names.forEach(isText);
  isNumber(summary.image.size);
  for (const manifest of summary.image.manifests ?? []) {
    [manifest.digest, manifest.platform, manifest.config_digest, manifest.media_type].forEach(isText);
    assert.equal(typeof manifest.config, "object");
    JSON.stringify(manifest.config);
    for (const layer of manifest.layers) {
      [layer.digest, layer.diff_id, layer.media_type].forEach(isText);
      isNumber(layer.size);
    }
    for (const [path, count, bytes] of manifest.wasted ?? []) {
      isText(path);
      [count, bytes].forEach(isNumber);
    }
  }
}

test("a sound document is taken as it is", () => {
  const { omitted, ...taken } = summaryOf(RECORDED);
  const { omitted: told, ...recorded } = RECORDED;
  assert.deepEqual(omitted, told ?? {});
  assert.deepEqual(taken, recorded);
});

test("values of wrong types are left out, wherever they are", () => {
  for (const wrong of [...WRONG, undefined, "text", 7]) check(summaryOf(wrong));
  for (const [key] of Object.entries(RECORDED)) for (const wrong of WRONG) check(summaryOf({ ...RECORDED, [key]: wrong }));
  for (let seed = 1; seed <= 500; seed += 1) check(summaryOf(broken(RECORDED, randomly(seed))));
});

test("no key of a document is one of the language's own", () => {
  const manifest = JSON.parse('{"config": {"__proto__": {"digest": "x"}, "constructor": {"a": 1}}}') as object;
  const { image } = summaryOf({ image: { manifests: [manifest] } });
  const config = image?.manifests?.[0]?.config ?? {};
  assert.equal(Object.getPrototypeOf(config), Object.prototype);
  assert.deepEqual(Object.keys(config), ["constructor"]);
  for (const key of ["constructor", "__proto__", "toString"]) assert.equal(own({ a: 1 }, key), undefined);
});

test("a document is cut to what a page can draw at once, and says so", () => {
  const long = "x".repeat(3_000_000);
  const many = Array.from({ length: 200_000 }, (_, at) => ({ digest: `d${at}`, name: "RUN x", inputs: [`d${at - 1}`] }));
  const deep = JSON.parse("[".repeat(5000) + "]".repeat(5000)) as unknown;
  const taken = summaryOf({
    ...RECORDED,
    dockerfile: long,
    request: "y".repeat(50_000_000),
    vertexes: many,
    image: { manifests: [{ config: { deep } }] },
    outputs: Array.from({ length: 1000 }, () => ({ type: "local", names: Array(1000).fill(long), files: many.slice(0, 100) })),
  });
  check(taken);
  assert.ok(JSON.stringify(taken).length < 4_000_000);
  assert.equal(taken.vertexes?.length, 1000);
  assert.ok((taken.omitted?.["texts"] ?? 0) > 50_000_000);
  assert.ok((taken.omitted?.["values"] ?? 0) > 199_000);
});
