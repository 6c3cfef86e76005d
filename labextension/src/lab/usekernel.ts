// A notebook whose kernel runs in an image: the open notebook, or a new one.

import type { JupyterFrontEnd } from "@jupyterlab/application";
import { Dialog, showDialog } from "@jupyterlab/apputils";
import type { NotebookPanel } from "@jupyterlab/notebook";
import type { Kernel } from "../model";

/** Ask which notebook to use; resolves to a sentence about the change, or "". `kernel` installs the kernelspec. */
export async function useAsKernel(
  app: JupyterFrontEnd,
  notebook: NotebookPanel | null,
  kernel: Kernel,
  image: string,
): Promise<string> {
  const buttons = [Dialog.cancelButton(), Dialog.okButton({ label: "New notebook" })];
  if (notebook) buttons.push(Dialog.okButton({ label: "This notebook", accept: true, actions: ["this"] }));
  const body = "The kernel runs in the image and sees the notebook's directory. Changes elsewhere are lost when it stops.";
  const { button } = await showDialog({ title: `Use ${image} as kernel`, body, buttons });
  if (!button.accept) return "";
  const { result } = await kernel.ask("kernel", { ref: image });
  const { name } = result as { name: string };
  await app.serviceManager.kernelspecs.refreshSpecs();
  if (notebook && button.actions.includes("this")) {
    await notebook.sessionContext.changeKernel({ name });
    return `${notebook.title.label} runs in ${image}.`;
  }
  await app.commands.execute("notebook:create-new", { kernelName: name });
  return `The new notebook runs in ${image}.`;
}
