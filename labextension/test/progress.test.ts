// The parts of the live progress that need no page: colours and overprinting of a terminal, logs by number, rates.

import assert from "node:assert/strict";
import { test } from "node:test";
import { PLAIN, pieces, plainText } from "../src/components/shared/ansi";
import type { Style } from "../src/components/shared/ansi";
import { CONTRAST, THEMES, colorsOf, contrast, rgb } from "../src/components/shared/ansicolor";
import { BLOCK, KEPT, Log } from "../src/components/progress/log";
import { Rate } from "../src/components/progress/rate";

const E = "\x1b[";

test("a line without escape sequences is one piece", () => {
  assert.deepEqual(pieces("plain\ttext"), { pieces: [{ text: "plain\ttext", style: PLAIN }], style: PLAIN });
  assert.deepEqual(pieces("").pieces, []);
});

test("colours and attributes are set, changed and taken back", () => {
  const line = `a${E}31mb${E}1mc${E}22;39md${E}38;5;214me${E}48;2;1;2;300mf${E}mg${E}94;7mh`;
  const styles: [string, Style][] = [
    ["a", {}],
    ["b", { fg: 1 }],
    ["c", { fg: 1, bold: true }],
    ["d", {}],
    ["e", { fg: 214 }],
    ["f", { fg: 214, bg: [1, 2, 255] }],
    ["g", {}],
    ["h", { fg: 12, inverse: true }],
  ];
  assert.deepEqual(pieces(line).pieces.map(({ text, style }) => [text, style]), styles);
});

test("a colour goes on in the next line", () => {
  const first = pieces(`${E}32mgreen`);
  assert.deepEqual(first.style, { fg: 2 });
  assert.deepEqual(pieces("still", first.style).pieces, [{ text: "still", style: { fg: 2 } }]);
});

test("overprinted text is what a terminal shows in the end", () => {
  const shown: [string, string][] = [
    ["10%\r20%\r100%", "100%"],
    ["long line\rab", "abng line"],
    [`long line\rab${E}K`, "ab"],
    [`x${E}2K\ry`, "y"],
    ["ab\bc", "ac"],
    [`ab${E}3Gc${E}Dd`, "abd"],
    ["100%\r", "100%"],
    [`a${E}3Cb`, "a   b"],
    ["\r\r\r", ""],
  ];
  for (const [line, text] of shown) assert.equal(plainText(line), text, JSON.stringify(line));
  assert.deepEqual(pieces(`${E}31m10%${E}0m\r${E}32m2`).pieces, [
    { text: "2", style: { fg: 2 } },
    { text: "0%", style: { fg: 1 } },
  ]);
});

test("titles, links, unknown sequences and control characters are left out, whole", () => {
  assert.equal(plainText("\x1b]0;title\x07a\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\b"), "alinkb");
  assert.equal(plainText(`a\x07\x00${E}?25l${E}5;6Hb\x1b(Bc\x1bPdata\x1b\\d`), "abcd");
  assert.equal(plainText("\x1b"), "");
  assert.equal(plainText("\u202eabc"), "\ufffdabc");
  assert.equal(plainText(`a${E}999999999999Cb`).length < 5000, true);
});

test("every colour is readable in both themes, on every background that a program asks for", () => {
  const colors = [...Array(256).keys(), [0, 0, 0], [255, 255, 255], [90, 90, 90]] as (number | [number, number, number])[];
  for (const theme of ["light", "dark"] as const) {
    for (const fg of colors) {
      const { fg: shown } = colorsOf({ fg }, theme);
      assert.ok(shown && contrast(shown, THEMES[theme].paper) >= CONTRAST, `${JSON.stringify(fg)} in ${theme}`);
      const { fg: over, bg } = colorsOf({ bg: fg }, theme);
      assert.ok(over && bg && contrast(over, bg) >= CONTRAST, `on ${JSON.stringify(fg)} in ${theme}`);
    }
    const inverse = colorsOf({ inverse: true }, theme);
    assert.ok(inverse.fg && inverse.bg && contrast(inverse.fg, inverse.bg) >= CONTRAST);
  }
  assert.deepEqual(rgb(208), [255, 135, 0]);
  assert.deepEqual(rgb(232), [8, 8, 8]);
});

const run = (first: number, count: number): [number, string[]] => [first, Array.from({ length: count }, (_, at) => `line ${first + at}`)];

test("a log takes its lines in any order, and each once", () => {
  const log = new Log();
  log.take([300, [run(250, 50)], "to come"]);
  assert.equal(log.last, "to come");
  const version = log.versions.get(1);
  log.take([300, [run(250, 50)], ""]);
  assert.equal(log.versions.get(1), version, "what is known already changes nothing");
  assert.equal(log.last, "line 299");
  log.take([300, [run(0, 250)], ""]);
  assert.deepEqual(log.keys(), [0, 1]);
  assert.deepEqual([...log.blocks.values()].flat().length, 300);
});

test("of a flood the last lines are kept, in whole blocks", () => {
  const log = new Log();
  for (let first = 0; first < 100_000; first += 1000) log.take([first + 1000, [run(first, 1000)], ""]);
  assert.equal(log.last, "line 99999");
  assert.ok(log.blocks.size * BLOCK <= KEPT);
  assert.equal(log.first, 95_000);
  assert.equal(log.blocks.get(475)?.[0], "line 95000");
});

test("a rate is told after a moment, follows what comes, and begins anew when the count does", () => {
  const rate = new Rate();
  assert.equal(rate.take(0, 0), 0);
  assert.equal(rate.take(100, 100), 0, "too soon");
  assert.equal(rate.take(1000, 1000), 1000);
  for (let at = 2000; at <= 9000; at += 1000) rate.take(1000 + (at - 1000) * 5, at);
  assert.equal(Math.round(rate.take(46_000, 10_000)), 5000);
  assert.equal(rate.take(10, 10_100), 0);
});
