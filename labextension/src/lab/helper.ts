// A kernel of the extension's own, one for each server, for questions that belong to no notebook. It starts on demand.

import type { Kernel as Jupyter, KernelSpec, ServiceManager, Session } from "@jupyterlab/services";
import type { Kernel } from "../model";
import { kernelOf } from "./channel";

const PATH = "pybuild_magic"; // in the server's root, so that this is the kernel's directory

/** Return the server's default kernel if it runs Python, or else the first one that does. */
export function pythonSpec({ specs }: KernelSpec.IManager): KernelSpec.ISpecModel | null {
  const pythonSpecs = Object.values(specs?.kernelspecs ?? {}).filter(
    (spec) => spec?.language === "python" && !spec.metadata?.["pybuild_magic"], // a kernel in an image has no store
  );
  return pythonSpecs.find((spec) => spec?.name === specs?.default) ?? pythonSpecs[0] ?? null;
}

export class Helper {
  private started: Promise<Jupyter.IKernelConnection> | null = null;

  constructor(private services: ServiceManager.IManager) {}

  /** Return the way to ask it; `token` as in `kernelOf`. */
  with(token = ""): Kernel {
    return { token, ask: async (method, params) => kernelOf(await this.kernel(), token).ask(method, params) };
  }

  private async kernel(): Promise<Jupyter.IKernelConnection> {
    const current = await this.started?.catch(() => null);
    if (current && !current.isDisposed && current.status !== "dead") return current;
    this.started = this.start();
    return this.started;
  }

  private async start(): Promise<Jupyter.IKernelConnection> {
    const { sessions, kernelspecs } = this.services;
    await Promise.all([sessions.ready, kernelspecs.ready]);
    const running = await sessions.findByPath(PATH);
    const session = running ? sessions.connectTo({ model: running }) : await this.startSession();
    const kernel = session.kernel;
    if (!kernel) throw new Error("The kernel did not start.");
    const loaded = await kernel.requestExecute({ code: "%load_ext pybuild_magic", silent: true, store_history: false }).done;
    if (loaded.content.status !== "ok") throw new Error("pybuild_magic is not installed where this server's kernels run.");
    return kernel;
  }

  private startSession(): Promise<Session.ISessionConnection> {
    const spec = pythonSpec(this.services.kernelspecs);
    if (!spec) throw new Error("This server has no Python kernel to open it with.");
    return this.services.sessions.startNew({ path: PATH, name: "Images of pybuild_magic", type: "pybuild", kernel: { name: spec.name } });
  }
}
