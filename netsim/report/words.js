"use strict";
// Numbers and names in words, and elements of the page.

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

const plural = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;

/** "a, b and c". */
function listed(words) {
  return words.length > 1 ? `${words.slice(0, -1).join(", ")} and ${words.at(-1)}` : words.join("");
}

/** A name with what else is to be said, if anything, in brackets. */
function withMore(name, ...more) {
  const words = more.filter(Boolean).join(", ");
  return words ? `${name} (${words})` : name;
}

/** An element with attributes and children; strings become text, never markup. */
function make(tag, attributes = {}, ...children) {
  const name = tag.replace("svg:", "");
  const made = tag.startsWith("svg:") ? document.createElementNS("http://www.w3.org/2000/svg", name)
    : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}
