// Where everything is drawn: a ring as a circle, all else as the lattice of lattice.js.

const WIDTH = 640;
const GHOST = 0.72; // of a node: one of the opposite edge
const CROWD = 256; // nodes from which on only the arcs of what is pointed at are drawn
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
    this.crowded = false;
    this.pitch = (2 * Math.PI * this.R) / this.d; // from a node to the next
    this.radius = Math.min(15, this.pitch * 0.31);
    this.nodes = range(this.d).map((x) => ({ node: x, xy: this.xy(x) }));
    this.ghosts = this.boards = this.rails = this.slices = [];
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

function viewOf(place, from) {
  const active = range(place.dims.length).filter((j) => place.dims[j] > 1);
  const ring = !place.graph && active.length === 1 && place.rows[active[0]].wrap === true;
  return ring && place.size > 2 && place.size <= 128 ? new Circle(place) : new Lattice(place, from);
}
