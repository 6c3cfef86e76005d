// The side panel: the contents of the store, as the notebook's kernel tells them, or the extension's own kernel.

import { ILabShell } from "@jupyterlab/application";
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";
import { Dialog, ICommandPalette, MainAreaWidget, Notification, showDialog, showErrorMessage } from "@jupyterlab/apputils";
import { INotebookTracker, NotebookActions } from "@jupyterlab/notebook";
import type { Message } from "@lumino/messaging";
import { Widget } from "@lumino/widgets";
import type { Kernel } from "../model";
import { h } from "../dom";
import { shortDigest } from "../words";
import { kernelOf } from "./channel";
import { Difference } from "./difference";
import { isBuildCell } from "../components/shared/dockerfile";
import { Explorer } from "./explorer";
import type { Helper } from "./helper";
import { imageIcon } from "./icon";
import { BuildLog, openRows } from "./opening";
import { StoreView } from "./storeview";
import { openTerminal } from "./terminal";
import { useAsKernel } from "./usekernel";

const SHOW = "pybuild-magic:show-images";
const PRUNE = "pybuild-magic:prune";
const PATIENCE = 2000; // milliseconds that a notebook's kernel has to answer; a busy one may take longer

class StorePanel extends Widget {
  constructor(readonly view: StoreView) {
    super();
    this.id = "pybuild-images";
    this.title.caption = "Images and builds";
    this.title.icon = imageIcon;
    this.addClass("pb-panel");
    const refresh = (): void => void view.refresh();
    this.node.append(
      h("div", { class: "pb-panel-head" },
        h("span", { class: "pb-panel-title" }, "Image store"),
        h("button", { type: "button", class: "pb-store-action", onclick: refresh }, "Refresh")),
      view.node,
    );
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    void this.view.refresh();
  }
}

export const panelPlugin = (helperOf: (app: JupyterFrontEnd) => Helper): JupyterFrontEndPlugin<void> => ({
  id: "pybuild_magic:panel",
  description: "A side panel with the images and builds of the store.",
  autoStart: true,
  optional: [INotebookTracker, ILabShell, ICommandPalette],
  activate: (app: JupyterFrontEnd, notebooks: INotebookTracker | null, shell: ILabShell | null, palette: ICommandPalette | null) => {
    const helper = helperOf(app);

    /** Return the way to ask about the store, and, with a token, about an image that it has opened. */
    async function source(): Promise<(token?: string) => Kernel> {
      const kernel = notebooks?.currentWidget?.sessionContext.session?.kernel;
      if (kernel && kernel.status !== "dead") {
        const timeout = new Promise<false>((resolve) => window.setTimeout(() => resolve(false), PATIENCE));
        const answers = kernelOf(kernel).ask("known", {}).then(
          () => true,
          () => false,
        );
        if (await Promise.race([answers, timeout])) return (token = "") => kernelOf(kernel, token);
      }
      return (token = "") => helper.with(token);
    }

    /** Show a widget in a tab of its own, or in a dialog where a page has a single document, as in Notebook. */
    function present(title: string, content: Widget): void {
      if (shell?.mode !== "multiple-document") {
        content.addClass("pb-in-dialog");
        void showDialog({ title, body: content, buttons: [Dialog.okButton({ label: "Close" })] });
        return;
      }
      const widget = new MainAreaWidget({ content });
      widget.title.label = title;
      widget.title.caption = title;
      widget.title.icon = imageIcon;
      widget.title.closable = true;
      shell.add(widget, "main");
      shell.activateById(widget.id);
    }

    const explore = (title: string, method: string, ref: string): void =>
      void source().then((ask) => {
        const content = new Explorer(ask);
        present(title, content);
        void content.open(method, { ref });
      });
    const openImage = (image: string): void => explore(image, "open", image);
    const layer = (digest: string): void => explore(`Layer ${shortDigest(digest)}`, "open_layer", digest);
    const files = (ref: string): void => explore("Where the step failed", "failed_files", ref);
    const openBuild = (ref: string): void =>
      void source().then((ask) => present(`Build ${ref.slice(0, 12)}`, new BuildLog(ask(), ref)));
    const terminal = (ref: string): void =>
      void source()
        .then((ask) => openTerminal(app, ask(), ref))
        .catch((error: unknown) => showErrorMessage(`No terminal in ${ref}`, error as Error));
    const use = async (image: string): Promise<string> => useAsKernel(app, notebooks?.currentWidget ?? null, (await source())(), image);
    const kernel = (image: string): void =>
      void use(image).catch((error: unknown) => showErrorMessage(`No kernel in ${image}`, error as Error));
    openRows(document.body, { image: openImage, build: openBuild, layer, terminal, files, kernel });

    const view = new StoreView(async () => (await source())(), {
      open: openImage,
      openBuild,
      terminal,
      compare: (before, after) => {
        void source().then((ask) => present(`${before} → ${after}`, new Difference(ask(), before, after)));
      },
      use,
      confirm: async (title, body, verb) => {
        const buttons = [Dialog.cancelButton(), Dialog.warnButton({ label: verb })];
        return (await showDialog({ title, body, buttons })).button.accept;
      },
    });
    const panel = new StorePanel(view);
    app.shell.add(panel, "left", { rank: 550, type: "Images" });
    NotebookActions.executed.connect((_, { cell }) => {
      if (panel.isVisible && isBuildCell(cell.model.sharedModel.getSource())) void view.refresh();
    });

    app.commands.addCommand(SHOW, {
      label: "Show Images and Builds",
      execute: () => app.shell.activateById(panel.id),
    });
    app.commands.addCommand(PRUNE, {
      label: "Prune Build Cache…",
      caption: "Remove what no image needs from the store",
      execute: async () => {
        try {
          const answer = await view.prune();
          if (answer) Notification.success(answer, { autoClose: 5000 });
          if (panel.isVisible) await view.refresh();
        } catch (error) {
          await showErrorMessage("The build cache was not pruned", error as Error);
        }
      },
    });
    for (const command of [SHOW, PRUNE]) palette?.addItem({ command, category: "Images" });
  },
});

