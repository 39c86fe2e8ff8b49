// A fact: its prompts, their scores, its neurons and what shares them.

// steps: the facts before and after it in the list.  choose(prompt): called for the one looked at.
async function factView(data, { fact, prompt }, steps, choose) {
  const known = await readFact(data, fact);
  const first = prompt !== null && prompt < known.prompts.length ? prompt : null;
  const view = make("div");
  const look = (chosen) => view.replaceChildren(picture(data, fact, known, chosen), effects(data, fact, known, chosen));
  look(first);
  const tools = { neuronLink: (neuron) => neuronLink(data, neuron), stride: data.stride, answer: fact.answer };
  return [factHeading(data, fact), promptChoice(fact, known, first, (chosen) => { look(chosen); choose(chosen); }),
    view, doseResponse(known), neuronTable(data, fact, known), baselineOf(data, fact, known), editsOf(known),
    factSentences(known),
    known.map ? drawMap(known.map, tools) : "", neighbours(data, fact), stepsOf(data, steps)];
}

function factHeading(data, fact) {
  const title = fact.answer ? `${fact.name} → ${fact.answer}` : fact.name;
  const told = fact.scored || fact.neurons.length ? counted(fact.neurons.length, "knowledge neuron") : "not published";
  return make("div", {}, make("h3", { tabIndex: -1 }, title),
    make("p", {}, make("small", {}, relationLink(data, fact.place), `, fact ${fact.number}; ${told}`)));
}

function promptChoice(fact, known, first, choose) {
  const box = make("fieldset", {}, make("legend", {}, "Prompts"));
  if (!known.prompts.length) {
    box.append(make("p", {}, "This fact was left out: it cannot be asked."));
    return box;
  }
  const add = (text, p, chosen) => {
    const input = make("input", { type: "radio", name: "prompt", checked: chosen === first });
    input.addEventListener("change", () => choose(chosen));
    box.append(make("label", { className: "prompt" }, input, text, make("span", { className: "n" }, p)));
  };
  const all = known.own ? chance(mean(known.own.map((row) => row[0]))) : "";
  add(make("span", {}, `all ${known.prompts.length}, averaged`), all && `P ${all}`, null);
  known.prompts.forEach((prompt, row) => {
    add(masked(prompt, known.predicted[row], fact.answer), known.own ? `P ${chance(known.own[row][0])}` : "", row);
  });
  return box;
}

// The prompt with the model's first guess in place of [MASK].
function masked(prompt, predicted, answer) {
  const className = predicted === answer || predicted === "[MASK]" ? "mask" : "mask wrong";
  const text = make("span");
  const title = predicted === "[MASK]" ? "asked for" : "the model's first guess";
  prompt.split("[MASK]").forEach((some, place) => {
    if (place) text.append(make("span", { className, title }, predicted));
    text.append(some);
  });
  return text;
}

// Scores of all layers, the highest on top; the height of a line is its score.
function picture(data, fact, known, chosen) {
  if (!fact.scored && !fact.neurons.length) return make("div"); // not published
  const rows = chosen === null ? known.scores : [known.scores[chosen]];
  const heights = known.union.map((_, column) => mean(rows.map((row) => row[column])));
  const own = new Set(fact.neurons);
  const grid = make("div", { className: data.layers > 6 ? "layers many" : "layers", role: "img",
    "aria-label": `${fact.scored ? "Scores by layer" : "Layer"} and neuron: ` +
      `${counted(heights.filter(Boolean).length, "neuron")} in ${data.layers} layers, ${own.size} of them knowledge neurons` });
  const strips = [];
  for (let layer = data.layers - 1; layer >= 0; layer--) {
    strips[layer] = make("div", { className: "strip" });
    grid.append(make("span", {}, `layer ${layer}`), strips[layer]);
  }
  known.union.forEach((neuron, column) => {
    if (!heights[column]) return;
    const score = fact.scored ? `: ${(heights[column] / 100).toFixed(2)}` : "";
    const line = make("i", { title: nameOf(neuron, data.stride) + score, className: own.has(neuron) ? "refined" : "" });
    line.style.left = `${(100 * (neuron % data.stride + 0.5)) / data.width}%`;
    line.style.height = `${Math.min(heights[column], 100)}%`;
    strips[Math.floor(neuron / data.stride)].append(line);
  });
  grid.append(make("span"), make("div", { className: "scale" },
    make("span", {}, "neuron 0"), make("span", {}, String(data.width - 1))));
  if (!fact.scored) {
    return part("Where they lie", grid, note("These neurons were published without scores. " +
      "Layers and neurons count from 0, as in the files."));
  }
  const told = chosen === null
    ? "Each score as a share of its prompt's largest, mean over the prompts."
    : `As a share of the largest score, ${known.largest[chosen]}.`;
  return part("Scores", grid,
    note(`${told} Thick: knowledge neurons of the fact. Layers and neurons count from 0, as in the files.`));
}

// A neuron's scores in a fact's prompts: their mean as a share, and in how many it is coarse.
function scoresOf(known, neuron) {
  const column = known.union.indexOf(neuron);
  const scores = known.scores.map((row) => (column < 0 ? 0 : row[column]));
  return { scores, mean: mean(scores) / 100, coarse: scores.filter((score) => score >= 20).length };
}

function neuronTable(data, fact, known) {
  if (!fact.neurons.length) {
    return part("Knowledge neurons", make("p", {}, fact.scored
      ? "None: stage 2 has refined none for this fact, or has not run."
      : "Not known: this fact is not among those whose neurons were published."));
  }
  const heads = ["Layer, neuron", ...(fact.scored ? ["Mean score", "Coarse in"] : []), "Facts that have it"];
  const rows = fact.neurons.map((neuron) => {
    const own = scoresOf(known, neuron);
    const sharing = data.owners.get(neuron).map((one) => data.facts[one]);
    const numbers = fact.scored ? [own.mean.toFixed(2), `${own.coarse} of ${known.prompts.length}`] : [];
    return [neuronLink(data, neuron), ...numbers,
      sharing.length === 1 ? "only this one" : sharers(data, sharing, fact)];
  });
  const last = heads.length - 1;
  return part("Knowledge neurons", table("Knowledge neurons",
    heads.map((text, place) => [text, place > 0 && place < last]), rows));
}

function baselineOf(data, fact, known) {
  if (!known.baseline?.length) return "";
  const own = new Set(fact.neurons);
  const links = known.baseline.map((neuron) =>
    make("li", {}, neuronLink(data, neuron), own.has(neuron) ? " (both)" : ""));
  return part("The baseline's neurons", note("Those of the highest activation, without attribution."),
    make("ul", { className: "shared" }, ...links));
}

// Filled when it is opened: a neuron may belong to thousands of facts.
function sharers(data, sharing, fact) {
  const others = sharing.filter((one) => one !== fact);
  const here = others.filter((one) => one.place === fact.place).length;
  const box = make("details", {}, make("summary", {},
    `${here} more of this relation, ${others.length - here} of others`));
  box.addEventListener("toggle", () => {
    if (box.childElementCount > 1) return;
    const items = others.slice(0, 60).map((one) => make("li", {}, factLink(data, one)));
    if (others.length > 60) items.push(make("li", {}, `and ${others.length - 60} more`));
    box.append(make("ul", { className: "shared" }, ...items));
  });
  return box;
}

function neighbours(data, fact) {
  const shared = new Map();
  for (const neuron of fact.neurons) {
    for (const one of data.owners.get(neuron)) {
      if (data.facts[one] !== fact) shared.set(one, (shared.get(one) || 0) + 1);
    }
  }
  const nearest = largestFirst([...shared].sort((a, b) => a[0] - b[0])).slice(0, 8);
  const title = "Facts that share most of them";
  if (!nearest.length) return part(title, make("p", {}, "No other fact has any of these neurons."));
  return part(title, make("ul", { className: "shared" }, ...nearest.map(([one, count]) =>
    make("li", {}, factLink(data, data.facts[one]), make("small", {}, ` ${count} of ${fact.neurons.length}`)))));
}

function stepsOf(data, [before, after]) {
  const step = (text, fact) => (fact ? make("a", { href: addressOf(data, { fact }) }, text) : make("span"));
  return make("div", { className: "steps" }, step("← previous", before), step("next →", after));
}
