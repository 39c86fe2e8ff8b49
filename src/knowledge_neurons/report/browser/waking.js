// What wakes a neuron, and what it does alone: as stage 9 read it of texts drawn from all relations.

const KINDS_OF_TEXT = ["prompts of its facts", "of their relations", "of other relations",
  "sentences that state a fact", "with its head alone"];

// Of a layer's texts: a neuron's part with its texts in place; null where it was not read.
function activeOf({ texts, neurons }, at) {
  const own = neurons[at];
  if (!own) return null;
  const told = (some) => some.map((end) => pairs(end).map(([place, by]) => {
    const [relation, number, text] = texts[place];
    return { relation, number, text, activation: by };
  }));
  return { ...own, prompts: told(own.prompts), sentences: told(own.sentences), alike: pairs(own.alike) };
}

// --- alone ---

function byItself(active) {
  const title = "Switched off alone";
  if (!active) return "";
  if (!active.alone) return part(title, make("p", {}, "Not here: stage 9 does so with neurons of the relations it maps."));
  const [prompts, before, off, random, nats, ofRandom, low, high, larger] = active.alone;
  const bar = (name, p, kind) => [name, p, kind === "before" ? chance(p) : `${chance(p)} (${percent(p / before - 1)})`, kind];
  return part(title, note(`Mean probability of the right answer on ${counted(prompts, "prompt")} of its facts`),
    bars([bar("as it is", before, "before"), bar("this neuron × 0", off, "after"),
      bar("a random one × 0", random, "random")]),
    make("p", {}, `In log-odds: ${signed(nats, 3)} nats; a random neuron of its layer, another on each prompt, ` +
      `${signed(ofRandom, 3)} (${signed(low, 3)} to ${signed(high, 3)}). This one moved more on ${larger} of ${prompts}.`));
}

// --- histogram ---

// A strip for each kind of text; bars of equal parts of the range, their height the root of a share.
function onKinds(active) {
  const title = "Its activation by kind of text";
  if (!active) return "";
  const [low, high] = active.range;
  const grid = make("div", { className: "effects histogram" });
  active.kinds.forEach((found, kind) => {
    if (!found) return;
    const [average, ...counts] = found, all = counts.reduce((a, b) => a + b, 0);
    const strip = make("div", { className: "track", role: "img",
      "aria-label": `${counted(all, "text")}, mean ${signed(average, 2)}` });
    counts.forEach((count, place) => {
      const from = low + ((high - low) * place) / counts.length, to = low + ((high - low) * (place + 1)) / counts.length;
      const bar = make("i", { title: `${signed(from, 2)} to ${signed(to, 2)}: ${count} of ${all}` });
      bar.style.height = `${100 * Math.sqrt(count / all)}%`;
      strip.append(bar);
    });
    grid.append(make("span", {}, KINDS_OF_TEXT[kind]), strip, make("span", { className: "n" }, signed(average, 2)));
  });
  grid.append(make("span"), make("div", { className: "scale" }, make("span", {}, signed(low, 2)),
    make("span", {}, signed(high, 2))), make("span", { className: "n" }, "mean"));
  return part(title, note("At the position read. A bar's height is the square root of its share of the texts, " +
    "so that few can be seen beside many."), grid);
}

// --- texts ---

function wakingTexts(data, active) {
  const title = "What wakes it";
  if (!active) return "";
  const heads = [["Text", false], ["Activation", true], ["Fact", false]];
  const row = ({ relation, number, text, activation }) => [masked(text, "[MASK]", ""), signed(activation, 2),
    ownerLink(data, relation, number)];
  // Both ends of a ranking, from the highest down.
  const told = (name, [highest, lowest]) => {
    const caption = `${name}: the highest ${highest.length}, then the lowest ${lowest.length}`;
    return highest.length ? [table(caption, heads, [...highest, ...lowest.toReversed()].map(row), caption)] : [];
  };
  return part(title, note("Of the prompts and sentences that stage 9 drew, as many of each relation; marked is where it " +
    "is read. Of a neuron that fires negatively the lowest are those that wake it."),
  ...told("Prompts", active.prompts), ...told("Sentences", active.sentences));
}

function ownerLink(data, id, number) {
  const relation = data.relations.find((one) => one.id === id);
  return relation ? factLink(data, data.facts[relation.start + number]) : `${id} fact ${number}`;
}

function firesLike(data, active) {
  if (!active?.alike.length) return "";
  const items = active.alike.map(([neuron, by]) =>
    make("li", {}, neuronLink(data, neuron), make("small", {}, ` ${signed(by / 100, 2)}`)));
  return part("Neurons that fire like it", note("Correlation of their activations over the texts drawn."),
    make("ul", { className: "shared" }, ...items));
}

// --- of a fact ---

// Stage 5 ranks sentences by the sum over the fact's neurons.
function factSentences(known) {
  if (!known.sentences) return "";
  const [ranked, most, least] = known.sentences;
  const row = ([sum, text]) => [masked(text, "[MASK]", ""), signed(sum, 2)];
  const title = "Sentences that wake its neurons", heads = [["Sentence", false], ["Sum", true]];
  return part(title, note(`Of ${counted(ranked, "sentence")} with its head and tail, by the sum of its neurons' ` +
    "activations: the highest, then the lowest."), table(title, heads, [...most, ...least].map(row)));
}
