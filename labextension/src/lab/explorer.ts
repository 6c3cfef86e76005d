// An image in a tab of its own, to be explored: from the store, from an archive or from a layout.

import { ABCWidgetFactory, DocumentWidget, TextModelFactory } from "@jupyterlab/docregistry";
import type { DocumentRegistry } from "@jupyterlab/docregistry";
import type { Contents } from "@jupyterlab/services";
import { PathExt } from "@jupyterlab/coreutils";
import { jsonIcon } from "@jupyterlab/ui-components";
import { Widget } from "@lumino/widgets";
import { fill, h } from "../dom";
import { summaryOf } from "../document";
import type { Kernel } from "../model";
import { renderResult } from "../components/result";
import { fillWith } from "../components/shared/note";
import type { Helper } from "./helper";
import { imageIcon } from "./icon";

/** The view of a Summary that a kernel has opened, which asks that kernel for more. */
export class Explorer extends Widget {
  private undraw = (): void => undefined;

  constructor(private withToken: (token: string) => Kernel) {
    super();
    this.addClass("pb-explorer");
    this.node.tabIndex = -1;
  }

  /** Ask for a Summary, by `open` or `open_archive`, and show it. */
  async open(method: string, params: Record<string, unknown>): Promise<void> {
    this.undraw();
    const place = h("div", { class: "pb-explorer-place" });
    fill(this.node, place);
    await fillWith(place, this.load(method, params));
  }

  private async load(method: string, params: Record<string, unknown>): Promise<HTMLElement> {
    const { result } = await this.withToken("").ask(method, params);
    const summary = summaryOf(result);
    const root = h("div");
    this.undraw = renderResult(root, summary, this.withToken(summary.fetch ?? "")).dispose;
    return root;
  }

  override dispose(): void {
    this.undraw();
    super.dispose();
  }
}

export const FACTORY = "Image explorer";
export const MODEL = "pybuild-image";

/** The model of a file that the page does not load: it may be gigabytes, and the kernel reads it. */
export class ImageModelFactory extends TextModelFactory {
  override get name(): string {
    return MODEL;
  }
  override get contentType(): Contents.ContentType {
    return "file";
  }
  override get fileFormat(): Contents.FileFormat {
    return null;
  }
}

export class ExplorerFactory extends ABCWidgetFactory<DocumentWidget<Explorer>> {
  constructor(private helper: Helper) {
    super({
      name: FACTORY,
      modelName: MODEL,
      fileTypes: ["oci-archive", "oci-tar", "oci-layout"],
      defaultFor: ["oci-archive", "oci-tar"],
      readOnly: true,
    });
  }

  protected override createNewWidget(context: DocumentRegistry.Context): DocumentWidget<Explorer> {
    const content = new Explorer((token) => this.helper.with(token));
    const widget = new DocumentWidget({ content, context });
    widget.title.icon = imageIcon;
    const path = context.localPath;
    const target = PathExt.basename(path) === "index.json" ? PathExt.dirname(path) || "." : path;
    void context.ready.then(() => content.open("open_archive", { path: target }));
    return widget;
  }
}

/** The names of Dockerfiles. */
export const DOCKERFILE = "^(.+\\.)?(Dockerfile|Containerfile)(\\..+)?$";

/** Return whether a path has the name of a Dockerfile. */
export const isDockerfile = (path: string): boolean => new RegExp(DOCKERFILE).test(PathExt.basename(path));

/** The types of files by their names. JSON keeps its own default opener: few `index.json` belong to an image. */
export const FILE_TYPES: Partial<DocumentRegistry.IFileType>[] = [
  {
    name: "oci-archive",
    displayName: "OCI archive",
    extensions: [".oci", ".oci.tar"],
    mimeTypes: ["application/x-tar"],
    contentType: "file",
    fileFormat: "base64",
    icon: imageIcon,
  },
  {
    name: "oci-tar",
    displayName: "OCI or Docker archive",
    extensions: [".tar"],
    mimeTypes: ["application/x-tar"],
    contentType: "file",
    fileFormat: "base64",
    icon: imageIcon,
  },
  {
    name: "oci-layout",
    displayName: "OCI image layout",
    pattern: "^index\\.json$",
    extensions: [],
    mimeTypes: ["application/json"],
    contentType: "file",
    fileFormat: "text",
    icon: jsonIcon,
  },
  {
    name: "dockerfile",
    displayName: "Dockerfile",
    pattern: DOCKERFILE,
    extensions: [],
    mimeTypes: ["text/x-dockerfile"],
    contentType: "file",
    fileFormat: "text",
    icon: imageIcon,
  },
];
