// The icon of images: in the file browser, on tabs and in the side bar.

import { LabIcon } from "@jupyterlab/ui-components";

const SVG = `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24" fill="none">
<path class="jp-icon3" stroke="#616161" stroke-width="2" stroke-linejoin="round" d="M12 2.8 21 7.4v9.2l-9 4.6-9-4.6V7.4zM3 7.4l9 4.8 9-4.8M12 12.2v9"/>
</svg>`;

export const imageIcon = new LabIcon({ name: "pybuild_magic:image", svgstr: SVG });
