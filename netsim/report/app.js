// The page: what is shown now, and the controls that change it.

/** Whether the same rank or link is meant, or both times none. */
const same = (a, b) => a?.kind === b?.kind && a?.id === b?.id;
const byId = (id) => document.getElementById(id);

class App {
  constructor() {
    this.state = { steps: [0, 0], part: -1, whole: false, selected: null };
    Object.assign(this, { oneScale: false, held: null, playing: false, now: 0 });
    this.from = PLACE.dims.map(() => 0);
    const count = Math.min(2, RUNS.length);
    this.panels = range(count).map((i) => {
      const root = make("section", { class: "panel", "aria-label": `Panel ${i + 1}` });
      byId("panels").append(root);
      return new Panel(root, i, this);
    });
    byId("panels").classList.toggle("single", count === 1);
    this.axis = new TimeAxis(byId("time"), this);
    this.curves = new Curves(byId("curves"));
    this.controls();
    byId("pace").value = inStep(this.shown) ? "step" : "busiest";
    this.now = inStep(this.shown) ? tellingStep(this.shown) : this.shown[0].busiestStep;
    describePage(viewOf(PLACE, this.from), this.shown, this.now);
    this.redraw();
    const draw = () => {
      this.axis.draw(this.shown);
      this.curves.draw();
      this.mark();
    };
    draw();
    new ResizeObserver(draw).observe(byId("time"));
    const fit = new ResizeObserver(() => this.panels.forEach(({ picture }) => picture.fit()));
    this.panels.forEach(({ picture }) => fit.observe(picture.root));
  }

  get shown() {
    return this.panels.map((panel) => panel.schedule);
  }

  /** What moves on together: "step" by step, by "time", or nothing, with each at its "busiest" step. */
  get pace() {
    return byId("pace").value;
  }

  get byTime() {
    return this.pace === "time";
  }

  /** The largest value of the slider: steps of the longer schedule, or thousandths of its time. */
  get last() {
    return this.byTime ? 1000 : Math.max(...this.shown.map((run) => run.steps.length)) - 1;
  }

  get longest() {
    return Math.max(...this.shown.map((run) => run.seconds));
  }

  redraw() {
    const view = viewOf(PLACE, this.from);
    for (const panel of this.panels) panel.draw(view);
    this.update();
  }

  update() {
    const { state } = this;
    const time = (this.now / 1000) * this.longest;
    state.steps = this.shown.map((run) => this.stepOf(run, time));
    const top = Math.max(...this.shown.map((run, i) => this.top(run, state.steps[i])));
    for (const panel of this.panels) panel.show(state, top || 1);
    byId("scale").replaceChildren(...scaleText(top).map((words) => make("span", {}, words)));
    this.check();
    const slider = byId("step");
    slider.max = this.last;
    slider.value = this.now;
    const words = this.byTime ? `${secondsText(time)} of ${secondsText(this.longest)}`
      : this.pace === "step" ? `step ${this.now + 1} of ${this.last + 1}`
      : state.steps.length > 1 ? "the busiest steps" : "the busiest step";
    slider.setAttribute("aria-valuetext", words);
    byId("where").textContent = words;
    this.mark();
  }

  /** The step of a schedule that is shown; `time`, in seconds, counts only by time. */
  stepOf(run, time) {
    if (this.pace === "step") return this.now;
    if (this.pace === "busiest") return run.busiestStep;
    const s = run.ends.findIndex((end) => end > time);
    return s < 0 ? run.steps.length : s;
  }

  /** The longest time, in seconds, for which a link of a schedule is busy in what is shown. */
  top(run, s) {
    const { whole, part } = this.state;
    if (whole) return PLACE.busiest(run.whole(part)).seconds;
    if (this.oneScale) return run.steps.length ? run.busy(run.busiestStep) : 0;
    return s < run.steps.length ? PLACE.busiest(run.load(s, part)).seconds : 0;
  }

  mark() {
    if (!this.axis.bars) return;
    this.axis.mark(this.state.steps, this.byTime ? (this.now / 1000) * this.longest : Infinity);
  }

  /** Says so if the sums made here are not the simulator's. */
  check() {
    const wrong = ({ schedule, step }) => step < schedule.steps.length && !schedule.agrees(step);
    if (this.panels.some(wrong)) byId("wrong").hidden = false;
  }

  go(to) {
    if (this.pace === "busiest") byId("pace").value = "step";
    this.now = Math.max(0, Math.min(this.last, to));
    this.update();
  }

  /** To the other pace that has been chosen, at the step or the time that is shown. */
  turn() {
    const { steps } = this.state;
    if (this.pace === "step") return this.go(Math.max(...steps));
    if (this.byTime) {
      const starts = this.shown.map((run, i) => run.ends[steps[i] - 1] ?? 0);
      return this.go((1000 * Math.max(...starts)) / this.longest);
    }
    this.now = this.shown[0].busiestStep;
    this.update();
  }

  /** A step forward or back; by time, to where some schedule begins its next step. */
  advance(by) {
    if (!this.byTime) return this.go(this.now + by);
    const ends = [0, ...this.shown.flatMap((run) => run.ends)]
      .map((t) => (1000 * t) / this.longest).sort((a, b) => a - b);
    this.go(by > 0 ? ends.find((t) => t > this.now + 1e-6) ?? 1000
      : ends.findLast((t) => t < this.now - 1e-6) ?? 0);
  }

  /** To a step that is clicked on the time axis. */
  seek(time, { row, step }) {
    if (this.byTime) this.go((1000 * time) / this.longest);
    else if (step !== undefined) this.go(Number(step));
    else this.go(this.shown[Number(row ?? 0)].ends.findIndex((end) => end > time));
  }

  play(on) {
    if (on === this.playing) return;
    this.playing = on;
    byId("play").textContent = on ? "Pause" : "Play";
    byId("play").setAttribute("aria-pressed", String(on));
    if (!on) return;
    if (this.now >= this.last) this.go(0);
    let before = performance.now();
    const frame = (t) => {
      if (!this.playing) return;
      const speed = Number(byId("speed").value);
      const passed = (t - before) * speed;
      if (this.byTime || passed >= 1200) {
        before = t;
        this.go(this.now + (this.byTime ? passed / 14 : 1));
      }
      if (this.now >= this.last) this.play(false);
      else requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  choose(panel, run) {
    this.panels[panel].run = run;
    this.now = Math.min(this.now, this.last);
    this.parts();
    this.redraw();
    this.axis.draw(this.shown);
    this.mark();
  }

  point(what) {
    this.select(what ?? this.held);
  }

  hold(what) {
    this.held = same(what, this.held) ? null : what;
    this.select(this.held);
  }

  select(what) {
    if (same(what, this.state.selected)) return;
    this.state.selected = what;
    for (const panel of this.panels) panel.select();
  }

  controls() {
    byId("play").addEventListener("click", () => this.play(!this.playing));
    byId("back").addEventListener("click", () => this.advance(-1));
    byId("next").addEventListener("click", () => this.advance(1));
    byId("step").addEventListener("input", (event) => this.go(Number(event.target.value)));
    byId("part").addEventListener("change", (event) => {
      this.state.part = Number(event.target.value);
      this.update();
    });
    byId("whole").addEventListener("change", (event) => {
      this.state.whole = event.target.checked;
      this.update();
    });
    byId("onescale").addEventListener("change", (event) => {
      this.oneScale = event.target.checked;
      this.update();
    });
    byId("pace").addEventListener("change", () => this.turn());
    if (this.shown.length === 1) byId("pace").options[2].textContent = "the busiest step";
    document.addEventListener("keydown", (event) => this.key(event));
    this.parts();
    this.windows();
  }

  key(event) {
    const { tagName } = event.target;
    if (event.ctrlKey || event.metaKey || event.altKey || /^(SELECT|INPUT)$/.test(tagName)) return;
    const button = tagName === "BUTTON" && event.key === " ";
    const act = {
      ArrowLeft: () => this.advance(-1), ArrowRight: () => this.advance(1),
      Home: () => this.go(0), End: () => this.go(this.last),
      " ": () => this.play(!this.playing), Escape: () => this.hold(null),
    }[event.key];
    if (!act || button) return;
    act();
    event.preventDefault();
  }

  parts() {
    const most = Math.max(...this.shown.map((run) => run.parts));
    const select = byId("part");
    if (this.state.part >= most) this.state.part = -1;
    select.replaceChildren(make("option", { value: -1 }, most > 1 ? `all ${most} parts` : "the one part"),
      ...range(most > 1 ? most : 0).map((j) => make("option", { value: j }, `part ${j}`)));
    select.value = String(this.state.part);
  }

  /** A slider for every axis of which only some nodes are drawn. */
  windows() {
    if (viewOf(PLACE, this.from) instanceof Circle) return;
    const shown = Lattice.shown(PLACE.dims);
    PLACE.dims.forEach((d, j) => {
      if (shown[j] >= d) return;
      const ring = !PLACE.graph && PLACE.rows[j].wrap === true;
      const value = make("output", {}, "0");
      const input = make("input", {
        type: "range", min: 0, max: ring ? d - 1 : d - shown[j], value: 0, "data-axis": j });
      input.addEventListener("input", () => {
        this.from[j] = Number(input.value);
        value.textContent = input.value;
        this.redraw();
      });
      const name = shown[j] > 1 ? `dimension ${j} from ` : `slice of dimension ${j} `;
      byId("windows").append(make("label", {}, name, input, value));
    });
  }
}

const APP = new App();
Object.assign(globalThis, { APP, PLACE, RUNS });
