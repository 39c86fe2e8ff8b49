// Where one is: #P36/3 a fact, #P36/3/2 with one of its prompts chosen, #neuron=3/7, #P36 a relation,
// #compare=P36/P19 two.  What else stands there is a part of the page.

function addressOf(data, { fact, prompt = null, neuron, compared }) {
  const id = (place) => encodeURIComponent(data.relations[place].id);
  if (fact) return `#${id(fact.place)}/${fact.number}${prompt === null ? "" : `/${prompt}`}`;
  if (compared) return compared.length === 1 ? `#${id(compared[0])}` : `#compare=${compared.map(id).join("/")}`;
  return `#neuron=${Math.floor(neuron / data.stride)}/${neuron % data.stride}`;
}

// What an address is of, as `addressOf` takes it; null for what is not here.
function addressed(data, hash) {
  const own = /^#neuron=(\d+)\/(\d+)$/.exec(hash);
  if (own) return neuronAt(data, Number(own[1]), Number(own[2]));
  const two = /^#compare=([^/]+)\/([^/]+)$/.exec(hash);
  if (two) return relationsAt(data, two.slice(1));
  const one = /^#([^/=]+)$/.exec(hash);
  if (one) return relationsAt(data, [one[1]]);
  const parts = /^#([^/]+)\/(\d+)(?:\/(\d+))?$/.exec(hash);
  const relation = parts && data.relations[placeOf(data, parts[1])];
  const number = parts && Number(parts[2]);
  if (!relation || number >= relation.names.length) return null;
  return { fact: data.facts[relation.start + number], prompt: parts[3] === undefined ? null : Number(parts[3]) };
}

function placeOf(data, encoded) {
  let id;
  try { id = decodeURIComponent(encoded); } catch { return -1; }
  return data.relations.findIndex((one) => one.id === id);
}

function relationsAt(data, encoded) {
  const compared = encoded.map((one) => placeOf(data, one));
  return compared.includes(-1) ? null : { compared };
}

function neuronAt(data, layer, at) {
  return layer < data.layers && at < data.width ? { neuron: layer * data.stride + at } : null;
}

// --- links ---

const nameOf = (neuron, stride) => `[${Math.floor(neuron / stride)}, ${neuron % stride}]`;

function neuronLink(data, neuron) {
  return make("a", { href: addressOf(data, { neuron }) }, nameOf(neuron, data.stride));
}

function factLink(data, fact) {
  const text = fact.answer ? `${fact.name} → ${fact.answer}` : `${fact.name} (left out)`;
  return make("a", { href: addressOf(data, { fact }) }, text);
}

function relationLink(data, place) {
  const { id, label } = data.relations[place];
  return make("a", { href: addressOf(data, { compared: [place] }) }, `${id} ${label}`);
}
