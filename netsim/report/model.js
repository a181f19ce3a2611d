"use strict";
// What the data says: links of the place, messages of a step, the ways they take, bytes on links.

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

  /** The link that takes longest to carry its bytes, and how many others take as long. */
  busiest(bytes) {
    const busy = bytes.map((b, link) => b / this.rate(link));
    const top = busy.reduce((a, b) => Math.max(a, b), 0);
    const others = busy.reduce((n, b) => n + (b >= top * (1 - 1e-9)), -1);
    return { link: top > 0 ? busy.indexOf(top) : -1, others };
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

/** One schedule on the place. */
class Run {
  constructor(told, place) {
    Object.assign(this, told, { place });
    const more = [told.variant, told.parts > 1 ? `${told.parts} ports` : ""].filter(Boolean).join(", ");
    this.label = told.name.replaceAll("_", " ") + (more ? ` (${more})` : "");
    this.tables = new Map();
    this.loads = new Map();
  }

  rank(node) {
    return this.ranks ? this.ranks[node] : node;
  }

  /** The messages of a step between nodes: columns src, dst, part, share of the vector. */
  messages(s) {
    const number = this.steps[s].pattern;
    if (!this.tables.has(number)) {
      const pattern = this.patterns[number];
      const table = pattern.lines ? expand(pattern.lines, this.place.dims) : {
        src: pattern.src,
        dst: pattern.dst,
        part: pattern.src.map((_, i) => at(pattern.part, i)),
        share: pattern.src.map((_, i) => at(pattern.share, i)),
      };
      if (this.tables.size > 40) this.tables.clear();
      this.tables.set(number, table);
    }
    return this.tables.get(number);
  }

  op(s, i) {
    const ops = this.steps[s].op;
    return (ops.length === 1 ? ops : ops[i]) === "+" ? "reduce" : "copy";
  }

  blocks(s, i) {
    const step = this.steps[s];
    step.spelt ??= step.blocks?.split(";");
    return step.spelt?.[i]?.replaceAll("-", "–").replaceAll(",", ", ");
  }

  /** Bytes on every link in a step, of one part or (-1) of all. */
  load(s, part) {
    const key = `${this.steps[s].pattern}/${part}`;
    if (!this.loads.has(key)) {
      if (this.loads.size > 200) this.loads.clear();
      const bytes = new Float64Array(this.place.links.length);
      const lines = this.place.graph ? null : this.patterns[this.steps[s].pattern].lines;
      for (const line of lines ?? [])
        if (part < 0 || line.part === part) this.place.addLine(bytes, line, DATA.nbytes);
      if (!lines) this.addMessages(bytes, s, part);
      this.loads.set(key, bytes);
    }
    return this.loads.get(key);
  }

  addMessages(bytes, s, part) {
    const { src, dst, part: parts, share } = this.messages(s);
    for (let i = 0; i < src.length; i++) {
      if (part >= 0 && parts[i] !== part) continue;
      for (const way of this.place.ways(src[i], dst[i]))
        for (const link of way.links) bytes[link] += way.share * share[i] * DATA.nbytes;
    }
  }

  /** Bytes on every link in all steps. */
  whole(part) {
    const key = `all/${part}`;
    if (!this.loads.has(key)) {
      const times = new Map();
      this.steps.forEach(({ pattern }, s) =>
        times.set(pattern, [s, 1 + (times.get(pattern)?.[1] ?? 0)]));
      const bytes = new Float64Array(this.place.links.length);
      for (const [s, n] of times.values())
        this.load(s, part).forEach((b, link) => { bytes[link] += n * b; });
      this.loads.set(key, bytes);
    }
    return this.loads.get(key);
  }

  /** The rows of the messages of a step that pass a link, with what each puts on it. */
  users(s, part, link) {
    const { src, dst, part: parts, share } = this.messages(s);
    const found = [];
    for (let i = 0; i < src.length; i++) {
      if ((part >= 0 && parts[i] !== part) || !this.place.mayPass(src[i], dst[i], link)) continue;
      const on = sum(this.place.ways(src[i], dst[i])
        .map((way) => (way.links.includes(link) ? way.share : 0)));
      if (on) found.push({ i, bytes: on * share[i] * DATA.nbytes });
    }
    return found;
  }

  /** Whether the sums of a step, made here from its messages, are those of the simulator. */
  agrees(s) {
    const { busiest, bytes } = this.steps[s];
    return busiest < 0 || Math.abs(this.load(s, -1)[busiest] - bytes) <= 1e-9 * DATA.nbytes;
  }
}

/** The messages that lines stand for, in the order of the schedule's own table. */
function expand(lines, dims) {
  const strides = dims.map((_, j) => product(dims.slice(j + 1)));
  const shapes = lines.map(({ dim, src }) => dims.map((d, j) => (j === dim ? src.length : d)));
  const most = sum(shapes.map(product));
  const [src, dst, part] = range(3).map(() => new Int32Array(most));
  const share = new Float64Array(most);
  let n = 0;
  lines.forEach((line, k) => {
    const { dim, sent, held } = line;
    const x = dims.map(() => 0);
    for (let left = product(shapes[k]); left > 0; left--) {
      let [from, to, count] = [0, 0, at(sent, x[dim])];
      for (let j = 0; j < dims.length; j++) {
        from += strides[j] * (j === dim ? line.src[x[j]] : x[j]);
        to += strides[j] * (j === dim ? line.dst[x[j]] : x[j]);
        if (j !== dim) count *= at(held[j], x[j]);
      }
      if (count) {
        [src[n], dst[n], part[n], share[n]] = [from, to, line.part, count * line.unit];
        n++;
      }
      for (let j = dims.length - 1; j >= 0 && ++x[j] === shapes[k][j]; j--) x[j] = 0;
    }
  });
  return { src: src.slice(0, n), dst: dst.slice(0, n), part: part.slice(0, n), share: share.slice(0, n) };
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

/** 1536 → "1.5 KiB"; three figures, as many as are not 0. */
function bytesText(n) {
  let unit = 0;
  while (n >= 1024 && unit < UNITS.length - 1) {
    n /= 1024;
    unit++;
  }
  return `${figures(n)} ${UNITS[unit]}`;
}

function secondsText(t) {
  const [scale, unit] = t >= 1 ? [1, "s"] : t >= 1e-3 ? [1e3, "ms"]
    : t > 0 && t < 1e-6 ? [1e9, "ns"] : [1e6, "µs"];
  return `${figures(t * scale)} ${unit}`;
}

/** "An all-to-all", "A reduce-scatter"; without a name if the schedules have different ones. */
function collectiveText(runs) {
  const names = new Set(runs.map((run) => run.collective));
  const [first] = names;
  if (names.size > 1) return "A vector";
  if (first === "traffic") return "Traffic";
  const name = first === "alltoall" ? "all-to-all" : first.replaceAll("_", "-");
  return `${/^[aeiou]/.test(name) ? "An" : "A"} ${name}`;
}

function figures(x) {
  return x >= 100 ? String(Math.round(x)) : String(Number(x.toPrecision(3)));
}

const PLACE = new Place(DATA.place);
const RUNS = DATA.runs.map((told) => new Run(told, PLACE));
