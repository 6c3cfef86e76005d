// Colours that logs ask for, made readable: each keeps its hue and gets the lightness that its background needs.

import type { Color, Style } from "./ansi";

export type RGB = readonly [number, number, number];

/** What text stands on, and what it is by itself, in the light and the dark theme. */
export const THEMES = {
  light: { paper: [246, 248, 250] as RGB, ink: [31, 35, 40] as RGB },
  dark: { paper: [38, 38, 38] as RGB, ink: [230, 230, 230] as RGB },
};

/** WCAG 2.2 AA, of text of any size. */
export const CONTRAST = 4.5;

// The sixteen colours in the middle of what terminals make of them.
const SIXTEEN: RGB[] = [
  [40, 44, 52], [205, 49, 49], [13, 150, 80], [180, 130, 0], [36, 114, 200], [180, 60, 180], [17, 150, 180], [160, 160, 160],
  [110, 110, 110], [235, 80, 80], [35, 180, 110], [215, 165, 20], [70, 145, 235], [210, 100, 210], [40, 180, 210], [220, 220, 220],
];
const LEVELS = [0, 95, 135, 175, 215, 255];

/** The red, green and blue of a colour, 0 to 255. */
export function rgb(color: Color): RGB {
  if (typeof color !== "number") return color;
  if (color < 16) return SIXTEEN[color] ?? [128, 128, 128];
  if (color >= 232) {
    const grey = 8 + (color - 232) * 10;
    return [grey, grey, grey];
  }
  const level = (step: number): number => LEVELS[Math.floor((color - 16) / step) % 6] ?? 0;
  return [level(36), level(6), level(1)];
}

function luminance(color: RGB): number {
  const [red, green, blue] = color.map((value) => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

/** The contrast of two colours as WCAG defines it, 1 to 21. */
export function contrast(one: RGB, other: RGB): number {
  const [a, b] = [luminance(one), luminance(other)];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}

/** `color`, moved towards black or white as little as makes it readable on `paper`. */
export function readable(color: RGB, paper: RGB): RGB {
  const target = luminance(paper) > 0.18 ? 0 : 255;
  for (let share = 0; share <= 1; share += 0.05) {
    const mixed = color.map((value) => Math.round(value + (target - value) * share)) as unknown as RGB;
    if (contrast(mixed, paper) >= CONTRAST) return mixed;
  }
  return [target, target, target];
}

/** The colours of a style in one theme; undefined where it asks for none. */
export function colorsOf(style: Style, theme: "light" | "dark"): { fg?: RGB; bg?: RGB } {
  const { paper, ink } = THEMES[theme];
  const asked = { fg: style.fg === undefined ? undefined : rgb(style.fg), bg: style.bg === undefined ? undefined : rgb(style.bg) };
  const [fg, bg] = style.inverse ? [asked.bg ?? paper, asked.fg ?? ink] : [asked.fg, asked.bg];
  if (!fg && !bg) return {};
  return { fg: readable(fg ?? ink, bg ?? paper), bg };
}

const css = (color: RGB): string => `rgb(${color.join(" ")})`;
const properties = new WeakMap<Style, [string, string][]>();

/** Gives an element the look of a style: both themes' colours as properties, the rest as classes of style/shared/base.css. */
export function dress(node: HTMLElement, style: Style): void {
  let found = properties.get(style);
  if (!found) {
    found = [];
    for (const theme of ["light", "dark"] as const) {
      const { fg, bg } = colorsOf(style, theme);
      if (fg) found.push([`--fg-${theme}`, css(fg)]);
      if (bg) found.push([`--bg-${theme}`, css(bg)]);
    }
    properties.set(style, found);
  }
  for (const [name, value] of found) node.style.setProperty(name, value);
  const names = ["pbp-ansi"];
  if (found.length) names.push("pbp-fg");
  if (found.some(([name]) => name.startsWith("--bg"))) names.push("pbp-bg");
  for (const flag of ["bold", "dim", "italic", "underline", "strike"] as const) if (style[flag]) names.push(`pbp-${flag}`);
  node.className = names.join(" ");
}
