// The icon of images: in the file browser, on tabs and in the side bar.

import { LabIcon } from "@jupyterlab/ui-components";

const DRAWING = (fill: string): string => `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
<path class="jp-icon3 jp-icon-selectable" fill="${fill}" fill-rule="evenodd" d="M12 1.7 22 6.8v10.4l-10 5.1-10-5.1V6.8zM5.3 7.4 12 10.8l6.7-3.4L12 4zM4 9v7l7 3.5v-7zm16 0-7 3.5v7l7-3.5z"/>
</svg>`;

export const imageIcon = new LabIcon({ name: "pybuild_magic:image", svgstr: DRAWING("#616161") });

/** The icon as the launcher wants it for a notebook: a picture, whose colour has to do for light and dark. */
export const imageIconUrl = `data:image/svg+xml,${encodeURIComponent(DRAWING("#1e88e5"))}`;
