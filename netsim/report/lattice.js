// A network as a lattice: two dimensions across the page, and a slice beside the other for the rest.

const NEARER = 0.25; // of a cell, by which all that lies behind the edge of the window is moved to it
const STUB = 0.6; // of a cell, from a node to the end of a link that leads to another slice
const DIRECTIONS = [-45, -135, -68, -112, -22, -158]; // of such links, in degrees, by dimension
const FAN = [0, -20, 20, -10, 10, -30, 30]; // degrees to add for links to slices 1, 2, … hops away
const MOST = 128; // nodes in all slices together; of a larger network one slice is drawn

class Lattice {
  /** `from` is the coordinate at which the window of every axis begins. */
  constructor(place, from) {
    const { dims } = place;
    Object.assign(this, { place, dims, from });
    const active = Lattice.active(dims);
    this.shown = Lattice.shown(dims);
    this.across = active.slice(0, 2);
    this.beyond = active.slice(2);
    this.e = dims.map((_, j) => [[1, 0], [0, 1]][this.across.indexOf(j)] ?? [0, 0]);
    this.rows = dims.map((_, j) => (place.graph ? null : place.rows[j]));
    this.board = this.rows.map((row, j) => boardOf(row, dims[j]));
    this.measure();
    this.placeNodes();
    this.placeLinks();
  }

  /** The axes along which there is more than one node, the last one first. */
  static active(dims) {
    return range(dims.length).filter((j) => dims[j] > 1).reverse();
  }

  /** How many nodes of every axis are drawn. */
  static shown(dims) {
    const n = dims.map(() => 1);
    let total = 1;
    Lattice.active(dims).forEach((j, i) => {
      n[j] = i < 2 ? Math.min(dims[j], 16) : total * dims[j] <= MOST ? dims[j] : 1;
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
    // An arc that goes far out of a slice ends at its edge, short of the next slice.
    const most = this.several ? 1.3 : Infinity;
    return one(edge) + Math.sign(c - edge) * (Math.min(over, most) - NEARER);
  }

  /** The point of coordinates, drawn in a slice: what is in another slice lies aslant of it. */
  point(c, slice = c) {
    let [x, y] = this.corner(slice);
    for (const j of this.across) {
      const far = this.along(j, c[j]) * this.unit;
      x += far * this.e[j][0];
      y += far * this.e[j][1];
    }
    this.beyond.forEach((j, i) => {
      const [u, v] = this.stub(i, c[j] - slice[j]);
      [x, y] = [x + u, y + v];
    });
    return [x, y];
  }

  /** From a node to the end of a link that leads some slices on: along an axis, or (last) to a switch. */
  stub(i, hops) {
    if (!hops) return [0, 0];
    const degrees = DIRECTIONS[i % 6] + FAN[(Math.abs(hops) - 1) % FAN.length] + (hops < 0 ? 180 : 0);
    const angle = (degrees * Math.PI) / 180;
    return [Math.cos(angle), Math.sin(angle)].map((v) => v * STUB * this.unit);
  }

  /** The point of the first node of a slice. */
  corner(c) {
    const number = this.beyond.reduceRight((n, j) => n * this.shown[j] + c[j], 0);
    const { columns, cell, first } = this;
    return [first[0] + (number % columns) * cell[0], first[1] + Math.floor(number / columns) * cell[1]];
  }

  measure() {
    const count = product(this.beyond.map((j) => this.shown[j]));
    Object.assign(this, { unit: 1, columns: 1, cell: [0, 0], first: [0, 0], several: count > 1 });
    const corners = this.across.reduce((found, j) => found.flatMap((c) => {
      const open = this.linksLeave(j);
      return [open ? -1 : 0, open ? this.shown[j] : this.shown[j] - 1].map((x) => c.with(j, x));
    }), [this.dims.map(() => 0)]).map((c) => this.point(c));
    const [lo, hi] = [Math.min, Math.max].map((f) => [0, 1].map((k) => f(...corners.map((p) => p[k]))));
    // Room for half a node, the rails of switches, and arcs that bend out of the edge rows.
    const rail = this.rows.some((row) => row && row.ends.flat().some((v) => v >= row.d)) ? 0.5 : 0;
    const far = (axis) => Math.max(1, ...this.shown.filter((_, j) => this.e[j][axis] === 1));
    const open = (axis) => this.across.some((j) => this.e[j][axis] === 1 && this.linksLeave(j));
    const bow = (axis) => (open(axis) ? 0 : 0.17 * Math.sqrt(far(1 - axis)) - 0.08);
    const stub = this.beyond.length ? 0.34 : 0;
    const margin = [0, 1].map((axis) => 0.24 + Math.max(rail, stub, bow(axis)));
    const name = count > 1 ? 0.42 : 0;
    const [w, h] = [0, 1].map((k) => hi[k] - lo[k] + 2 * margin[k] + k * name);
    const unit = (columns) => Math.min(WIDTH / (w * columns), 150, WIDTH / (h * Math.ceil(count / columns)));
    this.columns = range(count).map((i) => i + 1).reduce((a, b) => (unit(b) > unit(a) ? b : a), 1);
    this.unit = this.pitch = unit(this.columns);
    this.cell = [w * this.unit, h * this.unit];
    const wide = this.columns * this.cell[0];
    this.width = Math.max(WIDTH, wide);
    this.height = Math.ceil(count / this.columns) * this.cell[1];
    const left = (this.width - wide) / 2;
    this.first = [left + (margin[0] - lo[0]) * this.unit, (name + margin[1] - lo[1]) * this.unit];
    // Arcs are hidden where there are many nodes, and leave room for larger ones.
    this.crowded = product(this.shown) >= CROWD;
    this.radius = Math.min(15, this.unit * (this.crowded ? 0.29 : 0.2));
    this.aside = Math.min(3.2, this.unit * 0.05);
    this.tip = Math.min(6, Math.max(2.5, this.unit * 0.1));
    this.clip = [left, 0, wide, this.height].map(round);
    this.nameSlices(count, margin[0] - lo[0], margin[1] - lo[1] + name);
  }

  /** A frame and the coordinates of each slice, if there are several. */
  nameSlices(count, left, top) {
    this.slices = range(count > 1 ? count : 0).map((number) => {
      const c = this.dims.map(() => 0);
      this.beyond.forEach((j) => {
        c[j] = number % this.shown[j];
        number = Math.floor(number / this.shown[j]);
      });
      const [x, y] = this.corner(c).map((v, k) => v - [left, top][k] * this.unit + 2);
      const [width, height] = this.cell.map((v) => v - 4);
      const words = `(${c.map((v, j) => (this.across.includes(j) ? "·" : v)).join(", ")})`;
      return { x, y, width, height, words };
    });
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
    if (!this.across.some((j) => this.board[j] < this.dims[j])) return;
    const seen = new Map();
    for (const { c, xy } of this.nodes) {
      const key = c.map((x, j) =>
        (this.across.includes(j) ? Math.floor((x + this.from[j]) / this.board[j]) : x)).join();
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
    const { place } = this;
    this.links = [];
    this.ghosts = [];
    this.drawn = new Set();
    const switches = new Switches(this);
    this.rails = switches.rails;
    place.links.forEach(({ tail, head, axis, way }, link) => {
      const draw = (d) => this.links.push({ link, d });
      if (tail >= place.size || head >= place.size) this.toSwitch(switches.feet, tail, head, draw);
      else if (place.graph || !way) this.anyLink(tail, head, draw);
      else this.ringLink(this.inside(tail), this.inside(head), { axis, way, tail, head }, draw);
    });
  }

  toSwitch(feet, tail, head, draw) {
    const foot = feet.get(Math.max(tail, head));
    const leaves = tail < this.place.size;
    const c = this.inside(leaves ? tail : head);
    if (!foot || !c) return;
    const [node, end] = [this.point(c), foot(c)];
    draw(leaves ? lane(node, end, this.radius, 0, this.aside) : lane(end, node, 0, this.radius, this.aside));
  }

  /** A link of a ring or a line: drawn twice if it leads out of the window or to another slice. */
  ringLink(a, b, { axis, way, tail, head }, draw) {
    const { radius, aside } = this;
    const within = (c) => this.across.includes(axis) && c[axis] >= 0 && c[axis] < this.shown[axis];
    if (a) {
      const c = a.with(axis, a[axis] + way);
      draw(lane(this.point(a), this.point(c, a), radius, within(c) ? radius : this.ghost(c, axis, head), aside));
    }
    if (!b) return;
    const c = b.with(axis, b[axis] - way);
    if (!within(c)) draw(lane(this.point(c, b), this.point(b), this.ghost(c, axis, tail), radius, aside));
  }

  /** Draws the node behind the edge, which a link to another slice has not; returns where lanes end. */
  ghost(c, axis, node) {
    if (!this.across.includes(axis)) return 0;
    if (!this.drawn.has(c.join())) this.ghosts.push({ node, xy: this.point(c) });
    this.drawn.add(c.join());
    return this.radius * GHOST;
  }

  /** Any other link: between neighbours straight, past others in a bow, to other slices in stubs. */
  anyLink(tail, head, draw) {
    const { radius, place, from } = this;
    const aside = 0.75 * this.aside; // stubs to several slices stand close
    const [a, b] = [this.inside(tail), this.inside(head)];
    const [x, y] = [tail, head].map((v) => place.coords(v).map((u, j) => u - from[j]));
    const other = (c, far) => c.map((v, j) => (this.beyond.includes(j) ? far[j] : v));
    if (this.beyond.every((j) => x[j] === y[j])) {
      if (a && b) draw(this.direct(a, b));
      return;
    }
    if (a) draw(lane(this.point(a), this.point(other(a, y), a), radius, 0, aside));
    if (b) draw(lane(this.point(other(b, x), b), this.point(b), 0, radius, aside));
  }

  /** A bow passes beside the nodes between its ends, and the longer one farther out. */
  direct(a, b) {
    const far = sum(a.map((x, j) => Math.abs(x - b[j])));
    const [p, q] = [this.point(a), this.point(b)];
    return far === 1 ? lane(p, q, this.radius, this.radius, this.aside)
      : arc(p, q, -0.07 - 0.44 / far, this.radius, this.radius);
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
      const drawn = a && comes?.every((x, j) => x === a[j]) && this.beyond.every((j) => !hops[j]);
      if (b && !drawn) found.push(this.curve(comes, b, share, false));
    }
    return found;
  }

  steps(src, dst) {
    const [x, y] = [src, dst].map((v) => this.place.coords(v));
    return x.map((v, j) => y[j] - v);
  }

  curve(a, b, share, leaves) {
    const [here, target] = leaves ? [a, b] : [b, a];
    const [p, q] = [a, b].map((c) => this.point(c, here));
    const far = Math.hypot(q[0] - p[0], q[1] - p[1]) / this.unit;
    const over = Math.max(0, ...this.across.map((j) => Math.max(-target[j], target[j] - this.shown[j] + 1)));
    const sliced = this.beyond.some((j) => a[j] !== b[j]);
    const bend = -0.26 / Math.sqrt(Math.max(far, 0.5)) - 0.02;
    const gap = over === 1 && !sliced ? this.radius * GHOST : over || sliced ? 0 : this.radius;
    const gaps = leaves ? [this.radius, gap + 4] : [gap, this.radius + 4];
    return { share, d: arc(p, q, bend, ...gaps), exact: !leaves || (over <= 1 && !sliced) };
  }
}
