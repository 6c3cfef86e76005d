// The line to a notebook's kernel: questions over a comm, each answered once, or refused with a sentence.

import type { Kernel as Jupyter, KernelMessage } from "@jupyterlab/services";
import type { JSONObject, JSONValue } from "@lumino/coreutils";
import type { Answer, Kernel } from "../model";

const TARGET = "pybuild_magic";
const LOADED = "pybuild_magic.loaded"; // of a comm that a kernel has once it has the target
const UNKNOWN = "This kernel has not loaded pybuild_magic: run %load_ext pybuild_magic.";

interface Waiting {
  resolve: (answer: Answer) => void;
  reject: (error: Error) => void;
}

/** Bytes as a buffer of their own, whatever they came in. */
function toBuffer(data: ArrayBuffer | ArrayBufferView): ArrayBuffer {
  if (data instanceof ArrayBuffer) return data;
  const view = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return view.byteLength === view.buffer.byteLength ? (view.buffer as ArrayBuffer) : view.slice().buffer;
}

class Channel {
  private comm: Jupyter.IComm | null = null;
  /** What is asked before the kernel has answered its first question; null from then on. */
  private queue: JSONObject[] | null = null;
  private waiting = new Map<string, Waiting>();
  private isLoaded = false;

  constructor(private kernel: Jupyter.IKernelConnection) {}

  async ask(token: string, method: string, params: object): Promise<Answer> {
    await this.kernel.info; // before it has said what it is, it takes no comms
    if (this.kernel.isDisposed) throw new Error("The kernel is gone.");
    if (!this.isLoaded) await this.look();
    const id = crypto.getRandomValues(new Uint32Array(4)).join("-");
    const answer = new Promise<Answer>((resolve, reject) => this.waiting.set(id, { resolve, reject }));
    const request = { id, token, method, params: params as JSONObject };
    const comm = this.open();
    if (this.queue) this.queue.push(request);
    else comm.send(request);
    return answer;
  }

  /** A kernel that is asked for a target it does not know complains to whoever reads its log: look first. */
  private async look(): Promise<void> {
    const { content } = await this.kernel.requestCommInfo({ target_name: LOADED });
    if (content.status !== "ok" || !Object.keys(content.comms).length) throw new Error(UNKNOWN);
    this.isLoaded = true;
  }

  /**
   * Opens the comm with a question, and lets others wait for its answer: the messages after the first ones are sent to
   * a subshell, which would get them before the main shell has opened the comm.
   */
  private open(): Jupyter.IComm {
    if (this.comm && !this.comm.isDisposed) return this.comm;
    const comm = this.kernel.createComm(TARGET);
    comm.onMsg = (message) => this.hear(message);
    comm.onClose = () => this.drop(UNKNOWN);
    this.queue = [];
    this.comm = comm;
    comm.open({ id: "", token: "", method: "known", params: {} });
    return comm;
  }

  private hear(message: KernelMessage.ICommMsgMsg): void {
    for (const request of this.queue ?? []) this.comm?.send(request);
    this.queue = null;
    const reply = message.content.data as { id?: string; result?: JSONValue; error?: string };
    const asked = this.waiting.get(reply.id ?? "");
    if (!asked) return;
    this.waiting.delete(reply.id ?? "");
    if (reply.error) asked.reject(new Error(reply.error));
    else asked.resolve({ result: reply.result, buffers: (message.buffers ?? []).map(toBuffer) });
  }

  /** Nobody answers any more. */
  drop(reason: string): void {
    const all = [...this.waiting.values()];
    this.waiting.clear();
    this.queue = null;
    this.isLoaded = false;
    this.comm?.dispose();
    this.comm = null;
    for (const asked of all) asked.reject(new Error(reason));
  }
}

const channels = new WeakMap<Jupyter.IKernelConnection, Channel>();

function channelOf(kernel: Jupyter.IKernelConnection): Channel {
  let channel = channels.get(kernel);
  if (!channel) {
    const made = new Channel(kernel);
    channels.set(kernel, (channel = made));
    kernel.statusChanged.connect((_, status) => {
      if (["restarting", "autorestarting", "dead"].includes(status)) made.drop("The kernel was restarted, or has ended.");
    });
    kernel.disposed.connect(() => made.drop("The kernel is gone."));
  }
  return channel;
}

/** Asks a kernel; `token` is that of the result which is asked about, "" for what the store has. */
export function kernelOf(kernel: Jupyter.IKernelConnection, token = ""): Kernel {
  return { ask: (method, params) => channelOf(kernel).ask(token, method, params) };
}
