// The line to a notebook's kernel: questions over a comm, each answered once, or refused with a sentence.

import { KernelMessage } from "@jupyterlab/services";
import type { Kernel as Jupyter } from "@jupyterlab/services";
import type { JSONObject, JSONValue } from "@lumino/coreutils";
import type { Answer, Kernel } from "../model";

const TARGET = "pybuild_magic";
const LOADED = "pybuild_magic.loaded"; // of a comm that a kernel has once it has the target
const KEY = "__import__('pybuild_magic.display.service', fromlist=['service']).service().key";
const UNKNOWN = "This kernel has not loaded pybuild_magic: run %load_ext pybuild_magic.";

interface Waiting {
  resolve: (answer: Answer) => void;
  reject: (error: Error) => void;
  /** Asks once more, with the kernel's key. */
  again: ((key: string) => void) | null;
}

/** What comms have of their subshell; JupyterLab before 4.5 has none. */
interface Shell {
  commsOverSubshells?: string;
  subshellStarted?: Promise<void>;
  subshellId?: string | null;
}

/** Bytes as a buffer of their own, whatever they came in. */
function toBuffer(data: ArrayBuffer | ArrayBufferView): ArrayBuffer {
  if (data instanceof ArrayBuffer) return data;
  const view = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return view.byteLength === view.buffer.byteLength ? (view.buffer as ArrayBuffer) : view.slice().buffer;
}

class Channel {
  private comm: Promise<Jupyter.IComm> | null = null;
  private waiting = new Map<string, Waiting>();
  private key: Promise<string> | null = null;
  private subshell: string | null = null;
  private close: (reason: Error) => void = () => undefined;

  constructor(private kernel: Jupyter.IKernelConnection) {}

  async ask(token: string, method: string, params: object): Promise<Answer> {
    await this.kernel.info; // before it has said what it is, it takes no comms
    if (this.kernel.isDisposed) throw new Error("The kernel is gone.");
    const comm = await (this.comm ??= this.open());
    const id = crypto.getRandomValues(new Uint32Array(4)).join("-");
    const question = { id, token, method, params: params as JSONObject };
    const answer = new Promise<Answer>((resolve, reject) =>
      this.waiting.set(id, { resolve, reject, again: (key) => comm.send({ ...question, key }) }),
    );
    comm.send(question);
    return answer;
  }

  /**
   * The kernel's key for what removes something. It comes as a user expression, whose answer is for this page alone, and
   * is kept nowhere but here: pybuild_magic/display/service.py says against whom that helps.
   */
  private async askKey(): Promise<string> {
    const question = KernelMessage.createMessage<KernelMessage.IExecuteRequestMsg>({
      msgType: "execute_request",
      channel: "shell",
      username: this.kernel.username,
      session: this.kernel.clientId,
      subshellId: this.subshell,
      content: { code: "", silent: true, store_history: false, allow_stdin: false, user_expressions: { key: KEY } },
    });
    const { content } = (await this.kernel.sendShellMessage(question, true).done) as KernelMessage.IExecuteReplyMsg;
    const found = content.status === "ok" ? (content.user_expressions["key"] as { data?: Record<string, string> }) : null;
    const text = found?.data?.["text/plain"]?.slice(1, -1);
    if (!text) throw new Error("This kernel has not loaded pybuild_magic: run %load_ext pybuild_magic.");
    return text;
  }

  private open(): Promise<Jupyter.IComm> {
    return new Promise((resolve, reject) => {
      const comm = this.kernel.createComm(TARGET);
      comm.onMsg = (message) => this.hear(message);
      comm.onClose = () => this.drop(UNKNOWN);
      this.close = (reason) => {
        if (!comm.isDisposed) comm.dispose();
        reject(reason);
      };
      this.start(comm).then(
        () => resolve(comm),
        (error: Error) => comm.isDisposed || this.drop(error.message),
      );
    });
  }

  /**
   * Waits for the subshell that JupyterLab starts for a comm, so that nothing is asked of the main shell, where it would
   * wait for the cells that run. A kernel that is asked for a target which it does not know complains to whoever reads
   * its log: so look first.
   */
  private async start(comm: Jupyter.IComm): Promise<void> {
    const shell = comm as Shell;
    if (this.kernel.supportsSubshells && shell.commsOverSubshells !== "disabled") {
      await shell.subshellStarted?.catch(() => undefined);
    }
    this.subshell = shell.subshellId ?? this.kernel.subshellId;
    const question = KernelMessage.createMessage<KernelMessage.ICommInfoRequestMsg>({
      msgType: "comm_info_request",
      channel: "shell",
      username: this.kernel.username,
      session: this.kernel.clientId,
      subshellId: this.subshell,
      content: { target_name: LOADED },
    });
    const { content } = (await this.kernel.sendShellMessage(question, true).done) as KernelMessage.ICommInfoReplyMsg;
    if (content.status !== "ok" || !Object.keys(content.comms).length) throw new Error(UNKNOWN);
    comm.open();
  }

  private hear(message: KernelMessage.ICommMsgMsg): void {
    const reply = message.content.data as { id?: string; result?: JSONValue; error?: string; guarded?: boolean };
    const asked = this.waiting.get(reply.id ?? "");
    if (!asked) return;
    const { again } = asked;
    if (reply.guarded && again) {
      asked.again = null;
      (this.key ??= this.askKey()).then(again, asked.reject);
      return;
    }
    this.waiting.delete(reply.id ?? "");
    if (reply.error) asked.reject(new Error(reply.error));
    else asked.resolve({ result: reply.result, buffers: (message.buffers ?? []).map(toBuffer) });
  }

  /** Nobody answers any more. */
  drop(reason: string): void {
    const error = new Error(reason);
    const all = [...this.waiting.values()];
    this.waiting.clear();
    this.comm = this.key = null;
    this.close(error);
    for (const asked of all) asked.reject(error);
  }
}

const channels = new WeakMap<Jupyter.IKernelConnection, Channel>();

function channelOf(kernel: Jupyter.IKernelConnection): Channel {
  let channel = channels.get(kernel);
  if (!channel) {
    const made = new Channel(kernel);
    channels.set(kernel, (channel = made));
    kernel.statusChanged.connect((_, status) => {
      if (["restarting", "autorestarting", "dead"].includes(status)) made.drop("The kernel was restarted or has stopped.");
    });
    kernel.disposed.connect(() => made.drop("The kernel is gone."));
  }
  return channel;
}

/** Asks a kernel; `token` is that of the result which is asked about, "" for what the store has. */
export function kernelOf(kernel: Jupyter.IKernelConnection, token = "", filesOnly = false): Kernel {
  return { filesOnly, token, ask: (method, params) => channelOf(kernel).ask(token, method, params) };
}
