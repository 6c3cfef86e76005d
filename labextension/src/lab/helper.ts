// A kernel of our own, for what no notebook's kernel can tell: one a server, started when it is first needed.

import type { Kernel as Jupyter, KernelSpec, ServiceManager, Session } from "@jupyterlab/services";
import type { Kernel } from "../model";
import { kernelOf } from "./channel";

const PATH = "pybuild_magic"; // in the server's root, which is so the kernel's directory

/** The server's default kernel if it is Python's, or else the first one that is. */
export function pythonSpec({ specs }: KernelSpec.IManager): KernelSpec.ISpecModel | null {
  const fit = Object.values(specs?.kernelspecs ?? {}).filter(
    (one) => one?.language === "python" && !one.metadata?.["pybuild_magic"], // what runs in an image has no store
  );
  return fit.find((one) => one?.name === specs?.default) ?? fit[0] ?? null;
}

export class Helper {
  private started: Promise<Jupyter.IKernelConnection> | null = null;

  constructor(private services: ServiceManager.IManager) {}

  /** Asks it; `token` as in `kernelOf`. */
  with(token = ""): Kernel {
    return { token, ask: async (method, params) => kernelOf(await this.kernel(), token).ask(method, params) };
  }

  private async kernel(): Promise<Jupyter.IKernelConnection> {
    const known = await this.started?.catch(() => null);
    if (known && !known.isDisposed && known.status !== "dead") return known;
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
