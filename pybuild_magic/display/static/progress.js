// Live progress: one row a step, with its state, bar, duration and log. Everything from a build is set as text.

const MAX_LINES = 5000;
const ICONS = { waiting: "○", running: "", done: "✓", cached: "✓", error: "✕", canceled: "■" };
const WORDS = { cached: "CACHED", error: "ERROR", canceled: "CANCELED", waiting: "" };

function element(tag, className, text) {
  const node = document.createElement(tag);
  node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function seconds(value) {
  if (value < 0.0005) return "0 s";
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  if (value < 60) return `${value.toFixed(1)} s`;
  return `${Math.floor(value / 60)} min ${Math.floor(value % 60)} s`;
}

// The lines of one step as far as this page has seen them: each message has the last ones, with the first's number.
class Log {
  constructor() {
    this.lines = [];
    this.next = 0;
    this.rest = "";
  }

  take([first, lines, rest]) {
    if (first > this.next) this.lines.push(`… ${first - this.next} lines`);
    const fresh = lines.slice(Math.max(0, this.next - first));
    this.lines.push(...fresh);
    if (this.lines.length > MAX_LINES) this.lines.splice(0, this.lines.length - MAX_LINES);
    this.next = Math.max(this.next, first + lines.length);
    this.rest = rest;
  }

  get text() {
    return this.lines.join("\n") + (this.rest ? `\n${this.rest}` : "");
  }
}

class Row {
  constructor(step, log) {
    this.log = log;
    this.node = element("details", "pbp-step");
    const head = element("summary", "pbp-row");
    this.icon = element("span", "pbp-icon");
    this.name = element("code", "pbp-name");
    this.note = element("span", "pbp-note");
    this.bar = element("progress", "pbp-bar");
    this.bar.max = 1;
    this.time = element("span", "pbp-time");
    head.append(this.icon, this.name, this.note, this.bar, this.time);
    this.pre = element("pre", "pbp-log");
    this.pre.tabIndex = 0;
    this.tail = element("div", "pbp-tail");
    this.tail.setAttribute("aria-hidden", "true");
    this.node.append(head, this.pre);
    this.whole = element("div", "pbp-whole");
    this.whole.append(this.node, this.tail);
    this.node.addEventListener("toggle", () => this.draw());
    this.update(step);
  }

  update(step) {
    if (this.step?.state !== "error" && step.state === "error") this.node.open = true;
    this.step = step;
    this.node.dataset.state = step.state;
    put(this.icon, ICONS[step.state] ?? "");
    this.icon.title = step.state;
    put(this.name, step.name);
    this.name.title = step.name;
    put(this.note, step.note);
    this.bar.hidden = step.state !== "running" || step.fraction === null;
    if (step.fraction !== null) this.bar.value = step.fraction;
    this.bar.setAttribute("aria-label", step.name);
    put(this.tail, this.node.open ? "" : step.tail);
    this.draw();
  }

  clock(since) {
    const { state } = this.step;
    put(this.time, WORDS[state] ?? seconds(this.step.seconds + (state === "running" ? since : 0)));
  }

  // A closed log costs nothing; an open one is written whole, at most once a frame.
  draw() {
    const log = this.log();
    const error = this.step.error ? `ERROR: ${this.step.error}` : "";
    this.node.classList.toggle("pbp-has-log", Boolean(log || error));
    if (!this.node.open) return;
    put(this.tail, "");
    const atEnd = this.pre.scrollTop + this.pre.clientHeight >= this.pre.scrollHeight - 4;
    put(this.pre, [log?.text, error].filter(Boolean).join("\n"));
    if (atEnd) this.pre.scrollTop = this.pre.scrollHeight;
  }
}

export default () => {
  // Kept for all views of one build, from before the first of them is drawn.
  const logs = new Map();
  let heard = performance.now();

  function takeLogs(model) {
    for (const [digest, part] of Object.entries(model.get("logs"))) {
      if (!logs.has(digest)) logs.set(digest, new Log());
      logs.get(digest).take(part);
    }
  }

  function initialize({ model }) {
    takeLogs(model);
    model.on("change:logs", () => takeLogs(model));
    model.on("change:state", () => (heard = performance.now()));
  }

  function render({ model, el }) {
    const root = element("section", "pbp");
    root.setAttribute("aria-label", "Build progress");
    const head = element("div", "pbp-head");
    const [spinner, title, state, clock] = [
      element("span", "pbp-icon pbp-spin"),
      element("strong", "pbp-title"),
      element("span", "pbp-state"),
      element("span", "pbp-time"),
    ];
    state.setAttribute("role", "status");
    const total = element("progress", "pbp-total");
    total.setAttribute("aria-label", "Steps done");
    head.append(spinner, title, state, total, clock);
    const list = element("div", "pbp-steps");
    root.append(head, list);
    el.append(root);
    const rows = new Map();
    let frame = 0;

    function draw() {
      frame = 0;
      const { steps, ...header } = model.get("state");
      put(title, `Building ${header.title}`);
      put(state, `${header.done} of ${header.total} steps · ${header.builder}`);
      total.max = Math.max(1, header.total);
      total.value = header.done;
      let before = null;
      for (const step of steps) {
        let row = rows.get(step.digest);
        if (row) row.update(step);
        else rows.set(step.digest, (row = new Row(step, () => logs.get(step.digest))));
        const place = before ? before.whole.nextSibling : list.firstChild;
        if (place !== row.whole) list.insertBefore(row.whole, place);
        before = row;
      }
      tick();
    }

    function tick() {
      const since = (performance.now() - heard) / 1000;
      put(clock, seconds(model.get("state").elapsed + since));
      for (const row of rows.values()) row.clock(since);
    }

    const later = () => (frame ||= requestAnimationFrame(draw));
    model.on("change:state", later);
    model.on("change:logs", later);
    const timer = setInterval(tick, 200);
    draw();
    return () => {
      clearInterval(timer);
      cancelAnimationFrame(frame);
      model.off("change:state", later);
      model.off("change:logs", later);
    };
  }

  return { initialize, render };
};
