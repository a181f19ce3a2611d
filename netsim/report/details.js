// What a rank or a link does in the step that is shown, in words.

const rateText = (link) => (PLACE.rates.has(link) ? `, ${figures(PLACE.rate(link))} Gb/s` : "");
const signed = (way) => ({ 1: "+", "-1": "−", 0: "" })[way];

/** A schedule in one of its steps, in all of them (`whole`), or after its end (`done`). */
class Details {
  constructor({ schedule, step, state, load, done, view }) {
    Object.assign(this, { run: schedule, step, part: state.part, load, view, whole: state.whole });
    this.rests = done || state.whole;
  }

  hint() {
    const arcs = this.view.crowded && !this.rests ? " A rank or a link shows the arcs of its messages." : "";
    const words = "Point at a rank or a link, or press Tab and the arrow keys; click or Enter holds it.";
    return [make("p", { class: "hint" }, words + arcs)];
  }

  ofRank(node) {
    const { run, step } = this;
    const where = `(${PLACE.coords(node).join(", ")})`;
    const title = make("p", {}, make("b", {}, `Rank ${run.rank(node)}`), ` at ${where}`);
    if (this.rests) return [title];
    const { src, dst, part } = run.messages(step);
    const rows = range(src.length).filter((i) =>
      (src[i] === node || dst[i] === node) && (this.part < 0 || part[i] === this.part));
    rows.sort((a, b) => (src[b] === node) - (src[a] === node));
    if (!rows.length) return [title, make("p", {}, "rests in this step")];
    return [title, make("ul", {}, ...rows.map((i) => this.message(i, src[i] === node)))];
  }

  message(i, leaves) {
    const { run, step } = this;
    const { src, dst, part, share } = run.messages(step);
    const blocks = run.blocks(step, i);
    const hops = Math.max(...PLACE.ways(src[i], dst[i]).map(({ links }) => links.length));
    return make("li", { class: leaves ? "out" : "in" },
      `${leaves ? "sends to" : "receives from"} ${run.rank(leaves ? dst[i] : src[i])}: ` +
      bytesText(share[i] * DATA.nbytes) +
      (run.steps[step].op.length > 1 ? ` to ${run.op(step, i)}` : "") + `, ${plural(hops, "hop")}` +
      (run.parts > 1 ? `, part ${part[i]}` : "") + (blocks ? `, ${blocksText(blocks)}` : ""));
  }

  /** `users` are the messages that pass the link, from `Run.users`. */
  ofLink(link, users) {
    const { run } = this;
    const { axis, way } = PLACE.links[link];
    const along = PLACE.graph ? "" : `, dimension ${axis}${way ? ` ${signed(way)}` : ""}`;
    const by = this.whole ? "all steps" : plural(users.length, "message");
    const bytes = this.load[link];
    const busy = bytes ? `, busy for ${secondsText(PLACE.seconds(link, bytes))}` : "";
    const title = make("p", {}, make("b", {}, `Link ${run.linkName(link)}`),
      `${along}${rateText(link)}: ${bytesText(bytes)} in ${by}${busy}`);
    if (!users.length) return [title];
    const { src, dst, part } = run.messages(this.step);
    const row = ({ i, bytes: on }) => make("li", { class: "out" },
      `${run.rank(src[i])} → ${run.rank(dst[i])}: ${bytesText(on)}` +
      (run.parts > 1 ? `, part ${part[i]}` : ""));
    return [title, make("ul", {}, ...users.slice(0, 40).map(row))];
  }
}

function blocksText(blocks) {
  const short = blocks.length > 70 ? `${blocks.slice(0, blocks.lastIndexOf(",", 70))}, …` : blocks;
  return `${/[–,]/.test(blocks) ? "blocks" : "block"} ${short}`;
}
