// Making elements, and saying numbers.  All text is set as text, never as HTML.

const SVG = "http://www.w3.org/2000/svg";

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role" || name === "scope") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// A table in a box that scrolls by itself.  heads: [text, whether of numbers]; rows: lists of cells,
// text or elements, the first of which heads its row.
function table(label, heads, rows, caption = "") {
  const kind = (place) => (heads[place][1] ? "n" : "");
  const head = make("tr", {}, ...heads.map(([text], place) =>
    make("th", { scope: "col", className: kind(place) }, text)));
  const body = rows.map(([first, ...others]) => make("tr", {}, make("th", { scope: "row" }, first),
    ...others.map((cell, place) => make("td", { className: kind(place + 1) }, cell))));
  const parts = caption ? [make("caption", {}, caption)] : [];
  return make("div", { className: "inner", tabIndex: 0, role: "region", "aria-label": label },
    make("table", {}, ...parts, make("thead", {}, head), make("tbody", {}, ...body)));
}

// Bars beside each other, of [name, share of the width, text, kind].
function bars(rows) {
  return make("div", { className: "effects" }, ...rows.flatMap(([name, share, text, kind]) => {
    const bar = make("i");
    bar.style.width = `${Math.max(0, Math.min(100 * share, 100))}%`;
    return [make("span", {}, name), make("div", { className: `track ${kind}` }, bar),
      make("span", { className: "n" }, text)];
  }));
}

// --- links that are one stop of the Tab key together ---

function stopAt(box, link) {
  for (const one of box.querySelectorAll("a")) one.tabIndex = one === link ? 0 : -1;
}

// The place that a key leads to from the link with the focus: -1 is above the first; undefined for
// keys that lead nowhere.
function ledTo(links, key) {
  const at = links.indexOf(document.activeElement), last = links.length - 1;
  return { ArrowDown: Math.min(at + 1, last), ArrowUp: at - 1, Home: 0, End: last }[key];
}

// Tab stops at the link that had the focus last, else at the first; arrow keys move on.
function oneStop(box) {
  stopAt(box, box.querySelector("a"));
  box.addEventListener("focusin", ({ target }) => { if (target.matches("a")) stopAt(box, target); });
  box.addEventListener("keydown", (event) => {
    const links = [...box.querySelectorAll("a")], to = ledTo(links, event.key);
    if (to === undefined || !event.target.matches("a")) return;
    event.preventDefault();
    links[Math.max(to, 0)].focus();
  });
  return box;
}

function part(title, ...children) {
  return make("div", {}, make("h4", {}, title), ...children);
}

const note = (text) => make("p", {}, make("small", {}, text));

const counted = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
const signed = (value, digits) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(digits)}`;
const percent = (share) => `${signed(100 * share, 1)}\u00a0%`;
const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
const chance = (p) => (p >= 0.0995 ? p.toFixed(2) : p.toPrecision(2));

// The largest first; of equals in their order.
const largestFirst = (pairs) => pairs.sort((a, b) => b[1] - a[1]);
