// The picture of a network: links by the time they are busy, messages as arcs, ranks by number.

const BINS = 12;
const LEAST_LABEL = 9; // pixels of the smallest figures; where they do not fit there are none
const FEW = 12; // slow links whose rates stand beside them

class Picture {
  constructor(number) {
    this.number = number;
    this.root = make("svg:svg", { role: "group", class: "torus" });
  }

  /** Draws what does not change from step to step. */
  draw(view, run) {
    const { root, number } = this;
    Object.assign(this, { view, bins: [] });
    root.setAttribute("viewBox", `0 0 ${Math.ceil(view.width)} ${Math.ceil(view.height)}`);
    root.classList.toggle("crowded", view.crowded);
    const layer = (name, ...children) => make("svg:g", { class: name }, ...children);
    const paths = (links, more = {}) => links.map(({ d, link }) =>
      make("svg:path", { d, "data-link": link, ...more }));
    this.lines = paths(view.links);
    this.byLink = new Map();
    this.lines.forEach((path, i) => {
      const { link } = view.links[i];
      this.byLink.set(link, [...(this.byLink.get(link) ?? []), path]);
    });
    const circles = (nodes, r, kind) => nodes.map(({ node, xy: [cx, cy] }) =>
      make("svg:g", { class: kind, "data-rank": node },
        make("svg:circle", { cx: round(cx), cy: round(cy), r: round(r) }),
        make("svg:text", { x: round(cx), y: round(cy) }, String(run.rank(node)))));
    this.nodes = circles(view.nodes, view.radius, "node");
    this.nodes.forEach((g, i) => {
      g.setAttribute("tabindex", i ? -1 : 0);
      g.setAttribute("role", "img");
      g.setAttribute("aria-label", `Rank ${g.textContent}`);
    });
    const ghosts = circles(view.ghosts, view.radius * GHOST, "ghost");
    const names = view.slices.map(({ x, y, words }) => make("svg:text", { x: round(x + 8), y: round(y + 12) }, words));
    const slow = new Set(PLACE.slow);
    this.arcs = layer("arcs");
    this.arcs.setAttribute("clip-path", `url(#clip${number})`);
    const rates = layer("rates");
    root.replaceChildren(this.defs(),
      layer("slices", ...view.slices.map(({ words, ...box }) => make("svg:rect", { ...box, rx: 8 })), ...names),
      layer("boards", ...view.boards.map((box) => make("svg:rect", { ...box, rx: 10 }))),
      layer("rails", ...view.rails.map(({ d, point }) =>
        make("svg:path", { d, class: point ? "point" : "rail" }))),
      layer("slow", ...paths(view.links.filter(({ link }) => slow.has(link)))),
      layer("links", ...this.lines), layer("hits", ...paths(view.links, { tabindex: -1 })), this.arcs,
      layer("ghosts", ...ghosts), layer("nodes", ...this.nodes), rates);
    if (slow.size <= FEW) rates.append(...[...slow].flatMap((link) => this.rateBeside(link)));
    const texts = (groups) => groups.map((g) => g.lastChild);
    this.labels = { nodes: texts(this.nodes), ghosts: texts(ghosts), names, rates: [...rates.children] };
    this.fit();
  }

  defs() {
    const { view, number } = this;
    const mark = (id) => make("svg:marker", { id: `${id}${number}`, class: id, viewBox: "0 0 8 8", refX: 1,
      refY: 4, markerWidth: view.tip, markerHeight: view.tip, markerUnits: "userSpaceOnUse", orient: "auto" },
      make("svg:path", { d: "M0 0.5L7.5 4L0 7.5Z" }));
    const [x, y, width, height] = view.clip ?? [0, 0, view.width, view.height];
    return make("svg:defs", {}, ...["tip", "tip-out", "tip-in"].map(mark),
      make("svg:clipPath", { id: `clip${number}` }, make("svg:rect", { x, y, width, height })));
  }

  /** The rate of a link, to the right of its lane. */
  rateBeside(link) {
    return (this.byLink.get(link) ?? []).slice(0, 1).map((path) => {
      const length = path.getTotalLength();
      const [p, q, r] = [0, 0.5, 1].map((part) => path.getPointAtLength(part * length));
      const [right, down] = [(p.y - r.y) / length, (r.x - p.x) / length];
      return make("svg:text", { x: round(q.x + 8 * right), y: round(q.y + 13 * down),
        class: right > 0.5 ? "after" : right < -0.5 ? "before" : "" }, `${figures(PLACE.rate(link))} Gb/s`);
    });
  }

  /** Sets figures as large as the circles allow, and hides those that would be too small to read. */
  fit() {
    if (!this.view) return;
    const { radius, pitch, width } = this.view;
    const least = (LEAST_LABEL * width) / (this.root.getBoundingClientRect().width || width);
    const set = (texts, wanted, room) => {
      const longest = Math.max(1, ...texts.map((text) => text.textContent.length));
      const size = Math.min(Math.max(wanted, least), room(longest));
      for (const text of texts) {
        text.setAttribute("font-size", round(size));
        text.classList.toggle("hidden", size < least - 1e-9);
      }
    };
    const { nodes, ghosts, names, rates } = this.labels;
    // Half of n figures is 0.31 n wide and 0.36 high, for a size of 1.
    const inCircle = (r) => (n) => r / Math.hypot(0.31 * n, 0.36);
    set(nodes, radius * 0.92, inCircle(radius));
    set(ghosts, radius * GHOST * 0.92, inCircle(radius * GHOST));
    set(names, 13, () => Infinity);
    set(rates, 11, (n) => (1.1 * pitch) / (0.62 * n));
  }

  /** Colours links by the time that they are busy with `load`, relative to `top` seconds. */
  colour(load, top) {
    const { links, pitch } = this.view;
    const thick = Math.min(3.6, pitch * 0.05);
    this.lines.forEach((line, i) => {
      const busy = PLACE.seconds(links[i].link, load[links[i].link]);
      const bin = busy > 0 ? Math.max(1, Math.ceil((BINS * busy) / top - 1e-9)) : 0;
      if (this.bins[i] === bin) return;
      this.bins[i] = bin;
      line.setAttribute("class", `link q${bin}`);
      line.setAttribute("stroke-width", round(thick * (bin ? 0.5 + (0.9 * bin) / BINS : 0.35)));
    });
  }

  /** Draws the messages of a step, of one part or (-1) of all. */
  drawArcs({ src, dst, part: parts }, part) {
    const made = [];
    for (let i = 0; i < src.length; i++) {
      if (part >= 0 && parts[i] !== part) continue;
      for (const { d, share, exact } of this.view.arcs(src[i], dst[i]))
        made.push(make("svg:path", { d, "data-i": i, class: share < 1 ? "arc partly" : "arc", pathLength: 1,
          ...(exact ? { "marker-end": `url(#tip${this.number})` } : {}) }));
    }
    this.arcs.setAttribute("class", made.length > 700 ? "arcs many" : "arcs");
    this.arcs.replaceChildren(...made);
  }

  /** Marks a rank and a link (-1 for none); `kind` tells of a message whether it is "out" or "in". */
  mark(rank, link, kind) {
    this.root.classList.toggle("selecting", rank >= 0 || link >= 0);
    for (const path of this.arcs.children) {
      const is = kind(Number(path.dataset.i));
      path.classList.toggle("out", is === "out");
      path.classList.toggle("in", is === "in");
      if (path.hasAttribute("marker-end"))
        path.setAttribute("marker-end", `url(#tip${is && `-${is}`}${this.number})`);
    }
    for (const shown of this.root.querySelectorAll(".chosen")) shown.classList.remove("chosen");
    for (const path of this.byLink.get(link) ?? []) path.classList.add("chosen");
    for (const g of this.root.querySelectorAll(`[data-rank="${rank}"]`)) g.classList.add("chosen");
  }

  /** The drawn node that is nearest to another in a direction. */
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
