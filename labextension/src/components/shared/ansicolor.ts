// The colours of logs, made readable: each keeps its hue, and gets the lightness that its background requires.

import type { Color, Style } from "./ansi";

export type RGB = readonly [number, number, number];

/** The colours of the background and of plain text, in the light and the dark theme. */
export const THEMES = {
  light: { paper: [246, 248, 250] as RGB, ink: [31, 35, 40] as RGB },
  dark: { paper: [38, 38, 38] as RGB, ink: [230, 230, 230] as RGB },
};

/** The least contrast that WCAG 2.2 AA allows for text of any size. */
export const CONTRAST = 4.5;

// The sixteen named colours, each about the average of what terminals show.
const SIXTEEN: RGB[] = [
  [40, 44, 52], [205, 49, 49], [13, 150, 80], [180, 130, 0], [36, 114, 200], [180, 60, 180], [17, 150, 180], [160, 160, 160],
  [110, 110, 110], [235, 80, 80], [35, 180, 110], [215, 165, 20], [70, 145, 235], [210, 100, 210], [40, 180, 210], [220, 220, 220],
];
const LEVELS = [0, 95, 135, 175, 215, 255];

/** Return the red, green and blue of a colour, 0 to 255. */
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

/** Return the contrast of two colours as WCAG defines it, 1 to 21. */
export function contrast(first: RGB, second: RGB): number {
  const [a, b] = [luminance(first), luminance(second)];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}

/** Return `color`, moved towards black or white just far enough to be readable on `paper`. */
export function readable(color: RGB, paper: RGB): RGB {
  const target = luminance(paper) > 0.18 ? 0 : 255;
  for (let share = 0; share <= 1; share += 0.05) {
    const mixed = color.map((value) => Math.round(value + (target - value) * share)) as unknown as RGB;
    if (contrast(mixed, paper) >= CONTRAST) return mixed;
  }
  return [target, target, target];
}

/** Return the colours of a style in one theme; undefined where the style sets none. */
export function colorsOf(style: Style, theme: "light" | "dark"): { fg?: RGB; bg?: RGB } {
  const { paper, ink } = THEMES[theme];
  const wanted = { fg: style.fg === undefined ? undefined : rgb(style.fg), bg: style.bg === undefined ? undefined : rgb(style.bg) };
  const [fg, bg] = style.inverse ? [wanted.bg ?? paper, wanted.fg ?? ink] : [wanted.fg, wanted.bg];
  if (!fg && !bg) return {};
  return { fg: readable(fg ?? ink, bg ?? paper), bg };
}

const css = (color: RGB): string => `rgb(${color.join(" ")})`;
const properties = new WeakMap<Style, [string, string][]>();

/** Give an element the look of a style: the colours of both themes as properties, the rest as classes of base.css. */
export function dress(node: HTMLElement, style: Style): void {
  let looks = properties.get(style);
  if (!looks) {
    looks = [];
    for (const theme of ["light", "dark"] as const) {
      const { fg, bg } = colorsOf(style, theme);
      if (fg) looks.push([`--fg-${theme}`, css(fg)]);
      if (bg) looks.push([`--bg-${theme}`, css(bg)]);
    }
    properties.set(style, looks);
  }
  for (const [name, value] of looks) node.style.setProperty(name, value);
  const names = ["pbp-ansi"];
  if (looks.length) names.push("pbp-fg");
  if (looks.some(([name]) => name.startsWith("--bg"))) names.push("pbp-bg");
  for (const flag of ["bold", "dim", "italic", "underline", "strike"] as const) if (style[flag]) names.push(`pbp-${flag}`);
  node.className = names.join(" ");
}
