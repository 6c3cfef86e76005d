// Puts a button next to the path of each output that the kernel can hand out, and fetches the bytes in chunks.

const BUSY = 700; // milliseconds after which a kernel that does not answer is at something else
const AHEAD = 4; // chunks that are asked for before they are needed

function size(count) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  for (; count >= 1000 && unit < units.length - 1; unit++) count /= 1000;
  return unit ? `${count.toFixed(1)} ${units[unit]}` : `${count} B`;
}

// Asks for one chunk and waits for it, however long the kernel is at something else.
function ask(model, token, offset, signal) {
  const request = crypto.getRandomValues(new Uint32Array(4)).join("-");
  return new Promise((resolve, reject) => {
    const done = () => model.off("msg:custom", listen);
    const listen = (content, buffers) => {
      if (content.request !== request) return;
      done();
      if (content.error) reject(new Error(content.error));
      else resolve({ ...content, data: buffers[0] });
    };
    signal.addEventListener("abort", () => (done(), reject(new Error("Stopped"))));
    model.on("msg:custom", listen);
    model.send({ request, token, offset });
  });
}

async function download(model, token, show, signal) {
  const late = setTimeout(() => show("Waiting for the kernel…"), BUSY);
  const first = await ask(model, token, 0, signal).finally(() => clearTimeout(late));
  const asked = [];
  let body = new Blob([first.data]);
  for (let next = first.count; body.size < first.size; ) {
    for (; asked.length < AHEAD && next < first.size; next += first.count) {
      const chunk = ask(model, token, next, signal);
      chunk.catch(() => {}); // of several that fail together, the first one is told
      asked.push(chunk);
    }
    show(`${Math.floor((100 * body.size) / first.size)} % of ${size(first.size)}`);
    const chunk = await asked.shift();
    const expected = Math.min(first.count, first.size - body.size);
    if (chunk.version !== first.version || chunk.count !== expected) {
      throw new Error("The file changed while it was read.");
    }
    // A blob of blobs, so that the browser can keep what came on disk.
    body = new Blob([body, chunk.data]);
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(body);
  link.download = first.name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

function addButton(model, path) {
  const button = document.createElement("button");
  const token = path.dataset.pybuildDownload;
  let running = null;
  const show = (text) => (button.textContent = text);
  button.type = "button";
  button.className = "pb-download";
  button.setAttribute("aria-label", `Download ${path.textContent}`);
  button.title = "Download; again to stop";
  show("Download");
  button.addEventListener("click", async () => {
    if (running) return running.abort();
    running = new AbortController();
    show("…");
    try {
      await download(model, token, show, running.signal);
      show("Download");
    } catch (error) {
      show(`${error.message} Try again`);
    }
    running = null;
  });
  path.parentElement.append(button);
  return button;
}

export default () => {
  let stop = () => {};

  function initialize({ model }) {
    const buttons = new Set();
    let frame = 0;
    const look = () => {
      frame = 0;
      const tokens = new Set(model.get("tokens"));
      for (const path of document.querySelectorAll("code[data-pybuild-download]")) {
        if (!tokens.has(path.dataset.pybuildDownload)) continue;
        if (!path.parentElement.querySelector(".pb-download")) buttons.add(addButton(model, path));
      }
    };
    const later = () => (frame ||= setTimeout(look, 50));
    const observer = new MutationObserver(later);
    observer.observe(document.body, { childList: true, subtree: true });
    model.on("change:tokens", later);
    look();
    stop = () => {
      observer.disconnect();
      clearTimeout(frame);
      for (const button of buttons) button.remove();
    };
    // The kernel is gone, or was started anew: it knows these files no more.
    model.on("destroy", () => stop());
    return () => stop();
  }

  return { initialize };
};
