// The schedules: the messages of their steps, and the bytes on links.

/** The first of the indices below n at which a value is largest, but for rounding. */
const firstLargest = (n, value) =>
  range(n).reduce((most, i) => (value(i) > value(most) * (1 + 1e-6) ? i : most), 0);

/** One schedule on the place. */
class Run {
  constructor(told, place) {
    Object.assign(this, told, { place });
    this.plain = told.name.replaceAll("_", " ");
    this.ports = DATA.runs.some(({ parts }) => parts > 1) ? plural(told.parts, "port") : "";
    this.tables = new Map();
    this.loads = new Map();
  }

  /** The longest time, in seconds, for which a link is busy in step s. */
  busy(s) {
    const { busiest, bytes } = this.steps[s];
    return busiest < 0 ? 0 : this.place.seconds(busiest, bytes);
  }

  /** The first of the steps in which a link is busy for longest. */
  get busiestStep() {
    return firstLargest(this.steps.length, (s) => this.busy(s));
  }

  rank(node) {
    return this.ranks ? this.ranks[node] : node;
  }

  linkName(link) {
    return this.place.linkName(link, (node) => this.rank(node));
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

const RUNS = DATA.runs.map((told) => new Run(told, PLACE));
// The label is the shortest name that no other schedule has.
RUNS.forEach((run, i) => {
  const names = ({ plain, variant, ports }) =>
    [[], [variant], [ports], [variant, ports]].map((more) => withMore(plain, ...more));
  const own = names(run).find((name, k) => RUNS.every((other) => other === run || names(other)[k] !== name));
  run.label = own ?? `${names(run).at(-1)} ${i + 1}`;
});

/** Whether a step of one schedule compares with the same step of the other: both have as many. */
const inStep = (runs) => new Set(runs.map((run) => run.steps.length)).size === 1;

/** The step in which the busiest links of two schedules differ most; of one, its busiest step. */
function tellingStep([a, b]) {
  return b ? firstLargest(a.steps.length, (s) => Math.abs(a.busy(s) - b.busy(s))) : a.busiestStep;
}
