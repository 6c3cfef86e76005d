// Live progress: one row a step, with its state, bar, duration and log. Everything from a build is set as text.

const MAX_LINES = 5000;
const ICONS = { waiting: "○", running: "◐", done: "✓", cached: "⚡", error: "✕", canceled: "⊘" };

function element(tag, className, text) {
  const node = document.createElement(tag);
  node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function seconds(value) {
  if (value < 60) return `${value.toFixed(1)} s`;
  return `${Math.floor(value / 60)} min ${Math.floor(value % 60)} s`;
}

// Logs come as messages, not as state: they are kept here, once for all views of the model.
const logs = new WeakMap();

function initialize({ model }) {
  const kept = { lines: new Map(), listeners: new Set() };
  logs.set(model, kept);
  model.on("msg:custom", (message) => {
    if (message.type !== "logs") return;
    for (const [digest, lines] of Object.entries(message.lines)) {
      const all = kept.lines.get(digest) ?? [];
      all.push(...lines);
      if (all.length > MAX_LINES) all.splice(0, all.length - MAX_LINES);
      kept.lines.set(digest, all);
      for (const listener of kept.listeners) listener(digest, lines, all);
    }
  });
}

class Row {
  constructor(step, kept) {
    this.kept = kept;
    this.digest = step.digest;
    this.touched = false;
    this.node = element("details", "pbp-step");
    const head = element("summary", "pbp-row");
    this.icon = element("span", "pbp-icon");
    this.name = element("code", "pbp-name");
    this.note = element("span", "pbp-note");
    this.bar = element("progress", "pbp-bar");
    this.bar.max = 1;
    this.time = element("span", "pbp-time");
    head.append(this.icon, this.name, this.note, this.bar, this.time);
    head.addEventListener("click", () => (this.touched = true));
    this.log = element("pre", "pbp-log");
    this.node.append(head, this.log);
    for (const line of kept.lines.get(step.digest) ?? []) this.append([line]);
    this.update(step);
  }

  update(step) {
    this.node.dataset.state = step.state;
    this.icon.textContent = ICONS[step.state] ?? "";
    this.icon.title = step.state;
    this.name.textContent = step.name;
    this.note.textContent = step.note;
    this.bar.hidden = step.state !== "running";
    if (step.fraction === null) this.bar.removeAttribute("value");
    else this.bar.value = step.fraction;
    this.bar.setAttribute("aria-label", step.name);
    this.time.textContent = step.state === "cached" ? "CACHED" : step.state === "waiting" ? "" : seconds(step.seconds);
    if (!this.touched) this.node.open = step.state === "error";
  }

  append(lines) {
    const atEnd = this.log.scrollTop + this.log.clientHeight >= this.log.scrollHeight - 4;
    this.log.append(lines.map((line) => line + "\n").join(""));
    while (this.log.childNodes.length > MAX_LINES) this.log.firstChild.remove();
    this.node.classList.add("pbp-has-log");
    if (atEnd) this.log.scrollTop = this.log.scrollHeight;
  }
}

function render({ model, el }) {
  const kept = logs.get(model);
  const root = element("section", "pbp");
  root.setAttribute("aria-label", "Build progress");
  const head = element("div", "pbp-head");
  const title = element("strong", "pbp-title");
  const state = element("span", "pbp-state");
  state.setAttribute("role", "status");
  const total = element("progress", "pbp-total");
  total.setAttribute("aria-label", "Steps done");
  head.append(title, state, total);
  const list = element("div", "pbp-steps");
  root.append(head, list);
  el.append(root);
  const rows = new Map();

  function refresh() {
    const { steps, header } = model.get("state");
    if (!header) return;
    title.textContent = header.title;
    state.textContent = header.text;
    total.max = Math.max(1, header.total);
    total.value = header.done;
    root.dataset.state = header.state;
    for (const step of steps) {
      const row = rows.get(step.digest);
      if (row) {
        row.update(step);
      } else {
        const fresh = new Row(step, kept);
        rows.set(step.digest, fresh);
        list.append(fresh.node);
      }
    }
  }

  const listener = (digest, lines) => rows.get(digest)?.append(lines);
  kept.listeners.add(listener);
  model.on("change:state", refresh);
  refresh();
  return () => {
    kept.listeners.delete(listener);
    model.off("change:state", refresh);
  };
}

export default { initialize, render };
