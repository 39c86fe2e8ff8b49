// One box for facts, relations, neurons and prompts.  What is found is an address's object:
// { fact }, { fact, prompt }, { neuron } or { compared: [relation] }.

const FEWEST_LETTERS = 3; // of a search in prompts: shorter words stand in nearly all

// Layer and index of a neuron as people write it: 3/7, [3, 7], L3 N7, "layer 3 neuron 7"; else null.
function neuronAsked(text) {
  const found = /^\[?\s*(?:l|layer)?\s*(\d+)\s*(?:[/,\s]\s*|(?=n))(?:n|neuron)?\s*(\d+)\s*\]?$/i.exec(text.trim());
  return found && [Number(found[1]), Number(found[2])];
}

// All but prompts.  place: of the relation whose facts are searched, or null for all.
function search(data, text, place) {
  const words = text.trim().toLowerCase();
  const asked = neuronAsked(text);
  const neuron = asked && neuronAt(data, ...asked);
  const relations = words === "" ? [] : data.relations.flatMap(({ id, label }, one) =>
    (`${id} ${label}`.toLowerCase().includes(words) ? [{ compared: [one] }] : []));
  const facts = data.facts.filter((fact) => (place === null || fact.place === place) &&
    (words === "" || `${fact.name} ${fact.answer}`.toLowerCase().includes(words)));
  return [...(neuron ? [neuron] : []), ...relations, ...facts.map((fact) => ({ fact }))];
}

// The prompts of a relation's facts with these words, but of facts that are found already.
function promptsFound(data, text, place, texts, known) {
  const words = text.trim().toLowerCase();
  if (words.length < FEWEST_LETTERS) return [];
  const { start } = data.relations[place];
  return texts.flatMap((prompts, number) => {
    const fact = data.facts[start + number];
    if (known.has(fact)) return [];
    return prompts.flatMap((one, prompt) => (one.toLowerCase().includes(words) ? [{ fact, prompt, text: one }] : []));
  });
}

// "1 neuron, 2 facts, 3 prompts"
function tally(entries) {
  const of = (test) => entries.filter(test).length;
  const kinds = [["neuron", of((one) => "neuron" in one)], ["relation", of((one) => "compared" in one)],
    ["fact", of((one) => one.fact && !("prompt" in one))], ["prompt", of((one) => "prompt" in one)]];
  return kinds.filter(([, count]) => count).map(([kind, count]) => counted(count, kind)).join(", ") || "0 facts";
}
