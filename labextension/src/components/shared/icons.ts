// Small line drawings on a grid of 16 by 16, in the colour of the surrounding text.

import { svg } from "../../dom";

const PATHS = {
  check: ["M3.5 8.5 6.5 11.5 12.5 4.5"],
  cross: ["M4 4 12 12", "M12 4 4 12"],
  stop: ["M4.5 4.5h7v7h-7z"],
  warning: ["M8 2.5 14.2 13.2H1.8z", "M8 6.5v3", "M8 11.2v.1"],
  copy: ["M5.5 5.5h7v8h-7z", "M10.5 5.5v-3h-7v8h2"],
  download: ["M8 2.5v7.5", "M4.8 7 8 10.2 11.2 7", "M3 13.2h10"],
  chevron: ["M6 4 10 8 6 12"],
  file: ["M4 2h5l3 3v9H4z", "M9 2v3h3"],
  folder: ["M1.8 4h4.4l1.5 1.6h6.5v7.2H1.8z"],
  link: [
    "M6.5 9.5 9.5 6.5",
    "M7.5 4.8 9 3.3a2.6 2.6 0 0 1 3.7 3.7l-1.5 1.5",
    "M8.5 11.2 7 12.7A2.6 2.6 0 0 1 3.3 9l1.5-1.5",
  ],
  device: ["M3 5h10v6H3z", "M5 8h2"],
  image: ["M8 1.8 14 5v6L8 14.2 2 11V5z", "M2 5l6 3.2L14 5", "M8 8.2v6"],
  layers: ["M8 2.2 14 5.3 8 8.4 2 5.3z", "M2 8.2l6 3.1 6-3.1", "M2 10.9 8 14l6-3.1"],
  box: ["M2.5 3h11v3h-11z", "M3.5 6v7.5h9V6", "M6.5 8.5h3"],
  cloud: ["M4.5 12.5a3 3 0 0 1-.3-6 4 4 0 0 1 7.6.6 2.7 2.7 0 0 1 .2 5.4z"],
  cache: ["M8.8 1.8 3.5 9H7.6l-.6 5.2L12.5 7H8.3z"],
  search: ["M7 3a4 4 0 1 0 0 8 4 4 0 0 0 0-8z", "M10 10 13.5 13.5"],
  terminal: ["M2 3h12v10H2z", "M4.5 6 7 8.2 4.5 10.4", "M8.5 10.5h3"],
  play: ["M5 3.2 12.5 8 5 12.8z"],
  plus: ["M8 3.5v9", "M3.5 8h9"],
  minus: ["M3.5 8h9"],
  fit: ["M2.5 6V2.5H6", "M10 2.5h3.5V6", "M13.5 10v3.5H10", "M6 13.5H2.5V10"],
} as const;

export type IconName = keyof typeof PATHS;

/** Draw an icon. Screen readers skip it, and read the text or label beside it. */
export function icon(name: IconName, className = ""): SVGSVGElement {
  return svg(
    "svg",
    { class: `pbr-icon ${className}`, viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": "true" },
    PATHS[name].map((d) => svg("path", { d })),
  );
}
