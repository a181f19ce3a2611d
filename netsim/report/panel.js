// One schedule on the place: links by load, messages as arcs, and what is pointed at in words.

const BINS = 12;

/** An element with attributes and children; strings become text, never markup. */
function make(tag, attributes = {}, ...children) {
  const name = tag.replace("svg:", "");
  const made = tag.startsWith("svg:") ? document.createElementNS("http://www.w3.org/2000/svg", name)
    : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const plural = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;
const rateText = (link) => (PLACE.rates.has(link) ? `, ${figures(PLACE.rate(link))} Gb/s` : "");
const signed = (way) => ({ 1: "+", "-1": "−", 0: "" })[way];

class Panel {
  constructor(root, number, app) {
    Object.assign(this, { root, number, app });
    this.choice = make("select", { "aria-label": `Schedule of panel ${number + 1}` },
      ...RUNS.map((run, i) => make("option", { value: i }, run.label)));
    this.choice.value = String(this.run = Math.min(number, RUNS.length - 1));
    this.choice.addEventListener("change", () => app.choose(number, Number(this.choice.value)));
    this.name = make("b", { class: "name" }); // in print, where there is no choice
    this.time = make("span", { class: "time" });
    this.facts = make("p", { class: "facts" });
    this.busiest = make("p", { class: "facts busiest" });
    this.details = make("div", { class: "details" });
    this.picture = make("svg:svg", { role: "group", class: "torus" });
    const key = make("span", { class: `key key${number}` });
    root.append(make("div", { class: "heading" }, key, this.choice, this.name, this.time),
      this.facts, this.busiest, this.picture, this.details);
    this.listen();
  }

  get schedule() {
    return RUNS[this.run];
  }

  /** Draws what does not change from step to step. */
  draw(view) {
    this.view = view;
    const { picture, number } = this;
    this.name.textContent = this.schedule.label;
    picture.setAttribute("viewBox", `0 0 ${Math.ceil(view.width)} ${Math.ceil(view.height)}`);
    const layer = (name, ...children) => make("svg:g", { class: name }, ...children);
    const mark = (id) => make("svg:marker", { id: `${id}${number}`, class: id, viewBox: "0 0 8 8", refX: 1,
      refY: 4, markerWidth: view.tip, markerHeight: view.tip, markerUnits: "userSpaceOnUse", orient: "auto" },
      make("svg:path", { d: "M0 0.5L7.5 4L0 7.5Z" }));
    const [x, y, width, height] = view.clip ?? [0, 0, view.width, view.height];
    const defs = make("svg:defs", {}, ...["tip", "tip-out", "tip-in"].map(mark),
      make("svg:clipPath", { id: `clip${number}` }, make("svg:rect", { x, y, width, height })));
    this.lines = view.links.map(({ d, link }) => make("svg:path", { d, "data-link": link }));
    this.byLink = new Map();
    this.lines.forEach((path, i) => {
      const { link } = view.links[i];
      this.byLink.set(link, [...(this.byLink.get(link) ?? []), path]);
    });
    this.bins = [];
    const hits = view.links.map(({ d, link }) =>
      make("svg:path", { d, "data-link": link, tabindex: -1, role: "img" }));
    const circle = ({ node, xy: [cx, cy] }, r, kind) => {
      const g = make("svg:g", { class: kind, "data-rank": node },
        make("svg:circle", { cx: round(cx), cy: round(cy), r: round(r) }));
      if (r >= 5.6) g.append(make("svg:text", { x: round(cx), y: round(cy), "font-size": round(r * 0.92) },
        String(this.schedule.rank(node))));
      return g;
    };
    this.nodes = view.nodes.map((node) => circle(node, view.radius, "node"));
    this.nodes.forEach((g, i) => {
      g.setAttribute("tabindex", i ? -1 : 0);
      g.setAttribute("role", "img");
    });
    const ghosts = view.ghosts.map((ghost) => circle(ghost, view.radius * 0.72, "ghost"));
    this.arcs = layer("arcs");
    this.arcs.setAttribute("clip-path", `url(#clip${number})`);
    picture.replaceChildren(defs,
      layer("boards", ...view.boards.map((box) => make("svg:rect", { ...box, rx: 10 }))),
      layer("rails", ...view.rails.map(({ d, point }) =>
        make("svg:path", { d, class: point ? "point" : "rail" }))),
      layer("links", ...this.lines), layer("hits", ...hits), this.arcs,
      layer("ghosts", ...ghosts), layer("nodes", ...this.nodes));
  }

  /** Draws a step; past the last one the schedule has ended. */
  show(state, top) {
    const { schedule: run, view } = this;
    this.state = state;
    this.step = Math.min(state.steps[this.number], run.steps.length);
    this.done = this.step >= run.steps.length;
    this.load = this.done && !state.whole ? new Float64Array(PLACE.links.length)
      : state.whole ? run.whole(state.part) : run.load(this.step, state.part);
    const thick = Math.min(3.6, view.unit ? view.unit * 0.05 : 3.6);
    this.lines.forEach((line, i) => {
      const bytes = this.load[view.links[i].link];
      const bin = bytes > 0 ? Math.max(1, Math.ceil((BINS * bytes) / top - 1e-9)) : 0;
      if (this.bins[i] === bin) return;
      this.bins[i] = bin;
      const slow = PLACE.rate(view.links[i].link) < PLACE.gbps ? " slow" : "";
      line.setAttribute("class", `link q${bin}${slow}`);
      line.setAttribute("stroke-width", round(thick * (bin ? 0.5 + (0.9 * bin) / BINS : 0.35)));
    });
    this.drawArcs();
    this.time.textContent = this.done ? `ended after ${secondsText(run.seconds)}`
      : `${secondsText(run.ends[this.step])} of ${secondsText(run.seconds)}`;
    this.tell();
    this.select();
  }

  drawArcs() {
    const { state, view } = this;
    if (this.done || state.whole) return this.arcs.replaceChildren();
    const { src, dst, part } = this.schedule.messages(this.step);
    const made = [];
    for (let i = 0; i < src.length; i++) {
      if (state.part >= 0 && part[i] !== state.part) continue;
      for (const { d, share, exact } of view.arcs(src[i], dst[i]))
        made.push(make("svg:path", { d, "data-i": i, class: share < 1 ? "arc partly" : "arc", pathLength: 1,
          ...(exact ? { "marker-end": `url(#tip${this.number})` } : {}) }));
    }
    this.arcs.setAttribute("class", made.length > 700 ? "arcs many" : "arcs");
    this.arcs.replaceChildren(...made);
  }

  /** The step in two lines. */
  tell() {
    const { schedule: run, state, load } = this;
    const { link: first, others } = PLACE.busiest(load);
    const rest = others > 0 ? `, ${plural(others, "other")} as busy` : "";
    if (state.whole) {
      this.facts.textContent = `All ${plural(run.steps.length, "step")} together.`;
    } else if (this.done) {
      this.facts.textContent = `Ended after ${plural(run.steps.length, "step")}.`;
    } else {
      const { src, part, share } = run.messages(this.step);
      let [n, lo, hi] = [0, Infinity, 0];
      const kinds = new Set();
      for (let i = 0; i < src.length; i++) {
        if (state.part >= 0 && part[i] !== state.part) continue;
        const size = share[i] * DATA.nbytes;
        [n, lo, hi] = [n + 1, Math.min(lo, size), Math.max(hi, size)];
        kinds.add(run.op(this.step, i));
      }
      const ops = [...kinds].join(" and ");
      const each = !n ? "no messages" : `${plural(n, "message")} of ${
        hi - lo < 1e-6 * hi ? bytesText(hi) : `${bytesText(lo)} to ${bytesText(hi)}`}`;
      this.facts.textContent = `Step ${this.step + 1} of ${run.steps.length}: ${ops || "rest"}, ${each}.`;
    }
    const by = () => ` in ${plural(run.users(this.step, state.part, first).length, "message")}`;
    this.busiest.textContent = first < 0 ? "No link is busy."
      : `Busiest link ${this.linkName(first)}${rateText(first)}: ` +
        `${bytesText(load[first])}${state.whole ? "" : by()}${rest}.`;
    this.picture.setAttribute("aria-label",
      `${run.label} on ${PLACE.name}. ${this.facts.textContent} ${this.busiest.textContent}`);
  }

  /** Marks what is pointed at, here and in the other panel, and says what it does. */
  select() {
    const { selected } = this.state;
    const rank = selected?.kind === "rank" ? selected.id : -1;
    const link = selected?.kind === "link" ? selected.id : -1;
    const { src, dst } = this.done || this.state.whole ? { src: [], dst: [] }
      : this.schedule.messages(this.step);
    const users = link >= 0 && src.length ? this.schedule.users(this.step, this.state.part, link) : [];
    const using = new Set(users.map(({ i }) => i));
    this.picture.classList.toggle("selecting", selected !== null);
    for (const path of this.arcs.children) {
      const i = Number(path.dataset.i);
      const kind = src[i] === rank || using.has(i) ? "out" : dst[i] === rank ? "in" : "";
      path.classList.toggle("out", kind === "out");
      path.classList.toggle("in", kind === "in");
      if (path.hasAttribute("marker-end"))
        path.setAttribute("marker-end", `url(#tip${kind && `-${kind}`}${this.number})`);
    }
    for (const shown of this.picture.querySelectorAll(".chosen")) shown.classList.remove("chosen");
    for (const path of this.byLink.get(link) ?? []) path.classList.add("chosen");
    for (const g of this.picture.querySelectorAll(`[data-rank="${rank}"]`)) g.classList.add("chosen");
    this.details.replaceChildren(...(rank >= 0 ? this.aboutRank(rank)
      : link >= 0 ? this.aboutLink(link, users) : this.hint()));
  }

  hint() {
    const words = "Point at a rank or a link, or press Tab and the arrow keys; click or Enter holds it.";
    return [make("p", { class: "hint" }, words)];
  }

  aboutRank(node) {
    const run = this.schedule;
    const where = `(${PLACE.coords(node).join(", ")})`;
    const title = make("p", {}, make("b", {}, `Rank ${run.rank(node)}`), ` at ${where}`);
    if (this.done || this.state.whole) return [title];
    const { src, dst, part, share } = run.messages(this.step);
    const rows = range(src.length).filter((i) =>
      (src[i] === node || dst[i] === node) && (this.state.part < 0 || part[i] === this.state.part));
    const mixed = run.steps[this.step].op.length > 1;
    const row = (i) => {
      const out = src[i] === node;
      const blocks = run.blocks(this.step, i);
      const hops = Math.max(...PLACE.ways(src[i], dst[i]).map(({ links }) => links.length));
      return make("li", { class: out ? "out" : "in" },
        `${out ? "sends to" : "receives from"} ${run.rank(out ? dst[i] : src[i])}: ` +
        bytesText(share[i] * DATA.nbytes) + (mixed ? ` to ${run.op(this.step, i)}` : "") +
        `, ${plural(hops, "hop")}` +
        (run.parts > 1 ? `, part ${part[i]}` : "") + (blocks ? `, ${blocksText(blocks)}` : ""));
    };
    rows.sort((a, b) => (src[b] === node) - (src[a] === node));
    return [title, rows.length ? make("ul", {}, ...rows.map(row)) : make("p", {}, "rests in this step")];
  }

  aboutLink(link, users) {
    const run = this.schedule;
    const { axis, way } = PLACE.links[link];
    const along = PLACE.graph ? "" : `, dimension ${axis}${way ? ` ${signed(way)}` : ""}`;
    const by = this.state.whole ? "all steps" : plural(users.length, "message");
    const title = make("p", {}, make("b", {}, `Link ${this.linkName(link)}`),
      `${along}${rateText(link)}: ${bytesText(this.load[link])} in ${by}`);
    if (!users.length) return [title];
    const { src, dst, part } = run.messages(this.step);
    const row = ({ i, bytes }) => make("li", { class: "out" },
      `${run.rank(src[i])} → ${run.rank(dst[i])}: ${bytesText(bytes)}` +
      (run.parts > 1 ? `, part ${part[i]}` : ""));
    return [title, make("ul", {}, ...users.slice(0, 40).map(row))];
  }

  linkName(link) {
    return PLACE.linkName(link, (v) => this.schedule.rank(v));
  }

  listen() {
    const { picture, app } = this;
    const found = (target) => {
      const owner = target.closest?.("[data-rank], [data-link]");
      if (!owner) return null;
      return "rank" in owner.dataset ? { kind: "rank", id: Number(owner.dataset.rank) }
        : { kind: "link", id: Number(owner.dataset.link) };
    };
    picture.addEventListener("pointerover", (event) => app.point(found(event.target)));
    picture.addEventListener("pointerleave", () => app.point(null));
    picture.addEventListener("click", (event) => app.hold(found(event.target)));
    picture.addEventListener("focusin", (event) => {
      app.point(found(event.target));
      event.target.setAttribute("aria-label", this.details.innerText);
    });
    picture.addEventListener("focusout", () => app.point(null));
    picture.addEventListener("keydown", (event) => this.key(event, found(event.target)));
  }

  /** Arrows go from rank to rank, L through the links that leave one, Enter holds, Escape lets go. */
  key(event, what) {
    if (!what || event.ctrlKey || event.metaKey || event.altKey) return;
    const focus = (target) => {
      if (!target) return;
      if ("rank" in target.dataset)
        for (const g of this.nodes) g.setAttribute("tabindex", g === target ? 0 : -1);
      target.focus();
    };
    const ranked = (node) => this.nodes.find((g) => Number(g.dataset.rank) === node);
    const here = what.kind === "rank" ? what.id : PLACE.links[what.id].tail;
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (way) focus(this.neighbour(here, way));
    else if (event.key === "Enter") this.app.hold(what);
    else if (event.key === "Escape") (this.app.hold(null), focus(ranked(here)));
    else if (event.key === "l" || event.key === "L") {
      const leaving = [...this.byLink.keys()].filter((link) => PLACE.links[link].tail === here);
      const before = what.kind === "link" ? leaving.indexOf(what.id) : -1;
      const next = leaving[(before + 1) % leaving.length];
      focus(this.picture.querySelector(`.hits [data-link="${next}"]`));
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** The nearest node in a direction. */
  neighbour(node, [u, v]) {
    const { nodes } = this.view;
    const from = nodes.find((other) => other.node === node)?.xy;
    if (!from) return null;
    let [best, least] = [-1, Infinity];
    nodes.forEach(({ xy }, i) => {
      const [dx, dy] = [xy[0] - from[0], xy[1] - from[1]];
      const ahead = dx * u + dy * v;
      const far = ahead > 1 ? ahead + 2.5 * Math.abs(dx * v - dy * u) : Infinity;
      if (far < least) [best, least] = [i, far];
    });
    return this.nodes[best];
  }
}

function blocksText(blocks) {
  const short = blocks.length > 70 ? `${blocks.slice(0, blocks.lastIndexOf(",", 70))}, …` : blocks;
  return `${/[–,]/.test(blocks) ? "blocks" : "block"} ${short}`;
}
