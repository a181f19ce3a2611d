// One schedule on the place: its picture, the step in words, and what is pointed at.

class Panel {
  constructor(root, number, app) {
    Object.assign(this, { root, number, app });
    this.choice = make("select", { "aria-label": `Schedule of panel ${number + 1}` },
      ...RUNS.map((run, i) => make("option", { value: i }, run.label)));
    this.choice.value = String(this.run = Math.min(number, RUNS.length - 1));
    this.choice.addEventListener("change", () => app.choose(number, Number(this.choice.value)));
    this.name = make("b", { class: "name" }); // a menu would cut it on a phone, and so lies over it unseen
    this.more = make("span", { class: "more" });
    this.time = make("span", { class: "time" });
    this.facts = make("p", { class: "facts" });
    this.busiest = make("p", { class: "facts busiest" });
    this.details = make("div", { class: "details" });
    this.picture = new Picture(number);
    const key = make("span", { class: `key key${number}` });
    root.append(make("div", { class: "heading" }, key, make("span", { class: "choice" }, this.name, this.choice)),
      make("p", { class: "facts about" }, this.more, this.time), this.facts, this.busiest, this.picture.root, this.details);
    this.listen();
  }

  get schedule() {
    return RUNS[this.run];
  }

  /** Draws what does not change from step to step. */
  draw(view) {
    const { label, variant, ports } = this.schedule;
    this.view = view;
    this.name.textContent = label;
    this.more.textContent = [variant, ports].filter((word) => word && !label.includes(word)).join(", ");
    this.picture.draw(view, this.schedule);
  }

  /** Draws a step; past the last one the schedule has ended. `top` is the end of the scale, in seconds. */
  show(state, top) {
    const { schedule: run } = this;
    this.state = state;
    this.step = Math.min(state.steps[this.number], run.steps.length);
    this.done = this.step >= run.steps.length;
    this.load = this.done && !state.whole ? new Float64Array(PLACE.links.length)
      : state.whole ? run.whole(state.part) : run.load(this.step, state.part);
    this.picture.colour(this.load, top);
    this.picture.drawArcs(this.messages, state.part);
    this.time.textContent = this.done ? `ended after ${secondsText(run.seconds)}`
      : `${secondsText(run.ends[this.step])} of ${secondsText(run.seconds)}`;
    this.tell();
    this.select();
  }

  /** The messages of the step that is shown; none of all steps together, and after the last one. */
  get messages() {
    return this.done || this.state.whole ? { src: [], dst: [], part: [], share: [] }
      : this.schedule.messages(this.step);
  }

  /** The step in two lines. */
  tell() {
    const { schedule: run, load } = this;
    this.facts.textContent = this.stepText();
    const { link, seconds, others } = PLACE.busiest(load);
    this.busiest.textContent = link < 0 ? "No link is busy."
      : `Busiest link ${run.linkName(link)}${rateText(link)}: ` +
        `${bytesText(load[link])}${this.senders(link)}, ${secondsText(seconds)}` +
        `${others ? `; ${plural(others, "other")} as long` : ""}.`;
    this.picture.root.setAttribute("aria-label",
      `${run.label} on ${PLACE.name}. ${this.facts.textContent} ${this.busiest.textContent}`);
  }

  stepText() {
    const { schedule: run, state } = this;
    if (state.whole) return `All ${plural(run.steps.length, "step")} together.`;
    if (this.done) return `Ended after ${plural(run.steps.length, "step")}.`;
    const { src, part, share } = this.messages;
    let [n, lo, hi] = [0, Infinity, 0];
    const ops = new Set();
    for (let i = 0; i < src.length; i++) {
      if (state.part >= 0 && part[i] !== state.part) continue;
      const size = share[i] * DATA.nbytes;
      [n, lo, hi] = [n + 1, Math.min(lo, size), Math.max(hi, size)];
      ops.add(run.op(this.step, i));
    }
    const sizes = hi - lo < 1e-6 * hi ? bytesText(hi) : `${bytesText(lo)} to ${bytesText(hi)}`;
    const each = n ? `${plural(n, "message")} of ${sizes}` : "no messages";
    return `Step ${this.step + 1} of ${run.steps.length}: ${[...ops].join(" and ") || "rest"}, ${each}.`;
  }

  senders(link) {
    if (this.state.whole) return "";
    return ` in ${plural(this.schedule.users(this.step, this.state.part, link).length, "message")}`;
  }

  /** Marks what is pointed at, here and in the other panel, and says what it does. */
  select() {
    const { selected } = this.state;
    const rank = selected?.kind === "rank" ? selected.id : -1;
    const link = selected?.kind === "link" ? selected.id : -1;
    const { src, dst } = this.messages;
    const users = link >= 0 && src.length ? this.schedule.users(this.step, this.state.part, link) : [];
    const using = new Set(users.map(({ i }) => i));
    this.picture.mark(rank, link, (i) => (src[i] === rank || using.has(i) ? "out" : dst[i] === rank ? "in" : ""));
    const details = new Details(this);
    this.details.replaceChildren(...(rank >= 0 ? details.ofRank(rank)
      : link >= 0 ? details.ofLink(link, users) : details.hint()));
  }

  listen() {
    const { app } = this;
    const { root } = this.picture;
    const found = (target) => {
      const owner = target.closest?.("[data-rank], [data-link]");
      if (!owner) return null;
      return "rank" in owner.dataset ? { kind: "rank", id: Number(owner.dataset.rank) }
        : { kind: "link", id: Number(owner.dataset.link) };
    };
    root.addEventListener("pointerover", (event) => app.point(found(event.target)));
    root.addEventListener("pointerleave", () => app.point(null));
    root.addEventListener("click", (event) => app.hold(found(event.target)));
    root.addEventListener("focusin", (event) => {
      app.point(found(event.target));
      // A link is an image only while it has the focus: a screen reader need not list them all.
      event.target.setAttribute("role", "img");
      event.target.setAttribute("aria-label", this.details.innerText);
    });
    root.addEventListener("focusout", () => app.point(null));
    root.addEventListener("keydown", (event) => this.key(event, found(event.target)));
  }

  /** Arrows go from rank to rank, L through the links that leave one, Enter holds, Escape lets go. */
  key(event, what) {
    if (!what || event.ctrlKey || event.metaKey || event.altKey) return;
    const { nodes, byLink, root } = this.picture;
    const focus = (target) => {
      if (!target) return;
      if ("rank" in target.dataset)
        for (const g of nodes) g.setAttribute("tabindex", g === target ? 0 : -1);
      target.focus();
    };
    const ranked = (node) => nodes.find((g) => Number(g.dataset.rank) === node);
    const here = what.kind === "rank" ? what.id : PLACE.links[what.id].tail;
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (way) focus(this.picture.neighbour(here, way));
    else if (event.key === "Enter") this.app.hold(what);
    else if (event.key === "Escape") (this.app.hold(null), focus(ranked(here)));
    else if (event.key === "l" || event.key === "L") {
      const leaving = [...byLink.keys()].filter((link) => PLACE.links[link].tail === here);
      const before = what.kind === "link" ? leaving.indexOf(what.id) : -1;
      const next = leaving[(before + 1) % leaving.length];
      focus(root.querySelector(`.hits [data-link="${next}"]`));
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
