// When steps end, and time against size: drawn as wide as there is room.

/** 1, 2, 5, 10, … steps that cut a length into about n pieces. */
function ticks(top, n) {
  const rough = top / n;
  const ten = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((f) => f * ten).find((x) => x >= rough);
  return range(Math.floor(top / step + 1e-9) + 1).map((i) => i * step);
}

const text = (x, y, words, name, anchor = "start") =>
  make("svg:text", { x: round(x), y: round(y), class: name, "text-anchor": anchor }, words);
const line = (x1, y1, x2, y2, name) =>
  make("svg:path", { d: `M${round(x1)} ${round(y1)}L${round(x2)} ${round(y2)}`, class: name });

/** Text that starts at x, in smaller letters where there is little room. */
function label(x, y, words, name, room) {
  const made = text(x, y, words, name);
  made.setAttribute("font-size", round(Math.min(12.5, room / (0.63 * words.length))));
  return made;
}

/** A row of bars for each panel, a bar for each step; a click goes to that step or time. */
class TimeAxis {
  constructor(root, app) {
    Object.assign(this, { root, app });
    this.picture = make("svg:svg", { role: "img", class: "chart" });
    root.append(this.picture);
    this.picture.addEventListener("click", (event) => {
      const box = this.picture.getBoundingClientRect();
      const t = ((event.clientX - box.left - this.left) / this.wide) * this.top;
      app.seek(Math.max(0, t), event.target.dataset);
    });
  }

  draw(shown) {
    const width = Math.max(320, this.root.clientWidth || 900);
    const [rowHeight, head, foot] = [46, 6, 42];
    const height = head + shown.length * rowHeight + foot;
    this.left = 16;
    this.wide = width - this.left - 24;
    this.top = Math.max(...shown.map((run) => run.seconds), DATA.lower_bound ?? 0) || 1;
    const x = (t) => this.left + (t / this.top) * this.wide;
    const bottom = height - foot;
    const children = [];
    const names = []; // above the lines that cross them
    for (const t of ticks(this.top, width > 700 ? 8 : 4))
      children.push(line(x(t), head, x(t), bottom + 4, "grid"),
        text(x(t), bottom + 17, secondsText(t), "tick", "middle"));
    this.bars = shown.map((run, row) => {
      const y = head + row * rowHeight + 18;
      names.push(label(this.left, y - 5, `${run.label}: ${secondsText(run.seconds)}`, "name", this.wide));
      const bars = run.ends.map((end, s) => {
        const start = s ? run.ends[s - 1] : 0;
        const gap = x(end) - x(start) > 3 ? 1 : 0;
        const width = round(Math.max(0.4, x(end) - x(start) - gap));
        return make("svg:rect", { x: round(x(start)), y, width, height: 24,
          class: `bar key${row} ${run.op(s, 0)}`, "data-row": row, "data-step": s },
          make("svg:title", {}, `step ${s + 1}, ${run.op(s, 0)}: ends at ${secondsText(end)}`));
      });
      children.push(...bars);
      return bars;
    });
    this.cursor = line(0, head - 4, 0, bottom, "cursor");
    children.push(this.cursor);
    let words = shown.map((run) => `${run.label} takes ${secondsText(run.seconds)}`).join(", ");
    if (DATA.lower_bound !== null) {
      const [bound, least] = [x(DATA.lower_bound), secondsText(DATA.lower_bound)];
      const note = `nothing ends before ${least}`;
      const from = Math.min(bound, width - 7 * note.length);
      children.push(line(bound, head - 4, bound, bottom, "bound"), text(from, height - 4, note, "note"));
      words += `; nothing takes less than ${least}`;
    }
    this.picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.picture.setAttribute("aria-label", `${words}.`);
    this.picture.replaceChildren(...children, ...names);
  }

  mark(steps, time) {
    this.bars.forEach((bars, row) => bars.forEach((bar, s) => bar.classList.toggle("now", s === steps[row])));
    const x = this.left + (Math.min(time, this.top) / this.top) * this.wide;
    this.cursor.setAttribute("transform", `translate(${round(x)} 0)`);
    this.cursor.classList.toggle("hidden", !Number.isFinite(time));
  }
}

/** Seconds against bytes, both by powers, with the bound that nothing can beat. */
class Curves {
  constructor(root) {
    this.root = root;
    this.picture = make("svg:svg", { class: "chart", role: "img", tabindex: 0 });
    this.reading = make("p", { class: "reading" });
    root.append(this.picture, this.reading);
    this.picture.addEventListener("pointermove", (event) => {
      const box = this.picture.getBoundingClientRect();
      this.read(this.nearest(event.clientX - box.left));
    });
    this.picture.addEventListener("pointerleave", () => this.read(-1));
    this.picture.addEventListener("blur", () => this.read(-1));
    this.picture.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!by) return;
      const { length } = DATA.curves.sizes;
      this.read(this.at < 0 ? (by > 0 ? 0 : length - 1) : Math.min(length - 1, Math.max(0, this.at + by)));
      event.preventDefault();
      event.stopPropagation();
    });
    this.at = -1;
  }

  draw() {
    const { sizes, seconds, lower_bound: bound } = DATA.curves;
    const width = Math.max(320, this.root.clientWidth || 900);
    const room = 24 + 7.4 * Math.max(...RUNS.map((run) => run.label.length), 11);
    const aside = width > 620; // otherwise the labels stand above the curves
    const right = aside ? room : 20;
    const [left, top] = [64, aside ? 10 : 10 + 16 * (RUNS.length + (bound ? 1 : 0))];
    const height = Math.min(380, width * 0.62) + top - 10;
    const bottom = height - 38;
    const all = [...seconds.flat(), ...(bound ?? []), ...RUNS.map((run) => run.seconds)].filter((t) => t > 0);
    if (!all.length) all.push(1e-6); // one rank: nothing takes any time
    const [lo, hi] = [Math.floor(Math.log10(Math.min(...all))), Math.ceil(Math.log10(Math.max(...all)))];
    const [first, last] = [sizes[0], sizes.at(-1)].map((n) => Math.log2(Math.max(n, 1)));
    const perUnit = (width - left - right) / Math.max(last - first, 1e-9);
    this.x = (n) => left + (Math.log2(Math.max(n, 1)) - first) * perUnit;
    const perTen = (bottom - top) / Math.max(hi - lo, 1);
    const y = (t) => bottom - (Math.log10(Math.max(t, 10 ** lo)) - lo) * perTen;
    const children = [];
    for (let k = lo; k <= hi; k++)
      children.push(line(left, y(10 ** k), width - right, y(10 ** k), "grid"),
        text(left - 8, y(10 ** k) + 4, secondsText(10 ** k), "tick", "end"));
    const every = Math.ceil(sizes.length / Math.max(3, (width - left - right) / 80));
    sizes.forEach((n, i) => {
      if (i % every === 0) children.push(text(this.x(n), bottom + 17, bytesText(n), "tick", "middle"));
    });
    children.push(text((left + width - right) / 2, height - 4, "vector on each rank", "note", "middle"));
    const path = (values) =>
      `M${values.map((t, i) => `${round(this.x(sizes[i]))} ${round(y(t))}`).join("L")}`;
    const labels = [];
    if (bound) {
      children.push(make("svg:path", { d: path(bound), class: "curve bound" }));
      labels.push({ words: "lower bound", y: y(bound.at(-1)), name: "bound" });
    }
    RUNS.forEach((run, i) => {
      children.push(make("svg:path", { d: path(seconds[i]), class: `curve key${i}` }));
      sizes.forEach((n, k) => children.push(marker(i, this.x(n), y(seconds[i][k]), 3.2, `mark key${i}`)));
      if (run.seconds > 0 && DATA.nbytes >= sizes[0] && DATA.nbytes <= sizes.at(-1))
        children.push(marker(i, this.x(DATA.nbytes), y(run.seconds), 6.5, `mark hollow key${i}`));
      labels.push({ words: run.label, y: y(seconds[i].at(-1)), name: `key${i}` });
    });
    labels.sort((a, b) => a.y - b.y);
    labels.forEach((one, i) => { if (i) one.y = Math.max(one.y, labels[i - 1].y + 15); });
    const over = Math.max(0, labels.at(-1).y - bottom);
    labels.forEach(({ words, y: at, name }, i) => children.push(aside
      ? text(width - right + 10, at - over + 4, words, `label ${name}`)
      : label(left, 12 + 16 * i, words, `label ${name}`, width - left - right)));
    this.cursor = line(0, top, 0, bottom, "cursor hidden");
    children.push(this.cursor);
    this.picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.picture.setAttribute("aria-label", "Time against the size of the vector; the table below has " +
      "the numbers. Left and right arrow read a size.");
    this.picture.replaceChildren(...children);
    this.read(this.at);
  }

  nearest(x) {
    const far = DATA.curves.sizes.map((n) => Math.abs(this.x(n) - x));
    return far.indexOf(Math.min(...far));
  }

  read(i) {
    this.at = i;
    this.cursor.classList.toggle("hidden", i < 0);
    const { sizes, seconds, variants, lower_bound: bound, model } = DATA.curves;
    if (i < 0) {
      const fastest = variants.some(Boolean) ? ", the fastest variant at each size" : "";
      this.reading.textContent = `Curves: ${model} model${fastest}. Hollow marks: the run above, ` +
        `${DATA.model} model, ${bytesText(DATA.nbytes)}.`;
      return;
    }
    this.cursor.setAttribute("transform", `translate(${round(this.x(sizes[i]))} 0)`);
    const times = RUNS.map((run, k) => {
      const variant = variants[k] ? `, ${variants[k][i]},` : "";
      return `${run.label}${variant} ${secondsText(seconds[k][i])}`;
    });
    if (bound) times.push(`lower bound ${secondsText(bound[i])}`);
    this.reading.textContent = `${bytesText(sizes[i])}: ${times.join("; ")}`;
  }
}

/** A mark for each schedule that is told apart without colour. */
function marker(i, x, y, r, name) {
  const d = [
    `M${-r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`,
    `M${-r} ${-r}h${2 * r}v${2 * r}h${-2 * r}Z`,
    `M0 ${-1.2 * r}L${1.1 * r} ${0.8 * r}H${-1.1 * r}Z`,
    `M0 ${-1.3 * r}L${1.3 * r} 0L0 ${1.3 * r}L${-1.3 * r} 0Z`,
    `M0 ${1.2 * r}L${1.1 * r} ${-0.8 * r}H${-1.1 * r}Z`,
    `M${-r} ${-r}L${r} ${r}M${-r} ${r}L${r} ${-r}`,
  ][i % 6];
  return make("svg:path", { d, class: name, transform: `translate(${round(x)} ${round(y)})` });
}
