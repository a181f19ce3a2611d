// Where the switches of a lattice are drawn, and where the links to them end.

class Switches {
  /** `feet` tells for each switch where the link of a node ends, from the node's coordinates. */
  constructor(lattice) {
    Object.assign(this, { lattice, feet: new Map(), rails: [] });
    for (const [hub, cells] of this.served()) if (cells.length) this.feet.set(hub, this.foot(hub, cells));
  }

  /** For each switch the coordinates of its nodes that are drawn. */
  served() {
    const { place } = this.lattice;
    const found = new Map();
    for (const { tail, head } of place.links) {
      const [hub, node] = tail > head ? [tail, head] : [head, tail];
      if (hub < place.size || node >= place.size) continue;
      if (!found.has(hub)) found.set(hub, []);
      const c = this.lattice.inside(node);
      if (c) found.get(hub).push(c);
    }
    return found;
  }

  /** A switch of one row is a rail beside it; one of several slices is not drawn. */
  foot(hub, cells) {
    const { lattice } = this;
    const apart = range(lattice.dims.length).filter((j) => cells.some((c) => c[j] !== cells[0][j]));
    const [axis] = apart.length ? apart : [this.axisOf(hub)];
    if (lattice.beyond.some((j) => apart.includes(j) || j === axis)) {
      const stub = lattice.stub(lattice.beyond.length, 1);
      return (c) => lattice.point(c).map((v, k) => v + stub[k]);
    }
    return apart.length > 1 ? this.amid(cells) : this.rail(axis, cells);
  }

  axisOf(hub) {
    return this.lattice.place.links.find(({ tail, head }) => tail === hub || head === hub).axis;
  }

  /** A switch amid its nodes. */
  amid(cells) {
    const points = cells.map((c) => this.lattice.point(c));
    const middle = [0, 1].map((k) => sum(points.map((p) => p[k])) / points.length);
    const xy = middle.map((v) => v + 0.3 * this.lattice.unit);
    this.rails.push({ d: `M${xy.map(round)}h0.01`, point: true });
    return () => xy;
  }

  rail(axis, cells) {
    const { e, unit } = this.lattice;
    const foot = (c) => this.beside(axis, c);
    const order = cells.map((c) => c[axis]);
    const ends = [Math.min(...order), Math.max(...order)].map((x) => foot(cells[0].with(axis, x)));
    const [from, to] = ends.map((p, i) => p.map((v, k) => round(v + (i - 0.5) * 0.6 * unit * e[axis][k])));
    this.rails.push({ d: `M${from}L${to}` });
    return foot;
  }

  /** The point beside a node where the rail of its row along an axis passes: outside its board. */
  beside(axis, c) {
    const { across, board, from, unit, e } = this.lattice;
    const other = across.find((j) => j !== axis);
    const [x, y] = this.lattice.point(c);
    const among = (j) => modulo(c[j] + from[j], board[j]);
    const first = other === undefined || 2 * among(other) < board[other];
    const far = (first ? -0.44 : 0.44) * unit;
    return e[axis][0] ? [x, y + far] : [x + far, y];
  }
}

/** Nodes of a board: those joined by links of their own where others go through switches. */
function boardOf(row, d) {
  if (!row || !row.ends.some(([tail]) => tail >= row.d)) return d;
  const near = new Set(row.ends.map(([tail, head]) => `${tail},${head}`));
  return range(d).find((x) => x > 0 && !near.has(`${x - 1},${x}`)) ?? d;
}
