// What the page holds, unpacked when it is asked for.  A neuron is one number, its layer times
// `stride` plus its index; a fact's neurons are in the order of the file.

async function unpack(element) {
  // A loop: Uint8Array.from takes ten times as long.
  const text = atob(element.textContent), bytes = new Uint8Array(text.length);
  for (let place = 0; place < text.length; place++) bytes[place] = text.charCodeAt(place);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

// What the elements with this attribute hold, each unpacked once: value -> promise.
function held(attribute) {
  const found = new Map();
  return (value) => {
    if (!found.has(value)) {
      found.set(value, unpack(document.querySelector(`script[${attribute}="${CSS.escape(value)}"]`)));
    }
    return found.get(value);
  };
}

// Every fact of an index, and neuron -> numbers of the facts that have it.
function factsOf(index) {
  const facts = [], owners = new Map();
  index.relations.forEach((relation, place) => {
    relation.start = facts.length;
    relation.names.forEach((name, number) => {
      const neurons = relation.neurons[number];
      for (const neuron of neurons) {
        if (!owners.has(neuron)) owners.set(neuron, []);
        owners.get(neuron).push(facts.length);
      }
      const scored = !relation.unscored; // else these are neurons that others published
      facts.push({ place, number, name, answer: relation.answers[number], neurons, scored });
    });
  });
  return { facts, owners };
}

// The index with its facts, and how to come to the rest: of a relation by its place, of a layer.
function dataOf(index) {
  const [details, texts, written, active] = ["data-relation", "data-texts", "data-layer", "data-active"].map(held);
  const id = (place) => index.relations[place].id;
  const ofLayer = (layers, unpacked, read) => async (neuron) => {
    const layer = Math.floor(neuron / index.stride);
    return layers.includes(layer) ? read(await unpacked(String(layer)), neuron % index.stride) : null;
  };
  return {
    ...index, ...factsOf(index),
    details: (place) => details(id(place)),
    texts: (place) => texts(id(place)),
    wordsOf: ofLayer(index.written, written, writtenBy),
    activeOf: ofLayer(index.active, active, activeOf),
  };
}

const pairs = (flat) => flat.filter((_, place) => place % 2 === 0).map((one, i) => [one, flat[2 * i + 1]]);

// A neuron's words up and down and the neurons that write alike, with cosines in percent.
function writtenBy({ words, neurons }, at) {
  if (!neurons[at]) return null;
  const [up, down, alike] = neurons[at].map(pairs);
  const told = (some) => some.map(([word, by]) => [words[word], by]);
  return { up: told(up), down: told(down), alike };
}

// A fact's part of its relation's details: union, the neurons that have scores, and scores, of each
// prompt those of the union in percent of its largest.  Without scores a fact's neurons stand at full
// height, and no prompt has a first guess.
function detailsOf(columns, prompts, { number, neurons, scored }) {
  const of = (name) => columns[name]?.[number] ?? null;
  let sum = 0;
  const union = scored ? of("neurons").map((step) => (sum += step)) : neurons;
  const flat = of("scores");
  return {
    prompts, union,
    predicted: scored ? of("predicted") : prompts.map(() => "[MASK]"),
    largest: of("largest"),
    scores: prompts.map((_, row) => (scored
      ? flat.slice(row * union.length, (row + 1) * union.length) : neurons.map(() => 100))),
    own: of("own"), other: of("other"), nats: of("nats"), doses: of("doses"),
    baseline: of("baseline"), activations: of("activations"), sentences: of("sentences"),
    edits: of("edits") ?? [], map: of("maps"),
  };
}

async function readFact(data, fact) {
  const [columns, texts] = await Promise.all([data.details(fact.place), data.texts(fact.place)]);
  return detailsOf(columns, texts[fact.number], fact);
}
