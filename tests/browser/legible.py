"""Finds what makes a page hard to read: words that touch, very short lines, overflowing text, empty columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

FAULTS = """(root) => {
  const faults = [];
  const edge = root.getBoundingClientRect().right + 1;
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const isWord = (letter) => /[\\p{L}\\p{N}✓✕■⚠·→]/u.test(letter);
  const boxOf = (node, at) => {
    const range = document.createRange();
    range.setStart(node, at);
    range.setEnd(node, at + 1);
    return range.getBoundingClientRect();
  };
  const endOf = (node) => {
    const box = boxOf(node, node.data.trimEnd().length - 1);
    let right = box.right; // as far as it is seen
    for (let above = node.parentElement; above && above !== root; above = above.parentElement)
      if (getComputedStyle(above).overflowX !== "visible") right = Math.min(right, above.getBoundingClientRect().right);
    return { right, bottom: box.bottom, width: box.width };
  };
  const linesOf = (node) => {
    const range = document.createRange();
    range.selectNodeContents(node);
    return new Set([...range.getClientRects()].map((box) => Math.round(box.top))).size;
  };
  let before = null;
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const text = node.data;
    if (!text.trim()) {
      if (text) before = null;
      continue;
    }
    // Code is in several colours, and marks stand in the middle of words.
    const code = node.parentElement.closest("code, pre, mark, svg, style, .pbr-logtext, .pbp-log");
    const first = boxOf(node, text.length - text.trimStart().length);
    if (!first.width) continue;
    const last = endOf(node);
    if (last.right > edge) faults.push(`outside: ${text.slice(0, 40)}`);
    if (!node.parentElement.closest("svg, pre") && linesOf(node) > 3 && text.length / linesOf(node) < 4)
      faults.push(`a column too narrow: ${text.slice(0, 40)}`);
    if (before && before.parent !== node.parentElement && !(code && code === before.code)) {
      const { right, bottom, width } = before.last;
      const isLine = width && Math.abs(bottom - first.bottom) < first.height / 2;
      if (isLine && Math.abs(first.left - right) < 1.5 && isWord(before.end) && isWord(text[0]))
        faults.push(`glued: ${before.text.slice(-20)}|${text.slice(0, 20)}`);
    }
    before = { text, last, parent: node.parentElement, code, end: text.slice(-1) };
  }
  for (const table of root.querySelectorAll("table"))
    [...(table.tHead?.rows[0]?.cells ?? [])].forEach((head, at) => {
      const cells = [...table.tBodies].flatMap((body) => [...body.rows]).map((row) => row.cells[at]);
      const isDrawn = (part) => part.matches("[style]") && part.getBoundingClientRect().width >= 1;
      const isEmpty = (cell) => !cell?.innerText.trim() && ![...(cell?.querySelectorAll("*") ?? [])].some(isDrawn);
      if (head.innerText.trim() && head.offsetWidth && cells.length && cells.every(isEmpty))
        faults.push(`a column of nothing: ${head.innerText}`);
    });
  if (root.scrollWidth > root.clientWidth + 1) faults.push(`it scrolls sideways: ${root.innerText.slice(0, 60)}`);
  return faults;
}"""


def faults(root: Locator) -> list[str]:
    """Return the faults that make an element hard to read; two texts that touch have a bar between them."""
    return root.evaluate(FAULTS)


def open_all(page: Page) -> None:
    """Open everything that can be opened."""
    page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
