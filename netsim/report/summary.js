// What the page says of all steps: sentences, tables, and the legend.

/** The links that have another rate than most, the first few by name. */
function othersText(links) {
  const named = links.slice(0, 6).map((link) =>
    `${RUNS[0].linkName(link)} has ${figures(PLACE.rate(link))} Gb/s`);
  return `${named.join(", ")}${links.length > 6 ? `, and ${links.length - 6} more differ` : ""}`;
}

/** The ends and the middle of the scale of links; in bytes, too, where all links have one rate. */
function scaleText(top) {
  const bytes = (t) => (PLACE.rates.size ? "" : ` (${bytesText((t * PLACE.gbps * 1e9) / 8)})`);
  return [0, top / 2, top].map((t) => (t ? secondsText(t) + bytes(t) : t === 0 && top ? "0" : ""));
}

/** What differs between schedules besides their algorithms; "" if nothing does. */
function differencesText(runs) {
  if (new Set(runs.map((run) => run.plain)).size === 1) return "";
  const differ = (what, value) => {
    const those = runs.filter(value);
    if (new Set(those.map(value)).size < 2) return [];
    return [`${what} (${those.map((run) => `${run.plain}: ${value(run)}`).join(", ")})`];
  };
  const found = [
    ...differ("the collective", (run) => run.collective.replaceAll("_", "-")),
    ...differ("the variant", (run) => run.variant),
    ...differ("the number of ports", (run) => String(run.parts)),
  ];
  return found.length ? `Besides the algorithms, these differ: ${listed(found)}.` : "";
}

function leadText(shown, step) {
  const order = [...RUNS].sort((a, b) => a.seconds - b.seconds);
  const times = order.map((run) => `${secondsText(run.seconds)} with ${run.label}`).join(", ");
  const least = DATA.lower_bound === null ? ""
    : `; none can take less than ${secondsText(DATA.lower_bound)}`;
  const moved = RUNS.every((run) => run.collective === "barrier") ? "" : ` of ${bytesText(DATA.nbytes)}`;
  const said = [`${collectiveText(RUNS)}${moved} takes ${times}${least}.`, differencesText(RUNS),
    openingText(shown, step)];
  return said.filter(Boolean).join(" ");
}

/** Where the page opens, and why; "" for the first step. */
function openingText(shown, step) {
  const counts = shown.map((run) => `${run.label} has ${plural(run.steps.length, "step")}`);
  if (!inStep(shown))
    return `The page opens with each at its busiest step, because ${listed(counts)}.`;
  const why = shown.length > 1 ? "in which their busiest links differ most" : "with the busiest link";
  return step > 0 ? `The page opens at step ${step + 1}, ${why}.` : "";
}

function fillTable(id, titles, rows) {
  const cell = (tag, words) => make(tag, {}, words);
  byId(id).append(
    make("thead", {}, make("tr", {}, ...titles.map((title) => cell("th", title)))),
    make("tbody", {}, ...rows.map((row) =>
      make("tr", {}, ...row.map((value, i) => cell(i ? "td" : "th", value))))));
}

const FACTS = {
  variant: (run) => run.variant,
  ports: (run) => String(run.parts),
  steps: (run) => String(run.steps.length),
  time: (run) => secondsText(run.seconds),
  goodput: (run) => (run.goodput_gbps === null ? "" : `${figures(run.goodput_gbps)} Gb/s`),
  congestion: (run) => run.congestion.toFixed(4),
  "busiest link, all steps": (run) => {
    const whole = run.whole(-1);
    return bytesText(whole[PLACE.busiest(whole).link] ?? 0);
  },
};

/** The schedules side by side, like the panels. */
function fillTables() {
  fillTable("figures", ["schedule", ...RUNS.map((run) => run.label)],
    Object.entries(FACTS).map(([what, value]) => [what, ...RUNS.map(value)]));
  const { sizes, seconds, variants, lower_bound: bound } = DATA.curves;
  const time = (k, i) => withMore(secondsText(seconds[k][i]), variants[k]?.[i]);
  fillTable("sizes", ["size", ...RUNS.map((run) => run.label), ...(bound ? ["lower bound"] : [])],
    sizes.map((n, i) => [bytesText(n), ...RUNS.map((_, k) => time(k, i)),
      ...(bound ? [secondsText(bound[i])] : [])]));
}

/** The signs of the picture that occur in it, and the links that have a rate of their own. */
function fillLegend(view) {
  const occurs = { wrap: view.ghosts.length, slice: view.slices.length, rail: view.rails.length, slow: PLACE.slow.length };
  for (const [name, count] of Object.entries(occurs)) byId(`sign-${name}`).hidden = !count;
  byId("slow").textContent = `slow: ${othersText(PLACE.slow)}`;
  if (view.crowded) byId("arcs").textContent = "a message, of the rank or link that is pointed at";
}

function footnotes(view) {
  const left = [];
  const shown = Lattice.shown(PLACE.dims);
  if (view instanceof Lattice && PLACE.dims.some((d, j) => shown[j] < d))
    left.push(`Drawn are ${shown.join(" x ")} of ${PLACE.dims.join(" x ")} ranks; the sliders choose ` +
      "which. Numbers and the busiest link are of all.");
  for (const run of RUNS) if (!("blocks" in (run.steps[0] ?? { blocks: 1 })))
    left.push(`Blocks of ${run.label} are left out: there are too many messages.`);
  return left.join(" ");
}

/** Fills in all that does not change; `step` is the one that `shown` begin at. */
function describePage(view, shown, step) {
  byId("lead").textContent = leadText(shown, step);
  fillLegend(view);
  fillTables();
  const others = PLACE.rates.size ? `, but ${othersText([...PLACE.rates.keys()])}` : "";
  byId("network").textContent = `${PLACE.name}, ${figures(PLACE.gbps)} Gb/s a link and ` +
    `direction${others}; times of steps: ${DATA.model} model; ` +
    `messages half a ring away: ${DATA.ties}${DATA.ties === "adaptive" ? ", drawn as split" : ""}.`;
  byId("left").textContent = footnotes(view);
}
