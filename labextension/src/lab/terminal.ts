// A JupyterLab terminal in an image, or where a step failed: the kernel supplies the command line, and a shell runs it.

import type { JupyterFrontEnd } from "@jupyterlab/application";
import { Dialog, showDialog } from "@jupyterlab/apputils";
import type { MainAreaWidget } from "@jupyterlab/apputils";
import type { Terminal } from "@jupyterlab/services";
import type { Widget } from "@lumino/widgets";
import type { Kernel } from "../model";

const CREATE = "terminal:create-new";

export async function openTerminal(app: JupyterFrontEnd, kernel: Kernel, ref: string): Promise<void> {
  const { command, title } = (await kernel.ask("terminal", { ref })).result as { command: string; title: string };
  if (!app.commands.hasCommand(CREATE) || !app.serviceManager.terminals.isAvailable()) {
    const body = `This server has no terminals. In a terminal of your own, run: ${command}`;
    await showDialog({ title, body, buttons: [Dialog.okButton({ label: "Close" })] });
    return;
  }
  const main = (await app.commands.execute(CREATE)) as MainAreaWidget<Widget & { session: Terminal.ITerminalConnection }>;
  // `exec`: the shell ends together with the command.
  main.content.session.send({ type: "stdin", content: [`exec ${command}\r`] });
}
