// What surrounds a neuron: its facts' sentences, neurons of the same facts, edges of the maps.

// known: [{ fact, known, at }], at: the neuron's place among the fact's.

const TEXTS = ["with head and tail", "with the head", "of other facts"]; // stage 4's kinds of sentences

const DOTS = 200; // facts drawn of a kind, evenly from all

function onTexts(known) {
  const title = "On its facts' sentences";
  const rows = known.map((one) => one.known.activations?.[one.at]).filter(Boolean);
  if (!rows.length) return part(title, make("p", {}, "No fact of it was read on sentences (4_run_distant.sh)."));
  const [least, most] = [Math.min(0, ...rows.flat()), Math.max(0, ...rows.flat())];
  const place = (value) => `${(100 * (value - least)) / (most - least || 1)}%`;
  const grid = make("div", { className: "effects dots" });
  TEXTS.forEach((text, kind) => {
    const values = rows.map((row) => row[kind]), step = Math.max(1, values.length / DOTS);
    const drawn = Array.from({ length: Math.ceil(values.length / step) }, (_, one) => values[Math.floor(one * step)]);
    const strip = make("div", { className: "track" });
    for (const [value, className] of [[0, "zero"], ...drawn.map((one) => [one, ""]), [mean(values), "mean"]]) {
      const mark = make("i", { className });
      mark.style.left = place(value);
      strip.append(mark);
    }
    grid.append(make("span", {}, text), strip, make("span", { className: "n" }, signed(mean(values), 2)));
  });
  return part(title, note(`At [MASK] in place of the answer, from ${signed(least, 2)} to ${signed(most, 2)}: a dot for ` +
    `each of ${counted(rows.length, "fact")}, the line at 0, the bar and the number their mean.`), grid);
}

// Neurons that are of the same facts, those of most first.
function together(data, neuron, owned) {
  if (!owned.length) return "";
  const shared = new Map();
  for (const fact of owned) {
    for (const one of fact.neurons) if (one !== neuron) shared.set(one, (shared.get(one) || 0) + 1);
  }
  const title = "Neurons of the same facts";
  if (!shared.size) return part(title, make("p", {}, "None: it stands alone in its facts."));
  const rows = largestFirst([...shared].sort((a, b) => a[0] - b[0])).slice(0, 8).map(([one, count]) =>
    [neuronLink(data, one), `${count} of ${owned.length}`, `${count} of ${data.owners.get(one).length}`]);
  const heads = [["Layer, neuron", false], ["In facts of this one", true], ["In facts of that one", true]];
  return part(title, table(title, heads, rows));
}

// --- maps ---

async function mapsOf(data, places) {
  const columns = await Promise.all(places.map((place) => data.details(place)));
  return columns.flatMap(({ maps }) => (maps ?? []).filter(Boolean));
}

// The neuron's edges in all maps that were read: [other neuron, mean share it adds, mean share that
// was lost with the driver off, in how many maps], strongest first.
function edgesAround(maps, neuron) {
  const [into, out] = [new Map(), new Map()];
  const add = (to, other, adds, off) => to.set(other, [...(to.get(other) ?? []), [adds, off]]);
  for (const node of maps.flatMap((map) => map.nodes)) {
    const active = node.active || 1;
    node.from.forEach((from, place) => {
      const shares = [node.adds[place] / active, node.off[place] / active];
      if (node.neuron === neuron) add(into, from, ...shares);
      if (from === neuron) add(out, node.neuron, ...shares);
    });
  }
  return [into, out].map((edges) => [...edges].map(([other, found]) =>
    [other, mean(found.map(([adds]) => adds)), mean(found.map(([, off]) => off)), found.length])
    .sort((a, b) => b[3] * Math.abs(b[1]) - a[3] * Math.abs(a[1])));
}

function inMaps(data, neuron, maps) {
  const title = "In the neuron maps";
  const [into, out] = edgesAround(maps, neuron);
  if (!into.length && !out.length) {
    return part(title, make("p", {}, maps.length ? `It has no edge in ${counted(maps.length, "map")}.`
      : "No map of its facts: run 9_neuron_map.sh REL, then stage 8 again."));
  }
  const heads = [["Layer, neuron", false], ["Adds", true], ["Off: measured", true], ["Maps", true]];
  const shown = (name, edges) => (edges.length ? [table(name, heads, edges.slice(0, 8).map(([other, adds, off, count]) =>
    [neuronLink(data, other), percent(adds), percent(off), String(count)]), name)] : []);
  return part(title, note(`Shares of the driven neuron's activation, means over the maps that have the edge, of ${
    maps.length} that were read; the 8 strongest.`), ...shown("What drives it", into), ...shown("What it drives", out));
}
