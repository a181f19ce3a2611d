// Where everything is drawn: a ring as a circle, all else as a window of the endless lattice.

const WIDTH = 640;
const BEYOND = 0.62; // of a cell, from the last node of the window to the one behind its edge
const round = (x) => Math.round(x * 100) / 100;

/** A curve from a to b that bends to its right, between the edges of circles around them. */
function arc(a, b, bend, gapA, gapB) {
  const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
  return bow(a, b, [(a[0] + b[0]) / 2 + dy * bend, (a[1] + b[1]) / 2 - dx * bend], gapA, gapB);
}

function bow(a, b, c, gapA, gapB) {
  const from = towards(a, c, gapA);
  const to = towards(b, c, gapB);
  return `M${from}Q${c.map(round)} ${to}`;
}

function towards([x, y], [u, v], gap) {
  const far = Math.hypot(u - x, v - y) || 1;
  const t = Math.min(gap / far, 0.9);
  return [round(x + (u - x) * t), round(y + (v - y) * t)];
}

/** A straight lane from a to b, on the right of the middle. */
function lane(a, b, gapA, gapB, aside) {
  const far = Math.hypot(b[0] - a[0], b[1] - a[1]) || 1;
  const [u, v] = [(b[0] - a[0]) / far, (b[1] - a[1]) / far];
  const from = [a[0] + u * gapA - v * aside, a[1] + v * gapA + u * aside];
  const to = [b[0] - u * gapB - v * aside, b[1] - v * gapB + u * aside];
  return `M${from.map(round)}L${to.map(round)}`;
}

class Circle {
  constructor(place) {
    this.place = place;
    this.axis = place.dims.findIndex((d) => d > 1);
    this.d = place.dims[this.axis];
    this.R = 268;
    this.width = this.height = WIDTH;
    this.tip = 6;
    this.radius = Math.min(15, (Math.PI * this.R / this.d) * 0.62);
    this.nodes = range(this.d).map((x) => ({ node: x, xy: this.xy(x) }));
    this.ghosts = this.boards = this.rails = [];
    this.links = place.links.map(({ tail, way }, link) => {
      const r = this.R + 3 * way;
      const gap = (this.radius + 2) / this.R;
      const [a, b] = [this.angle(tail) + way * gap, this.angle(tail + way) - way * gap];
      return { link, d: `M${this.polar(r, a)}A${r} ${r} 0 0 ${way > 0 ? 1 : 0} ${this.polar(r, b)}` };
    });
  }

  angle(x) {
    return (2 * Math.PI * x) / this.d - Math.PI / 2;
  }

  polar(r, angle) {
    return [round(WIDTH / 2 + r * Math.cos(angle)), round(WIDTH / 2 + r * Math.sin(angle))];
  }

  xy(x) {
    return this.polar(this.R, this.angle(x));
  }

  arcs(src, dst) {
    return this.place.ways(src, dst).map(({ share, hops }) => {
      const n = hops[this.axis];
      const middle = (this.angle(src) + this.angle(src + n)) / 2;
      const depth = Math.cos((Math.PI * n) / this.d) * 0.8 - (n > 0 ? 0.1 : 0.24);
      const inner = this.polar(this.R * depth, middle);
      return { share, d: bow(this.xy(src), this.xy(dst), inner, this.radius, this.radius + 5), exact: true };
    });
  }
}

/** Directions of the axes from the last one on: right, down, and slanting into the page. */
const SLANT = [[1, 0], [0, 1], [0.25, -0.18], [0.15, 0.2]];

class Lattice {
  /** `from` is the coordinate at which the window of every axis begins. */
  constructor(place, from) {
    const { dims } = place;
    Object.assign(this, { place, dims, from });
    const active = range(dims.length).filter((j) => dims[j] > 1).reverse();
    this.shown = Lattice.shown(dims);
    this.flat = active.every((j, i) => i < 2 || this.shown[j] === 1);
    this.e = dims.map(() => [0, 0]);
    active.forEach((j, i) => {
      const slanted = i < 2 ? 1 : [1, 2.1, 1.6, 1.25][this.shown[j]] ?? 1;
      this.e[j] = (SLANT[i] ?? [0.1 + 0.03 * i, -0.25]).map((v) => v * slanted);
    });
    this.inPlane = dims.map((_, j) => active.indexOf(j) >= 0 && active.indexOf(j) < 2);
    this.rows = dims.map((_, j) => (place.graph ? null : place.rows[j]));
    this.board = this.rows.map((row, j) => boardOf(row, dims[j]));
    this.measure();
    this.placeNodes();
    this.placeLinks();
  }

  /** How many nodes of every axis are drawn. */
  static shown(dims) {
    const active = range(dims.length).filter((j) => dims[j] > 1).reverse();
    const n = dims.map(() => 1);
    let total = 1;
    active.forEach((j, i) => {
      const most = active.length === 1 ? 16 : i < 2 ? 16 : total * dims[j] <= 128 && dims[j] <= 4 ? 4 : 1;
      n[j] = Math.min(dims[j], most);
      total *= n[j];
    });
    return n;
  }

  wraps(j) {
    return this.rows[j] ? this.rows[j].wrap === true : false;
  }

  /** Place along an axis of a coordinate of the window, in cells; boards stand apart. */
  along(j, c) {
    const n = this.shown[j];
    const board = (x) => Math.floor((this.from[j] + x) / this.board[j]);
    const one = (x) => x + 0.42 * (board(x) - board(0));
    if (c >= 0 && c < n) return one(c);
    const [edge, over] = c < 0 ? [0, -c] : [n - 1, c - n + 1];
    const far = this.inPlane[j] ? Math.max(BEYOND, over) : BEYOND + 0.3 * (over - 1);
    return one(edge) + Math.sign(c - edge) * far;
  }

  point(c) {
    let [x, y] = this.origin;
    c.forEach((cj, j) => {
      const far = this.along(j, cj) * this.unit;
      x += far * this.e[j][0];
      y += far * this.e[j][1];
    });
    return [x, y];
  }

  measure() {
    this.unit = 1;
    this.origin = [0, 0];
    const corners = this.dims.reduce((found, _, j) => found.flatMap((c) => {
      const open = this.linksLeave(j);
      return [open ? -1 : 0, open ? this.shown[j] : this.shown[j] - 1].map((x) => [...c, x]);
    }), [[]]).map((c) => this.point(c));
    const [lo, hi] = [Math.min, Math.max].map((f) => [0, 1].map((k) => f(...corners.map((p) => p[k]))));
    // Room for half a node, the rails of switches, and arcs that bend out of the edge rows.
    const rail = this.rows.some((row) => row && row.ends.flat().some((v) => v >= row.d)) ? 0.5 : 0;
    const far = (axis) => Math.max(1, ...this.shown.filter((_, j) => this.e[j][axis] === 1));
    const open = (axis) => this.dims.some((_, j) => this.e[j][axis] === 1 && this.linksLeave(j));
    const bow = (axis) => (open(axis) ? 0 : 0.17 * Math.sqrt(far(1 - axis)) - 0.08);
    const margin = [0, 1].map((axis) => 0.24 + Math.max(rail, bow(axis)));
    const [w, h] = [0, 1].map((k) => hi[k] - lo[k] + 2 * margin[k]);
    this.unit = Math.min(WIDTH / w, 150, 640 / h);
    this.width = Math.max(WIDTH, w * this.unit);
    this.height = h * this.unit;
    this.origin = [(this.width - (hi[0] + lo[0]) * this.unit) / 2, (margin[1] - lo[1]) * this.unit];
    this.radius = Math.min(15, this.unit * (this.flat ? 0.2 : 0.1));
    this.aside = Math.min(3.2, this.unit * 0.05);
    this.tip = Math.min(6, Math.max(2.5, this.unit * 0.1));
    this.clip = [(this.width - w * this.unit) / 2, 0, w * this.unit, this.height].map(round);
  }

  /** Whether links lead out of the window along an axis. */
  linksLeave(j) {
    const all = this.shown[j] === this.dims[j];
    return this.rows[j]?.up !== undefined && this.dims[j] > 1 && (this.wraps(j) || !all);
  }

  /** Coordinates in the window, counted from its corner; undefined if outside. */
  inside(node) {
    return this.seen.get(node);
  }

  /** The node at coordinates of the window, also behind its edges; -1 if there is none. */
  nodeAt(c) {
    const x = c.map((v, j) => v + this.from[j]);
    if (x.some((v, j) => !this.wraps(j) && (v < 0 || v >= this.dims[j]))) return -1;
    return this.place.node(x.map((v, j) => modulo(v, this.dims[j])));
  }

  placeNodes() {
    const cells = this.shown.reduce((found, n) => found.flatMap((c) => range(n).map((x) => [...c, x])), [[]]);
    this.nodes = cells.map((c) => ({ node: this.nodeAt(c), c, xy: this.point(c) }))
      .filter(({ node }) => node >= 0);
    this.seen = new Map(this.nodes.map(({ node, c }) => [node, c]));
    this.boards = [];
    const active = range(this.dims.length).filter((j) => this.dims[j] > 1);
    if (!this.board.some((b, j) => b < this.dims[j]) || active.length > 2) return;
    const seen = new Map();
    for (const { c, xy } of this.nodes) {
      const key = c.map((x, j) => Math.floor((x + this.from[j]) / this.board[j])).join();
      seen.set(key, [...(seen.get(key) ?? []), xy]);
    }
    for (const points of seen.values()) {
      const [xs, ys] = [0, 1].map((k) => points.map((p) => p[k]));
      const pad = 0.27 * this.unit;
      const [x, y] = [Math.min(...xs) - pad, Math.min(...ys) - pad];
      const [width, height] = [Math.max(...xs) + pad - x, Math.max(...ys) + pad - y];
      this.boards.push({ x, y, width, height });
    }
  }

  placeLinks() {
    const { place, radius } = this;
    this.links = [];
    this.ghosts = [];
    const ghosts = new Set();
    // Draws the node behind the edge; returns where lanes end.
    const ghost = (c, node) => {
      if (this.sliced(c)) return 0;
      if (!ghosts.has(c.join())) this.ghosts.push({ node, xy: this.point(c) });
      ghosts.add(c.join());
      return radius * 0.72;
    };
    this.switches = this.placeSwitches();
    place.links.forEach(({ tail, head, axis, way }, link) => {
      const [a, b] = [tail, head].map((v) => (v < place.size ? this.inside(v) : null));
      if (tail >= place.size || head >= place.size) {
        const hub = this.switches.get(Math.max(tail, head));
        const c = a ?? b;
        if (!hub || !c) return;
        const node = this.point(c);
        const end = hub.line ? hub.foot(c) : hub.xy;
        const d = a ? lane(node, end, radius, 0, this.aside) : lane(end, node, 0, radius, this.aside);
        this.links.push({ link, d });
        return;
      }
      if (place.graph || !way) {
        if (a && b) this.links.push({ link, d: this.direct(a, b) });
        return;
      }
      if (a) {
        const c = a.with(axis, a[axis] + way);
        const out = c[axis] < 0 || c[axis] >= this.shown[axis];
        const gap = out ? ghost(c, head) : radius;
        this.links.push({ link, d: lane(this.point(a), this.point(c), radius, gap, this.aside) });
      }
      if (b) {
        const c = b.with(axis, b[axis] - way);
        if (c[axis] >= 0 && c[axis] < this.shown[axis]) return;
        const gap = ghost(c, tail);
        this.links.push({ link, d: lane(this.point(c), this.point(b), gap, radius, this.aside) });
      }
    });
  }

  /** Whether coordinates are out of the slice that is drawn: a stub will do, without a node. */
  sliced(c) {
    return c.some((x, j) => !this.inPlane[j] && this.shown[j] === 1 && x !== 0);
  }

  /** Between neighbours straight, past others in a bow. */
  direct(a, b) {
    const far = sum(a.map((x, j) => Math.abs(x - b[j])));
    const [p, q] = [this.point(a), this.point(b)];
    return far === 1 ? lane(p, q, this.radius, this.radius, this.aside)
      : arc(p, q, -0.1 - 0.05 / far, this.radius, this.radius);
  }

  /** Switches that serve one row are rails beside it; any other is a point amid its nodes. */
  placeSwitches() {
    const near = new Map();
    for (const { tail, head } of this.place.links) {
      const [hub, node] = tail > head ? [tail, head] : [head, tail];
      if (hub < this.place.size || node >= this.place.size) continue;
      if (!near.has(hub)) near.set(hub, []);
      const c = this.inside(node);
      if (c) near.get(hub).push(c);
    }
    const found = new Map();
    this.rails = [];
    for (const [hub, cells] of near) {
      if (!cells.length) continue;
      const apart = this.dims.map((_, j) => j).filter((j) => cells.some((c) => c[j] !== cells[0][j]));
      if (apart.length > 1) {
        const points = cells.map((c) => this.point(c));
        const xy = [0, 1].map((k) => sum(points.map((p) => p[k])) / points.length + 0.3 * this.unit);
        found.set(hub, { xy });
        this.rails.push({ hub, d: `M${xy.map(round)}h0.01`, point: true });
        continue;
      }
      const axis = apart[0] ?? this.axisOf(hub);
      const foot = (c) => this.beside(axis, c);
      const order = cells.map((c) => c[axis]);
      const [lo, hi] = [Math.min(...order), Math.max(...order)].map((x) => foot(cells[0].with(axis, x)));
      const e = this.e[axis].map((v) => v * 0.3 * this.unit);
      found.set(hub, { line: true, foot });
      const [from, to] = [[lo[0] - e[0], lo[1] - e[1]], [hi[0] + e[0], hi[1] + e[1]]];
      this.rails.push({ hub, d: `M${from.map(round)}L${to.map(round)}` });
    }
    return found;
  }

  axisOf(hub) {
    return this.place.links.find(({ tail, head }) => tail === hub || head === hub).axis;
  }

  /** The point beside a node where the rail of its row along an axis passes: outside its board. */
  beside(axis, c) {
    const other = range(this.dims.length).reverse().find((j) => j !== axis && this.dims[j] > 1);
    const [x, y] = this.point(c);
    const among = (j) => modulo(c[j] + this.from[j], this.board[j]);
    const first = other === undefined || 2 * among(other) < this.board[other];
    const far = (first ? -0.44 : 0.44) * this.unit;
    return Math.abs(this.e[axis][0]) >= Math.abs(this.e[axis][1]) ? [x, y + far] : [x + far, y];
  }

  /** The curves of a message: a way that leaves the window comes in again at the other side. */
  arcs(src, dst) {
    const [a, b] = [this.inside(src), this.inside(dst)];
    if (!a && !b) return [];
    const found = [];
    const ways = this.place.graph || this.rows.every((row) => !row?.up)
      ? [{ share: 1, hops: this.steps(src, dst) }] : this.place.ways(src, dst);
    for (const { share, hops } of ways) {
      if (a) found.push(this.curve(a, a.map((x, j) => x + hops[j]), share, true));
      const comes = b?.map((x, j) => x - hops[j]);
      if (b && !(a && comes.every((x, j) => x === a[j]))) found.push(this.curve(comes, b, share, false));
    }
    return found;
  }

  steps(src, dst) {
    const [x, y] = [src, dst].map((v) => this.place.coords(v));
    return x.map((v, j) => y[j] - v);
  }

  curve(a, b, share, leaves) {
    const [p, q] = [this.point(a), this.point(b)];
    const far = Math.hypot(q[0] - p[0], q[1] - p[1]) / this.unit;
    const target = leaves ? b : a;
    const over = Math.max(...target.map((x, j) => Math.max(-x, x - this.shown[j] + 1, 0)));
    const bend = (-0.26 / Math.sqrt(Math.max(far, 0.5)) - 0.02) * (this.flat ? 1 : 0.6);
    const gap = over === 1 && !this.sliced(target) ? this.radius * 0.72 : over ? 0 : this.radius;
    const gaps = leaves ? [this.radius, gap + 4] : [gap, this.radius + 4];
    return { share, d: arc(p, q, bend, ...gaps), exact: !leaves || over <= 1 };
  }
}

/** Nodes of a board: those joined by links of their own where others go through switches. */
function boardOf(row, d) {
  if (!row || !row.ends.some(([tail]) => tail >= row.d)) return d;
  const near = new Set(row.ends.map(([tail, head]) => `${tail},${head}`));
  return range(d).find((x) => x > 0 && !near.has(`${x - 1},${x}`)) ?? d;
}

function viewOf(place, from) {
  const active = range(place.dims.length).filter((j) => place.dims[j] > 1);
  const ring = !place.graph && active.length === 1 && place.rows[active[0]].wrap === true;
  return ring && place.size > 2 && place.size <= 128 ? new Circle(place) : new Lattice(place, from);
}
