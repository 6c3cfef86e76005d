// The parts of the live progress that need no page: colours and overprinting of a terminal, logs by number, rates.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { PLAIN, pieces, plainText } from "../src/components/shared/ansi";
import type { Style } from "../src/components/shared/ansi";
import { CONTRAST, THEMES, colorsOf, contrast, rgb } from "../src/components/shared/ansicolor";
import { BLOCK, KEPT, Log } from "../src/components/progress/log";
import { Rate } from "../src/components/progress/rate";

const E = "\x1b[";

test("a line is what a terminal shows of it in the end, as Python has it", () => {
  type Case = { lines: string[]; pieces: [string, Style][][] };
  const cases = JSON.parse(readFileSync("../tests/display/data/ansi.json", "utf8")) as Case[];
  for (const { lines, pieces: expected } of cases) {
    let style = PLAIN;
    const shown = lines.map((line) => {
      const found = pieces(line, style);
      ({ style } = found);
      return found.pieces.map((piece) => [piece.text, piece.style]);
    });
    assert.deepEqual(shown, expected, JSON.stringify(lines));
  }
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
