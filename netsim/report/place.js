// The network: its links, the ways of messages over them, and how long bytes keep them busy.

const DATA = JSON.parse(document.getElementById("data").textContent);

const sum = (values) => values.reduce((a, b) => a + b, 0);
const product = (values) => values.reduce((a, b) => a * b, 1);
const range = (n) => Array.from({ length: n }, (_, i) => i);
const modulo = (x, d) => ((x % d) + d) % d;
const at = (values, i) => (Array.isArray(values) ? values[i] : values);

/** Links and ways. A grid has a row for each dimension; a graph is one row of all its nodes. */
class Place {
  constructor({ name, dims, rows, gbps, rates }) {
    Object.assign(this, { name, dims, rows, gbps, rates: new Map(rates) });
    this.size = product(dims);
    this.graph = rows.length !== dims.length || rows.some((row, j) => row.d !== dims[j]);
    this.axes = this.graph ? [this.size] : dims;
    this.strides = this.axes.map((_, j) => product(this.axes.slice(j + 1)));
    this.vertices = this.size;
    this.links = [];
    this.table = this.axes.map((d, j) => (node) => Math.floor(node / this.strides[j]) % d);
    this.first = rows.map((row, j) => this.join(row, j));
  }

  /** Adds the links of all rows along axis j; returns the number of the first. */
  join(row, j) {
    const first = this.links.length;
    const inner = this.strides[j];
    const switches = row.ends.reduce((n, [a, b]) => Math.max(n, a + 1, b + 1), row.d) - row.d;
    row.legs = new Map();
    if ("up" in row)
      row.out = [1, -1].map((way) => {
        const leaving = new Map(row.ends.map(([tail], i) => [`${tail},${row.way[i]}`, i]));
        return range(row.d).map((x) => leaving.get(`${x},${way}`));
      });
    for (let r = 0; r < this.size / row.d; r++) {
      const base = Math.floor(r / inner) * inner * row.d + (r % inner);
      const vertex = (v) => (v < row.d ? base + v * inner : this.vertices + v - row.d);
      row.ends.forEach(([tail, head], i) =>
        this.links.push({ tail: vertex(tail), head: vertex(head), axis: j, way: row.way[i] }));
      this.vertices += switches;
    }
    return first;
  }

  rate(link) {
    return this.rates.get(link) ?? this.gbps;
  }

  /** The links that are slower than most. */
  get slow() {
    return [...this.rates.keys()].filter((link) => this.rate(link) < this.gbps);
  }

  /** The seconds for which a link is busy with some bytes. */
  seconds(link, bytes) {
    return (8 * bytes) / (1e9 * this.rate(link));
  }

  /** The link that takes longest to carry its bytes, its seconds, and how many take as long. */
  busiest(bytes) {
    const busy = bytes.map((b, link) => this.seconds(link, b));
    const top = busy.reduce((a, b) => Math.max(a, b), 0);
    const others = busy.reduce((n, b) => n + (b >= top * (1 - 1e-9)), -1);
    return { link: top > 0 ? busy.indexOf(top) : -1, seconds: top, others };
  }

  linkName(link, rank) {
    const name = (v) => (v < this.size ? String(rank(v)) : `switch ${v - this.size}`);
    const { tail, head } = this.links[link];
    return `${name(tail)} → ${name(head)}`;
  }

  coords(node, dims = this.dims) {
    const x = Array(dims.length);
    for (let j = dims.length - 1; j >= 0; j--) {
      x[j] = node % dims[j];
      node = Math.floor(node / dims[j]);
    }
    return x;
  }

  node(coords) {
    return coords.reduce((n, x, j) => n * this.dims[j] + x, 0);
  }

  /** Adds the bytes of the messages that a line stands for: of one row, times all rows. */
  addLine(bytes, { dim, src, dst, sent, held, unit }, nbytes) {
    const row = this.rows[dim];
    const one = new Float64Array(row.ends.length);
    src.forEach((a, i) => {
      for (const leg of this.legs(dim, a, dst[i]))
        for (const link of leg.links) one[link] += leg.share * at(sent, i) * unit * nbytes;
    });
    const dims = this.dims.map((d, j) => (j === dim ? 1 : d));
    for (let r = 0; r < this.size / row.d; r++) {
      let [rest, times] = [r, 1];
      for (let j = dims.length - 1; j >= 0; j--) {
        if (j !== dim) times *= at(held[j], rest % dims[j]);
        rest = Math.floor(rest / dims[j]);
      }
      const base = this.first[dim] + r * one.length;
      if (times) for (let link = 0; link < one.length; link++) bytes[base + link] += times * one[link];
    }
  }

  /** Whether a message may come by the row of a link: axes before it done, those after not. */
  mayPass(src, dst, link) {
    const { axis, tail, head } = this.links[link];
    const on = Math.min(tail, head);
    return this.table.every((x, j) => j === axis || x(j < axis ? dst : src) === x(on));
  }

  legs(j, a, b) {
    const row = this.rows[j];
    const key = a * row.d + b;
    if (!row.legs.has(key)) row.legs.set(key, legs(row, a, b));
    return row.legs.get(key);
  }

  /** The ways of a message: its share on each, the links, and signed hops along every axis. */
  ways(src, dst) {
    const [x, y] = [this.coords(src, this.axes), this.coords(dst, this.axes)];
    let found = [{ share: 1, links: [], hops: this.axes.map(() => 0) }];
    this.rows.forEach((row, j) => {
      if (x[j] === y[j]) return;
      const corner = this.axes.map((_, i) => (i < j ? y[i] : i > j ? x[i] : 0));
      let r = 0;
      this.axes.forEach((d, i) => { if (i !== j) r = r * d + corner[i]; });
      const base = this.first[j] + r * row.ends.length;
      found = found.flatMap((way) => this.legs(j, x[j], y[j]).map((leg) => ({
        share: way.share * leg.share,
        links: way.links.concat(leg.links.map((link) => base + link)),
        hops: way.hops.map((h, i) => (i === j ? leg.hops : h)),
      })));
    });
    return found;
  }
}

/** The ways along one row: the shorter side of a ring, `up` of a tie; else as listed. */
function legs(row, a, b) {
  if (!("up" in row))
    return row.ways[`${a}-${b}`].map(([share, links]) => ({ share, links, hops: b - a }));
  const up = row.wrap ? modulo(b - a, row.d) : b - a;
  const down = up - row.d;
  if (!row.wrap) return [walk(row, a, up, 1)];
  if (2 * up !== row.d) return [walk(row, a, 2 * up < row.d ? up : down, 1)];
  return [walk(row, a, up, row.up[a]), walk(row, a, down, 1 - row.up[a])].filter((w) => w.share);
}

function walk(row, a, hops, share) {
  const way = Math.sign(hops);
  const links = range(Math.abs(hops)).map((i) =>
    row.out[way > 0 ? 0 : 1][row.wrap ? modulo(a + i * way, row.d) : a + i * way]);
  return { share, links, hops };
}

const PLACE = new Place(DATA.place);
