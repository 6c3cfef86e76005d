// The line to a notebook's kernel: questions over a comm, each of which is answered once, or refused with a sentence.

import { KernelMessage } from "@jupyterlab/services";
import type { Kernel as Jupyter } from "@jupyterlab/services";
import type { JSONObject, JSONValue } from "@lumino/coreutils";
import { bufferOf } from "../bytes";
import type { Answer, Kernel } from "../model";

const TARGET = "pybuild_magic";
const LOADED = "pybuild_magic.loaded"; // the target of a comm that a kernel opens once it has TARGET
const KEY = "__import__('pybuild_magic.display.service', fromlist=['service']).service().key";
const UNKNOWN = "This kernel has not loaded pybuild_magic: run %load_ext pybuild_magic.";

interface Question {
  resolve: (answer: Answer) => void;
  reject: (error: Error) => void;
  /** Ask again, with the kernel's key; null when that has been done. */
  retry: ((key: string) => void) | null;
}

/** The properties of a comm that tell its subshell; before JupyterLab 4.5 there are none. */
interface Shell {
  commsOverSubshells?: string;
  subshellStarted?: Promise<void>;
  subshellId?: string | null;
}

class Channel {
  private comm: Promise<Jupyter.IComm> | null = null;
  private questions = new Map<string, Question>();
  private key: Promise<string> | null = null;
  private subshell: string | null = null;
  private close: (reason: Error) => void = () => undefined;

  constructor(private kernel: Jupyter.IKernelConnection) {}

  async ask(token: string, method: string, params: object): Promise<Answer> {
    await this.kernel.info; // a kernel accepts comms only after its info reply
    if (this.kernel.isDisposed) throw new Error("The kernel is gone.");
    const comm = await (this.comm ??= this.open());
    const id = crypto.getRandomValues(new Uint32Array(4)).join("-");
    const question = { id, token, method, params: params as JSONObject };
    const answer = new Promise<Answer>((resolve, reject) =>
      this.questions.set(id, { resolve, reject, retry: (key) => comm.send({ ...question, key }) }),
    );
    comm.send(question);
    return answer;
  }

  /**
   * Ask for the kernel's key, which methods that remove something require. It comes as a user expression, whose answer
   * only this page receives, and is kept only here: pybuild_magic/display/service.py says whom that keeps out.
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
    const reply = content.status === "ok" ? (content.user_expressions["key"] as { data?: Record<string, string> }) : null;
    const text = reply?.data?.["text/plain"]?.slice(1, -1);
    if (!text) throw new Error(UNKNOWN);
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
   * Open the comm, once JupyterLab has started its subshell: a question to the main shell would wait for running cells.
   * A kernel logs an error about a target that it does not know, so ask first whether it has loaded the extension.
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
    const question = this.questions.get(reply.id ?? "");
    if (!question) return;
    const { retry } = question;
    if (reply.guarded && retry) {
      question.retry = null;
      (this.key ??= this.askKey()).then(retry, question.reject);
      return;
    }
    this.questions.delete(reply.id ?? "");
    if (reply.error) question.reject(new Error(reply.error));
    else question.resolve({ result: reply.result, buffers: (message.buffers ?? []).map(bufferOf) });
  }

  /** Reject every open question: the kernel answers no more. */
  drop(reason: string): void {
    const error = new Error(reason);
    const questions = [...this.questions.values()];
    this.questions.clear();
    this.comm = this.key = null;
    this.close(error);
    for (const question of questions) question.reject(error);
  }
}

const channels = new WeakMap<Jupyter.IKernelConnection, Channel>();

function channelOf(kernel: Jupyter.IKernelConnection): Channel {
  const existing = channels.get(kernel);
  if (existing) return existing;
  const channel = new Channel(kernel);
  channels.set(kernel, channel);
  kernel.statusChanged.connect((_, status) => {
    if (["restarting", "autorestarting", "dead"].includes(status)) channel.drop("The kernel was restarted or has stopped.");
  });
  kernel.disposed.connect(() => channel.drop("The kernel is gone."));
  return channel;
}

/** Return the way to ask a kernel about the result with this token; "" is the store. */
export function kernelOf(kernel: Jupyter.IKernelConnection, token = "", filesOnly = false): Kernel {
  return { filesOnly, token, ask: (method, params) => channelOf(kernel).ask(token, method, params) };
}
