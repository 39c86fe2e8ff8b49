// A relation, or two side by side: how many neurons, in which layers, what scaling them does, and
// which of them the facts share most.

// places: of one or two relations; go: leads to another comparison.
async function relationsView(data, places, go) {
  const columns = await Promise.all(places.map((place) => data.details(place)));
  const all = places.map((place) => relationOf(data, place));
  const names = places.map((place) => data.relations[place].id);
  return [relationsHeading(data, places), comparedWith(data, places, go),
    part("In numbers", table("In numbers", [["", false], ...names.map((name) => [name, true])],
      numbersOf(all, columns))),
    layersOf(data, all, names), mostShared(data, all, names)];
}

// A relation's facts, and neuron -> how many of them have it.
function relationOf(data, place) {
  const { start, names } = data.relations[place];
  const facts = data.facts.slice(start, start + names.length), counts = new Map();
  for (const neuron of facts.flatMap((fact) => fact.neurons)) counts.set(neuron, (counts.get(neuron) ?? 0) + 1);
  return { facts, counts };
}

function relationsHeading(data, places) {
  const titles = places.map((place) => `${data.relations[place].id} ${data.relations[place].label}`);
  return make("div", {}, make("h3", { tabIndex: -1 }, titles.join(" and ")),
    make("p", {}, ...(places.length > 1 ? places.flatMap((place) => [relationLink(data, place), " "]) : [])));
}

function comparedWith(data, places, go) {
  const others = data.relations.flatMap(({ id, label }, place) => (place === places[0] ? []
    : [make("option", { value: String(place), selected: place === places[1] }, `${id} ${label}`)]));
  const choice = make("select", {}, make("option", { value: "" }, "no other"), ...others);
  choice.addEventListener("change", () =>
    go({ compared: choice.value === "" ? [places[0]] : [places[0], Number(choice.value)] }));
  return make("label", { className: "beside-other" }, "Beside ", choice);
}

function numbersOf(all, columns) {
  const shared = all.length > 1 ? [...all[0].counts.keys()].filter((neuron) => all[1].counts.has(neuron)).length : null;
  const row = (name, of) => [name, ...all.map((one, place) => of(one, columns[place]))];
  const change = (column) => (_, { own }) => {
    const asked = own.filter((rows) => rows?.length);
    if (!asked.length) return "–";
    const [before, after] = [0, column].map((at) => mean(asked.map((rows) => mean(rows.map((one) => one[at])))));
    return percent(after / before - 1);
  };
  return [row("Facts", ({ facts }) => facts.length.toLocaleString("en")),
    row("Neurons of a fact", ({ facts }) => mean(facts.map((fact) => fact.neurons.length)).toFixed(2)),
    row("Different neurons", ({ counts }) => counts.size.toLocaleString("en")),
    ...(shared === null ? [] : [row("of them in both", () => shared.toLocaleString("en"))]),
    row("P(answer), neurons ×\u00a00", change(1)), row("P(answer), neurons ×\u00a02", change(2))];
}

// The share of the facts' neurons in each layer, the highest on top.
function layersOf(data, all, names) {
  const shares = all.map(({ facts }) => {
    const neurons = facts.flatMap((fact) => fact.neurons);
    return Array.from({ length: data.layers }, (_, layer) =>
      neurons.filter((one) => Math.floor(one / data.stride) === layer).length / (neurons.length || 1));
  });
  const most = Math.max(...shares.flat()) || 1;
  const rows = Array.from({ length: data.layers }, (_, at) => data.layers - 1 - at).flatMap((layer) =>
    shares.map((own, place) => [`layer ${layer}${names.length > 1 ? ` ${names[place]}` : ""}`,
      own[layer] / most, `${(100 * own[layer]).toFixed(1)} %`, place ? "before" : "after"]));
  return part("Neurons by layer", bars(rows));
}

function mostShared(data, all, names) {
  const every = new Set(all.flatMap(({ counts }) => [...counts.keys()]));
  const least = (neuron) => Math.min(...all.map(({ counts }) => counts.get(neuron) ?? 0));
  const top = largestFirst([...every].sort((a, b) => a - b).map((neuron) => [neuron, least(neuron)]))
    .filter(([, count]) => count > 0).slice(0, 12);
  const title = all.length > 1 ? "Neurons that facts of both have" : "Neurons that most facts have";
  if (!top.length) return part(title, make("p", {}, "None."));
  return part(title, table(title, [["Layer, neuron", false], ...names.map((name) => [`Facts of ${name}`, true])],
    top.map(([neuron]) => [neuronLink(data, neuron), ...all.map(({ counts, facts }) =>
      `${counts.get(neuron)} of ${facts.length}`)])));
}
