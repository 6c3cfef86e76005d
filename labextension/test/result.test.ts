// The parts of a result that need no page: the drawing of a graph, the critical path, trees, tables and words.

import assert from "node:assert/strict";
import { test } from "node:test";
import { readFileSync } from "node:fs";
import { betweenLayers } from "../src/components/result/compare";
import { chainsOf, fold } from "../src/components/result/chains";
import { countSteps, place } from "../src/components/result/headline";
import { layout } from "../src/components/result/layout";
import type { Node } from "../src/components/result/layout";
import { LogLines, keptLog, lineAt } from "../src/components/result/loglines";
import { matching } from "../src/components/result/packages";
import { parseCsv } from "../src/components/result/preview";
import { schedule, ticks } from "../src/components/result/schedule";
import { columnsOf, entriesOf, joinPages } from "../src/components/shared/columns";
import { FileTree } from "../src/components/shared/filetree";
import type { Columns, FileEntry, Output, Vertex } from "../src/model";
import type { NameParts } from "../src/words";
import { abridged, familiar, humanBytes, humanSeconds, instruction, leftOut, mediaTypeWords, modeString, nameParts, plural, shorten, stepName } from "../src/words";

const SIZES = { width: 100, height: 40, gapX: 10, gapY: 20, title: 15 };

/** A graph in which each node needs some of those before it: the same one each time. */
function graph(count: number): Node[] {
  let seed = 7;
  const random = (below: number): number => (seed = (seed * 16807) % 2147483647) % below;
  return Array.from({ length: count }, (_, at) => ({
    id: `n${at}`,
    inputs: at ? [...new Set([`n${random(at)}`, `n${random(at)}`])].slice(0, 1 + random(2)) : [],
    lane: `lane${at % 4}`,
  }));
}

test("a graph has its inputs above, and no node upon another", () => {
  for (const nodes of [graph(1), graph(12), graph(60), graph(300)]) {
    const { nodes: placed, edges, width, height } = layout(nodes, SIZES);
    const at = new Map(placed.map((node) => [node.id, node]));
    for (const { id, inputs } of nodes)
      for (const input of inputs) assert.ok((at.get(input)?.y ?? 0) < (at.get(id)?.y ?? 0), `${input} above ${id}`);
    for (const one of placed) {
      assert.ok(one.x >= -0.01 && one.x + SIZES.width <= width + 0.01 && one.y + SIZES.height <= height);
      const upon = placed.filter((other) => other.y === one.y && Math.abs(other.x - one.x) < SIZES.width + 1);
      assert.deepEqual(
        upon.map((other) => other.id),
        [one.id],
      );
    }
    assert.equal(
      edges.length,
      nodes.reduce((sum, node) => sum + node.inputs.length, 0),
    );
  }
});

test("stages are lanes beside each other, and no line passes through a node", () => {
  const { nodes: placed, edges, lanes, width } = layout(graph(60), SIZES);
  const wanted = new Map(graph(60).map((node) => [node.id, node.lane]));
  for (const lane of lanes) {
    assert.ok(lane.x >= 0 && lane.x + lane.width <= width);
    const upon = lanes.filter(
      (other) =>
        other.x < lane.x + lane.width && other.x + other.width > lane.x &&
        other.y < lane.y + lane.height && other.y + other.height > lane.y,
    );
    assert.deepEqual(upon, [lane]);
    for (const node of placed.filter(({ id }) => wanted.get(id) === lane.name)) {
      assert.ok(node.x >= lane.x && node.x + SIZES.width <= lane.x + lane.width, node.id);
      assert.ok(node.y >= lane.y && node.y + SIZES.height <= lane.y + lane.height, node.id);
    }
  }
  for (const { points } of edges)
    points.slice(1).forEach(([x, y], at) => {
      const [fromX, fromY] = points[at] ?? [0, 0];
      const [left, right, top, bottom] = [Math.min(x, fromX), Math.max(x, fromX), Math.min(y, fromY), Math.max(y, fromY)];
      const hit = placed.filter(
        (node) => left < node.x + SIZES.width && right > node.x && top < node.y + SIZES.height && bottom > node.y,
      );
      assert.deepEqual(hit, []);
    });
});

test("a long chain is one node, without its ends, and without what must be seen", () => {
  const chain = Array.from({ length: 31 }, (_, at) => ({ id: `s${at}`, inputs: at ? [`s${at - 1}`] : [], lane: "a" }));
  const nodes = [...chain, { id: "other", inputs: ["s20"], lane: "b" }];
  const chains = chainsOf(nodes, new Set(["s8"]));
  assert.deepEqual(chains.map((one) => [one[0], one.at(-1), one.length]), [["s1", "s7", 7], ["s9", "s19", 11], ["s21", "s29", 9]]);
  const { nodes: folded, chains: named } = fold(nodes, chains);
  assert.deepEqual(folded.map(({ id }) => id), ["s0", "+s1", "s8", "+s9", "s20", "+s21", "s30", "other"]);
  assert.deepEqual(folded.find(({ id }) => id === "s8")?.inputs, ["+s1"]);
  assert.equal(named.get("+s9")?.length, 11);
  assert.deepEqual(chainsOf(chain.slice(0, 6), new Set()), []);
});

test("a graph that is none is drawn all the same", () => {
  const { nodes } = layout(
    [
      { id: "a", inputs: ["b"], lane: "" },
      { id: "b", inputs: ["a", "unknown"], lane: "" },
    ],
    SIZES,
  );
  assert.equal(nodes.length, 2);
  assert.deepEqual(layout([], SIZES), { nodes: [], edges: [], lanes: [], width: 0, height: 0 });
});

const step = (digest: string, from: number, to: number, inputs: string[] = []): Vertex => ({
  digest,
  name: digest,
  inputs,
  started: new Date(1000 * from).toISOString(),
  completed: new Date(1000 * to).toISOString(),
  seconds: to - from,
});

test("the critical path is what the last step had to wait for", () => {
  const plan = schedule([
    step("a", 0, 1),
    step("slow", 1, 5, ["a"]),
    step("fast", 1, 2, ["a"]),
    step("b", 5, 6, ["slow", "fast"]),
    step("export", 6, 7),
  ]);
  assert.deepEqual(
    plan.items.filter((item) => item.critical).map((item) => item.vertex.digest),
    ["a", "slow", "b", "export"],
  );
  assert.deepEqual([plan.total, plan.critical, plan.work, plan.lanes], [7, 7, 8, 2]);
  assert.equal(schedule([]).total, 0);
  const brief = (digest: string, from: number, to: number): Vertex => ({
    digest,
    name: digest,
    started: `2026-01-01T00:00:00.${String(from).padStart(6, "0")}Z`,
    completed: `2026-01-01T00:00:00.${String(to).padStart(6, "0")}Z`,
  });
  const quick = schedule([brief("a", 1000, 1250), brief("b", 1500, 1900)]);
  const micro = (seconds: number): number => Math.round(1e6 * seconds);
  assert.deepEqual(quick.items.map((item) => [micro(item.start), micro(item.end)]), [[0, 250], [500, 900]]);
  assert.deepEqual([micro(quick.idle), micro(quick.total)], [250, 900]);
  assert.deepEqual(ticks(2.4), [0, 0.5, 1, 1.5, 2]);
});

const file = (path: string, type = "0", size = 1): FileEntry => ({ path, type, mode: 0o644, size });

test("a tree has directories first, sums, and directories that the list has not", () => {
  const tree = new FileTree(
    columnsOf([file("b.txt"), file("usr/lib/a.so", "0", 10), file("usr/lib/B.so", "0", 5), file("dev", "5", 0)]),
  );
  const all = [...tree.rows(() => true, null)].map((node) => `${tree.path(node)}=${tree.size(node)}`);
  assert.deepEqual(all, ["dev=0", "usr=15", "usr/lib=15", "usr/lib/B.so=5", "usr/lib/a.so=10", "b.txt=1"]);
  const { visible: shown, count } = tree.matching({ text: "b.S", changes: "" });
  assert.equal(count, 1);
  assert.deepEqual(
    [...tree.rows(() => true, shown)].map((node) => tree.path(node)),
    ["usr", "usr/lib", "usr/lib/B.so"],
  );
});

test("a filter is about the whole path in any case, also where lower case is longer", () => {
  const tree = new FileTree(columnsOf([file("İstanbul/Read.me"), file("İstanbul/other"), file("etc/READ"), file("a\0b")]));
  const found = (text: string): string[] => {
    const { visible: shown } = tree.matching({ text, changes: "" });
    return [...tree.rows(() => true, shown)].map((node) => tree.path(node)).filter((path) => path.includes("/"));
  };
  assert.deepEqual(found("read"), ["etc/READ", "İstanbul/Read.me"]);
  assert.deepEqual(found("stanbul/O"), ["İstanbul/other"]);
  assert.deepEqual(found("/İstanbul/R"), ["İstanbul/Read.me"]);
  assert.deepEqual(found("anbul/"), ["İstanbul/Read.me", "İstanbul/other"]);
  assert.deepEqual(found("r/etc"), [], "no path goes over into the next one");
  assert.deepEqual(found("other/"), []);
  assert.equal(tree.matching({ text: "/A\0B", changes: "" }).count, 1, "a path begins with a slash");
  assert.equal(tree.matching({ text: "", changes: "A" }).count, 0);
});

test("pages of a tree are one list, with one value where all of a page have the same", () => {
  const pages = [
    columnsOf([file("usr/a"), file("usr/b"), file("c")]),
    columnsOf([file("c"), file("usr/lib", "5"), file("usr/lib/d")]),
  ].map((page, at) => ({ ...page, ...(at ? { change: "A" } : {}) }));
  assert.deepEqual(
    pages.map((page) => page.runs),
    [
      [0, 2, 1, 1],
      [0, 1, 1, 1, 2, 1],
    ],
  );
  const all = joinPages(pages);
  assert.deepEqual(
    entriesOf(all).map((entry) => `${entry.path} ${entry.type}${entry.change}`),
    ["usr/a 0", "usr/b 0", "c 0", "c 0A", "usr/lib 5A", "usr/lib/d 0A"],
  );
  const tree = new FileTree(all);
  assert.deepEqual(
    [...tree.rows(() => true, null)].map((node) => tree.path(node)),
    ["usr", "usr/lib", "usr/lib/d", "usr/a", "usr/b", "c"],
  );
});

test("a path of very many folders is no trouble", () => {
  const tree = new FileTree(columnsOf([file(`${"d/".repeat(20_000)}file`)]));
  assert.equal(tree.rows(() => true, null).length, 20_001);
});

test("two layers are compared by what came between them", () => {
  const layer = (...entries: [string, string][]): Columns =>
    columnsOf(entries.map(([path, change]) => ({ ...file(path), change })));
  const found = betweenLayers(layer(["kept", ""], ["changed", "A"], ["gone", ""]), [
    layer(["changed", "M"], ["passing", "A"], ["new", "A"]),
    layer(["gone", "D"], ["passing", "D"], ["new", "M"]),
  ]);
  assert.deepEqual(Object.fromEntries(entriesOf(found).map(({ path, change }) => [path, change])), {
    changed: "M",
    new: "A",
    gone: "D",
  });
});

test("values with commas, quotes and lines of their own are one cell", () => {
  assert.deepEqual(parseCsv('a,"b, c"\r\n"say ""hi""","two\nlines"\n1', ",", 9), [
    ["a", "b, c"],
    ['say "hi"', "two\nlines"],
    ["1"],
  ]);
  assert.deepEqual(parseCsv("a\tb\nc\td\n", "\t", 1), [["a", "b"]]);
});

test("words are those that people use", () => {
  const words = JSON.parse(readFileSync("../tests/display/data/words.json", "utf8")) as {
    [Name in "bytes" | "seconds"]: [number, string][];
  } & { [Name in "familiar" | "shorten" | "instruction"]: [string, string][] } & { plural: [number, string, string][]; abridged: [string, number, string][]; steps: [string[], string][]; place: [Output, string, string][]; modes: [string, number, string][]; left_out: [Record<string, number>, string][] };
  for (const [text, most, said] of words.abridged) assert.equal(abridged(text, most), said);
  for (const [value, said] of words.bytes) assert.equal(humanBytes(value), said);
  for (const [value, said] of words.seconds) assert.equal(humanSeconds(value), said);
  for (const [count, noun, said] of words.plural) assert.equal(plural(count, noun), said);
  for (const [name, said] of words.familiar) assert.equal(familiar(name), said);
  for (const [name, said] of words.shorten) assert.equal(shorten(name), said);
  for (const [output, driver, said] of words.place) assert.equal(place(output, { ref: "", builder: "", driver })[1], said);
  for (const [names, said] of words.steps) {
    const vertexes = names.map((text): Vertex => {
      const [how, name] = /^(?:(cached|not run): )?(.*)$/.exec(text)?.slice(1) as [string | undefined, string];
      return { digest: text, name, cached: how === "cached", ...(how === "not run" ? {} : { started: "2024-01-01T00:00:00Z" }) };
    });
    assert.equal(countSteps({ ref: "", builder: "embedded", vertexes }), said);
  }
  for (const [text, said] of words.instruction) assert.equal(instruction(text), said);
  for (const [omitted, said] of words.left_out) assert.equal(leftOut(omitted), said);
  for (const [type, mode, said] of words.modes) assert.equal(modeString(type, mode), said);
  assert.deepEqual(stepName("[linux/amd64 build 2/4] RUN make"), {
    stage: "linux/amd64 build",
    place: "2/4",
    text: "RUN make",
    internal: false,
  });
  assert.equal(stepName("[ 9/31] RUN make").place, "9/31");
  const cases = JSON.parse(readFileSync("../tests/display/data/stepnames.json", "utf8")) as (NameParts & { name: string })[];
  for (const { name, ...parts } of cases) assert.deepEqual(nameParts(name), parts, name);
  assert.match(
    mediaTypeWords("application/vnd.oci.image.layer.v1.tar+zstd"),
    /^OCI layer, zstd: .*compressed with zstd$/,
  );
  assert.match(mediaTypeWords("application/vnd.docker.distribution.manifest.list.v2+json"), /^Docker index/);
});

test("a log is one list of lines, with what is missing, found in any case and without its colours", () => {
  const vertex = (digest: string, rest: Partial<Vertex>): Vertex => ({ digest, name: `[1/2] RUN ${digest}`, ...rest });
  const logs = [
    keptLog(vertex("a", { log_head: "one\ntwo", log_tail: "\x1b[31mNine\x1b[0m\nten\n10%\r100%", log_lines: 11, log_seconds: [0, 0, 1, 2, 2] })),
    keptLog(vertex("b", { log_tail: "Ünd İ nine", log_lines: 1 })),
  ];
  const lines = new LogLines(logs);
  assert.deepEqual(lines.kinds, ["step", "line", "line", "gap", "line", "line", "line", "step", "line"]);
  assert.deepEqual(lines.numbers, [0, 1, 2, 0, 9, 10, 11, 0, 1]);
  assert.match(lines.texts[3] ?? "", /^… 6 lines not kept/);
  assert.deepEqual([lines.seconds[4], lines.plain(6), lines.plain(4)], [1, "100%", "Nine"]);
  assert.deepEqual([lines.find("NINE"), lines.find("ünd"), lines.find("run a"), lines.find("")], [[4, 8], [8], [], []]);
  assert.deepEqual(lines.places.get("b"), { first: 7, last: 8 });
  const above = new LogLines([keptLog(vertex("c", { log_tail: `${"x".repeat(25)}\n\nlast` }))]).rows(10);
  assert.deepEqual([...above], [0, 3, 4, 5]);
  assert.deepEqual([0, 2, 3, 4, 99].map((row) => lineAt(above, row)), [0, 0, 1, 2, 2]);
  assert.equal(new LogLines([]).length, 0);
});

test("packages are found by all of the words, in any field and whatever the case", () => {
  const packages: [string, string, string, string, string][] = [
    ["libssl3", "3.0.15", "deb", "OpenSSL", "/var/lib/dpkg/status"],
    ["requests", "2.32.3", "pypi", "Apache-2.0", "/usr/lib/python3/site-packages/requests/METADATA"],
    ["left", "1.0.0", "npm", "", "/app/node_modules/left/package.json"],
  ];
  for (const [query, expected] of [
    ["", [0, 1, 2]],
    ["  ", [0, 1, 2]],
    ["SSL", [0]],
    ["pypi apache", [1]],
    ["pypi openssl", []],
    ["/app", [2]],
  ] as [string, number[]][])
    assert.deepEqual(matching(packages, query), expected, query);
});
