// A neuron: what it does alone, writes, the facts it serves, what wakes it, and the neurons around it.

const RELATIONS_READ = 6; // whose facts' records are read at first, those that have most of its facts

// relations: how many are read, or all.
async function neuronView(data, neuron, relations = RELATIONS_READ) {
  const owned = (data.owners.get(neuron) ?? []).map((one) => data.facts[one]);
  const byPlace = new Map(owned.map((fact) => [fact.place, []]));
  for (const fact of owned) byPlace.get(fact.place).push(fact);
  const places = largestFirst([...byPlace].map(([place, facts]) => [place, facts.length])).map(([place]) => place);
  const read = places.slice(0, relations);
  const known = (await Promise.all(read.flatMap((place) => byPlace.get(place)).map(async (fact) => ({
    fact, known: await readFact(data, fact),
  })))).map((one) => ({ ...one, at: one.fact.neurons.indexOf(neuron) }));
  const mapped = data.relations.flatMap(({ mapped: is }, place) => (is ? [place] : []));
  const maps = await mapsOf(data, [...new Set([...read, ...mapped.slice(0, RELATIONS_READ)])]
    .filter((place) => mapped.includes(place)));
  const [words, active] = await Promise.all([data.wordsOf(neuron), data.activeOf(neuron)]);
  const box = make("div");
  const fill = (parts) => box.replaceChildren(...parts);
  fill([neuronHeading(data, neuron, owned, places), cutOf(places, read, async () =>
    fill(await neuronView(data, neuron, places.length))), ...(owned.length ? [byItself(active)] : []),
  written(data, words), servedFacts(data, neuron, known),
  ...(owned.length ? [onKinds(active), wakingTexts(data, active), onTexts(known)] : []),
  firesLike(data, active), together(data, neuron, owned), inMaps(data, neuron, maps)]);
  return [box];
}

function neuronHeading(data, neuron, owned, places) {
  const told = owned.length
    ? `knowledge neuron of ${counted(owned.length, "fact")} in ${counted(places.length, "relation")}`
    : "no knowledge neuron of any fact here";
  return make("div", {}, make("h3", { tabIndex: -1 }, `Neuron ${nameOf(neuron, data.stride)}`),
    note(`layer ${Math.floor(neuron / data.stride)} of 0 to ${data.layers - 1}, neuron ${neuron % data.stride} ` +
      `of 0 to ${data.width - 1}; ${told}`));
}

function cutOf(places, read, readAll) {
  if (read.length === places.length) return "";
  const button = make("button", { type: "button" }, `Read all ${places.length}`);
  button.addEventListener("click", readAll);
  return make("p", {}, `Below are its facts in the ${read.length} relations that have most of them. `, button);
}

// --- what it writes ---

function written(data, found) {
  const title = "What it writes";
  if (!data.written.length) {
    return part(title, make("p", {},
      "Not here yet, nor what wakes it and what it does alone: run 9_neuron_map.sh REL, then stage 8 again."));
  }
  if (!found) return part(title, make("p", {}, "Not here: stage 9 reads it of neurons that facts have."));
  const row = (name, some) => make("p", { className: "words" }, make("span", {}, name), ...some.flatMap(([word, by]) =>
    [" ", make("span", { className: "word" }, word, make("small", {}, ` ${signed(by / 100, 2)}`))]));
  const alike = found.alike.map(([neuron, by]) =>
    make("li", {}, neuronLink(data, neuron), make("small", {}, ` ${signed(by / 100, 2)}`)));
  return part(title, row("more", found.up), row("less", found.down),
    note("Words that its value slot raises and lowers most when it fires, with the cosine of both. " +
      "Of a neuron that fires negatively the two change places."),
    ...(alike.length ? [make("p", {}, "Neurons that write most like it: "),
      make("ul", { className: "shared" }, ...alike)] : []));
}

// --- the facts it serves ---

const ROWS = 30; // facts shown at a time

function servedFacts(data, neuron, known) {
  const title = "Facts it serves, by prompt";
  if (!known.length) return "";
  const rows = known.map((one) => ({ ...one, own: scoresOf(one.known, neuron) }));
  const sorted = largestFirst(rows.map((one) => [one, one.own.mean])).map(([one]) => one);
  const body = make("tbody");
  const more = make("button", { type: "button" });
  const show = () => {
    const next = sorted.slice(body.childElementCount, body.childElementCount + ROWS);
    body.append(...next.map((one) => servedRow(data, one)));
    more.textContent = `Show more of ${counted(sorted.length, "fact")}`;
    more.hidden = body.childElementCount === sorted.length;
  };
  more.addEventListener("click", show);
  show();
  const heads = ["Fact", "By prompt", "Mean score", "Coarse in", "Relation"];
  const head = make("tr", {}, ...heads.map((text, place) =>
    make("th", { scope: "col", className: place === 2 || place === 3 ? "n" : "" }, text)));
  const inner = make("div", { className: "inner heat", tabIndex: 0, role: "region", "aria-label": title },
    make("table", {}, make("thead", {}, head), body));
  return part(title, note("A square is a prompt, the darker the higher the neuron's score there, as a share of the " +
    "prompt's largest; it leads to the prompt. Empty: not among the scores that are here."), inner, more);
}

function servedRow(data, { fact, known, own }) {
  const cells = own.scores.map((score, prompt) => {
    const cell = make("a", { href: addressOf(data, { fact, prompt }), tabIndex: -1,
      title: `${(score / 100).toFixed(2)}: ${known.prompts[prompt]}`, "aria-label": `prompt ${prompt}` }, make("i"));
    cell.firstChild.style.opacity = score / 100;
    return cell;
  });
  const numbers = fact.scored ? [own.mean.toFixed(2), `${own.coarse} of ${known.prompts.length}`] : ["–", "–"];
  return make("tr", {}, make("th", { scope: "row" }, factLink(data, fact)),
    make("td", { className: "cells" }, ...(fact.scored ? cells : [])),
    ...numbers.map((text) => make("td", { className: "n" }, text)), make("td", {}, data.relations[fact.place].id));
}
