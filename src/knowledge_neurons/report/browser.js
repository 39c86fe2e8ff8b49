"use strict";
// The fact browser.  All text from data is set as text, never as HTML.  A neuron is one number, its
// layer times `stride` plus its index; a fact's address is #RELATION/NUMBER.
(() => {
  const AT_ONCE = 200; // facts listed at a time
  const byId = (id) => document.getElementById(id);
  const controls = { relation: byId("relation"), search: byId("search"), list: byId("list") };
  let index, facts, owners; // the index; every fact; neuron -> numbers of the facts that have it
  const details = new Map(); // relation -> promise of its details
  let listed = [], shown = 0, current = null;

  // --- unpacking ---

  async function unpack(element) {
    const bytes = Uint8Array.from(atob(element.textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).json();
  }

  function relationOf(place) {
    const id = index.relations[place].id;
    if (!details.has(id)) {
      const element = document.querySelector(`script[data-relation="${CSS.escape(id)}"]`);
      details.set(id, unpack(element));
    }
    return details.get(id);
  }

  function readIndex() {
    facts = [];
    owners = new Map();
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
  }

  // --- making elements ---

  function make(tag, properties = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name.includes("-") || name === "role" || name === "scope") element.setAttribute(name, value);
      else element[name] = value;
    }
    element.append(...children);
    return element;
  }

  const counted = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
  const named = (neuron) => `[${Math.floor(neuron / index.stride)}, ${neuron % index.stride}]`;
  const percent = (share) => `${share < 0 ? "−" : "+"}${Math.abs(100 * share).toFixed(1)} %`;
  const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
  const chance = (p) => (p >= 0.0995 ? p.toFixed(2) : p.toPrecision(2));

  function address(fact) {
    return `#${encodeURIComponent(index.relations[fact.place].id)}/${fact.number}`;
  }

  function addressed(hash) {
    const parts = /^#([^/]+)\/(\d+)$/.exec(hash);
    if (!parts) return null;
    let id;
    try { id = decodeURIComponent(parts[1]); } catch { return null; }
    const relation = index.relations.find((one) => one.id === id);
    const number = Number(parts[2]);
    return relation && number < relation.names.length ? facts[relation.start + number] : null;
  }

  function link(fact, ...more) {
    const text = fact.answer ? `${fact.name} → ${fact.answer}` : `${fact.name} (left out)`;
    return make("a", { href: address(fact) }, text, ...more);
  }

  // --- the list ---

  function fillList() {
    const words = controls.search.value.trim().toLowerCase();
    const place = controls.relation.value;
    listed = facts.filter((fact) =>
      (place === "" || fact.place === Number(place)) &&
      (words === "" || `${fact.name} ${fact.answer}`.toLowerCase().includes(words)));
    controls.list.replaceChildren();
    controls.list.scrollTop = 0;
    shown = 0;
    showMore();
  }

  function showMore() {
    const next = listed.slice(shown, shown + AT_ONCE);
    shown += next.length;
    const everywhere = controls.relation.value === "";
    controls.list.append(...next.map((fact) => {
      const { id, label } = index.relations[fact.place];
      const anchor = make("a", { href: address(fact) }, fact.name || "(no prompts)",
        make("small", {}, `${fact.answer || "left out"}${everywhere ? ` · ${id} ${label}` : ""}`));
      return make("li", {}, anchor);
    }));
    byId("more").hidden = shown === listed.length;
    byId("count").textContent =
      counted(listed.length, "fact") + (shown < listed.length ? `, ${shown} listed` : "");
    markCurrent();
  }

  function markCurrent() {
    controls.list.querySelector("[aria-current]")?.removeAttribute("aria-current");
    if (!current) return;
    const anchor = controls.list.querySelector(`a[href="${CSS.escape(address(current))}"]`);
    if (!anchor) return;
    anchor.setAttribute("aria-current", "true");
    const { top, bottom } = anchor.getBoundingClientRect();
    const box = controls.list.getBoundingClientRect();
    if (top < box.top || bottom > box.bottom) controls.list.scrollTop += top - box.top - 40;
  }

  function moveInList(event) {
    const anchors = [...controls.list.querySelectorAll("a")];
    const place = anchors.indexOf(document.activeElement);
    const last = anchors.length - 1;
    const to = { ArrowDown: Math.min(place + 1, last), ArrowUp: place - 1, Home: 0, End: last }[event.key];
    if (to === undefined || last < 0) return;
    event.preventDefault();
    (to < 0 ? controls.search : anchors[to]).focus();
  }

  // --- a fact ---

  async function show(fact) {
    current = fact;
    markCurrent();
    const columns = await relationOf(fact.place);
    if (current !== fact) return; // another one was asked for meanwhile
    const known = fact.scored ? read(columns, fact.number) : told(columns, fact);
    const article = byId("fact");
    const view = make("div");
    article.replaceChildren(heading(fact), promptChoice(fact, known, (chosen) => {
      view.replaceChildren(picture(fact, known, chosen), effects(fact, known, chosen));
    }), view, neuronTable(fact, known), mapOf(fact, columns), neighbours(fact), steps(fact));
    view.append(picture(fact, known, null), effects(fact, known, null));
  }

  function read(columns, number) {
    let sum = 0;
    const union = columns.neurons[number].map((step) => (sum += step));
    const prompts = columns.prompts[number];
    const flat = columns.scores[number];
    return {
      union, prompts,
      predicted: columns.predicted[number],
      largest: columns.largest[number],
      scores: prompts.map((_, row) => flat.slice(row * union.length, (row + 1) * union.length)),
      own: columns.own[number],
      other: columns.other[number],
    };
  }

  // Without scores a fact's neurons stand at full height, and no prompt has a first guess.
  function told(columns, { number, neurons }) {
    const prompts = columns.prompts[number];
    return {
      union: neurons, prompts,
      predicted: prompts.map(() => "[MASK]"),
      scores: prompts.map(() => neurons.map(() => 100)),
      own: columns.own[number],
      other: columns.other[number],
    };
  }

  function heading(fact) {
    const { id, label } = index.relations[fact.place];
    const title = fact.answer ? `${fact.name} → ${fact.answer}` : fact.name;
    return make("div", {},
      make("h3", { tabIndex: -1 }, title),
      make("p", {}, make("small", {}, `${id} ${label}, fact ${fact.number}; ` +
        (fact.scored || fact.neurons.length ? counted(fact.neurons.length, "knowledge neuron") : "not published"))));
  }

  function promptChoice(fact, known, choose) {
    const box = make("fieldset", {}, make("legend", {}, "Prompts"));
    if (!known.prompts.length) {
      box.append(make("p", {}, "This fact was left out: it cannot be asked."));
      return box;
    }
    const add = (text, p, chosen) => {
      const input = make("input", { type: "radio", name: "prompt", checked: chosen === null });
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
    prompt.split("[MASK]").forEach((part, place) => {
      if (place) text.append(make("span", { className, title }, predicted));
      text.append(part);
    });
    return text;
  }

  // Scores of all layers, the highest on top; the height of a line is its score.
  function picture(fact, known, chosen) {
    if (!fact.scored && !fact.neurons.length) return make("div"); // not published
    const rows = chosen === null ? known.scores : [known.scores[chosen]];
    const heights = known.union.map((_, column) => mean(rows.map((row) => row[column])));
    const own = new Set(fact.neurons);
    const grid = make("div", { className: index.layers > 6 ? "layers many" : "layers", role: "img",
      "aria-label": `${fact.scored ? "Scores by layer" : "Layer"} and neuron: ${counted(heights.filter(Boolean).length, "neuron")} ` +
        `in ${index.layers} layers, ${own.size} of them knowledge neurons` });
    const strips = [];
    for (let layer = index.layers - 1; layer >= 0; layer--) {
      strips[layer] = make("div", { className: "strip" });
      grid.append(make("span", {}, `layer ${layer}`), strips[layer]);
    }
    known.union.forEach((neuron, column) => {
      if (!heights[column]) return;
      const score = fact.scored ? `: ${(heights[column] / 100).toFixed(2)}` : "";
      const line = make("i", { title: named(neuron) + score,
        className: own.has(neuron) ? "refined" : "" });
      line.style.left = `${(100 * (neuron % index.stride + 0.5)) / index.width}%`;
      line.style.height = `${Math.min(heights[column], 100)}%`;
      strips[Math.floor(neuron / index.stride)].append(line);
    });
    grid.append(make("span"), make("div", { className: "scale" },
      make("span", {}, "neuron 0"), make("span", {}, String(index.width - 1))));
    if (!fact.scored) {
      return make("div", {}, make("h4", {}, "Where they lie"), grid, make("p", {}, make("small", {},
        "These neurons were published without scores. Layers and neurons count from 0, as in the files.")));
    }
    const told = chosen === null
      ? "Each score as a share of its prompt's largest, mean over the prompts."
      : `As a share of the largest score, ${known.largest[chosen]}.`;
    return make("div", {}, make("h4", {}, "Scores"), grid,
      make("p", {}, make("small", {}, `${told} Thick: knowledge neurons of the fact. Layers and neurons count from 0, as in the files.`)));
  }

  function effects(fact, known, chosen) {
    if (!fact.scored && !fact.neurons.length) return make("div"); // nothing to scale
    const box = make("div", {}, make("h4", {}, "Suppressed and amplified"));
    if (!known.own) {
      box.append(make("p", {}, "Not measured: run 3_run_modify_activation.sh, then stage 8 again."));
      return box;
    }
    const rows = chosen === null ? known.own : [known.own[chosen]];
    const [before, ...after] = [0, 1, 2].map((column) => mean(rows.map((row) => row[column])));
    const grid = make("div", { className: "effects" });
    const add = (name, p, text, kind) => {
      const bar = make("i");
      bar.style.width = `${100 * p}%`;
      grid.append(make("span", {}, name), make("div", { className: `track ${kind}` }, bar), make("span", { className: "n" }, text));
    };
    add("as it is", before, chance(before), "before");
    ["neurons × 0", "neurons × 2"].forEach((name, place) => {
      add(name, after[place], `${chance(after[place])} (${percent(after[place] / before - 1)})`, "after");
    });
    box.append(make("p", {}, make("small", {}, "Probability of the right answer")), grid);
    if (known.other) {
      const [id, number, ...p] = known.other;
      const relation = index.relations.find((one) => one.id === id);
      const asked = relation ? link(facts[relation.start + number]) : `${id} fact ${number}`;
      box.append(make("p", {}, "The same neurons, another fact asked: ", asked,
        `: ${chance(p[0])}, × 0 ${chance(p[1])} (${percent(p[1] / p[0] - 1)}), × 2 ${chance(p[2])} (${percent(p[2] / p[0] - 1)}).`));
    }
    return box;
  }

  function neuronTable(fact, known) {
    const box = make("div", {}, make("h4", {}, "Knowledge neurons"));
    if (!fact.neurons.length) {
      box.append(make("p", {}, fact.scored
        ? "None: stage 2 has refined none for this fact, or has not run."
        : "Not known: this fact is not among those whose neurons were published."));
      return box;
    }
    const heads = ["Layer, neuron", ...(fact.scored ? ["Mean score", "Coarse in"] : []), "Facts that have it"];
    const body = make("tbody");
    for (const neuron of fact.neurons) {
      const column = known.union.indexOf(neuron);
      const scores = column < 0 ? [0] : known.scores.map((row) => row[column]);
      const sharing = owners.get(neuron).map((one) => facts[one]);
      const here = sharing.filter((one) => one.place === fact.place).length;
      const numbers = fact.scored
        ? [(mean(scores) / 100).toFixed(2), `${scores.filter((score) => score >= 20).length} of ${known.prompts.length}`]
        : [];
      body.append(make("tr", {}, make("th", { scope: "row" }, named(neuron)),
        ...numbers.map((text) => make("td", { className: "n" }, text)),
        make("td", {}, sharing.length === 1 ? "only this one" : sharers(sharing, here, fact))));
    }
    const head = make("thead", {}, make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, text))));
    const inner = make("div", { className: "inner", tabIndex: 0, role: "region", "aria-label": "Knowledge neurons" },
      make("table", {}, head, body));
    box.append(inner);
    return box;
  }

  // Nothing for a fact that stage 9 has not mapped.
  function mapOf(fact, columns) {
    const map = columns.maps?.[fact.number];
    const tools = { make, named, percent, counted, stride: index.stride, answer: fact.answer };
    return map ? drawMap(map, tools) : "";
  }

  // Filled when it is opened: a neuron may belong to thousands of facts.
  function sharers(sharing, here, fact) {
    const others = sharing.filter((one) => one !== fact);
    const box = make("details", {}, make("summary", {},
      `${here - 1} more of this relation, ${sharing.length - here} of others`));
    box.addEventListener("toggle", () => {
      if (box.childElementCount > 1) return;
      const items = others.slice(0, 60).map((one) => make("li", {}, link(one)));
      if (others.length > 60) items.push(make("li", {}, `and ${others.length - 60} more`));
      box.append(make("ul", { className: "shared" }, ...items));
    });
    return box;
  }

  function neighbours(fact) {
    const shared = new Map();
    for (const neuron of fact.neurons) {
      for (const one of owners.get(neuron)) {
        if (facts[one] !== fact) shared.set(one, (shared.get(one) || 0) + 1);
      }
    }
    const nearest = [...shared].sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, 8);
    const box = make("div", {}, make("h4", {}, "Facts that share most of them"));
    if (!nearest.length) box.append(make("p", {}, "No other fact has any of these neurons."));
    else {
      box.append(make("ul", { className: "shared" }, ...nearest.map(([one, count]) =>
        make("li", {}, link(facts[one]), make("small", {}, ` ${count} of ${fact.neurons.length}`)))));
    }
    return box;
  }

  function steps(fact) {
    const here = listed.indexOf(fact);
    const box = make("div", { className: "steps" });
    [["← previous", here - 1], ["next →", here + 1]].forEach(([text, place]) => {
      const there = here < 0 ? undefined : listed[place];
      box.append(there ? make("a", { href: address(there) }, text) : make("span"));
    });
    return box;
  }

  // --- start ---

  // A fact of another relation than the list's takes the list along.
  function follow() {
    const fact = addressed(location.hash);
    if (!fact) return;
    const fromPage = document.activeElement?.closest("#fact");
    if (!listed.includes(fact)) {
      controls.relation.value = String(fact.place);
      controls.search.value = "";
      fillList();
    }
    show(fact).then(() => {
      const article = byId("fact");
      const { top } = article.getBoundingClientRect();
      if (top < 0 || top > 0.6 * innerHeight) article.scrollIntoView();
      if (fromPage) article.querySelector("h3").focus({ preventScroll: true });
      byId("shown").textContent = `Shown: ${article.querySelector("h3").textContent}`;
    });
  }

  async function start() {
    index = await unpack(byId("index"));
    readIndex();
    const options = index.relations.map(({ id, label, names }, place) =>
      make("option", { value: String(place) }, `${id} ${label} (${names.length})`));
    controls.relation.append(make("option", { value: "" }, `all relations (${facts.length})`), ...options);
    const first = addressed(location.hash) || facts.find((fact) => fact.neurons.length) || facts[0];
    controls.relation.value = String(first.place);
    byId("browser").hidden = false;
    controls.relation.addEventListener("change", fillList);
    controls.search.addEventListener("input", fillList);
    controls.search.addEventListener("focus", () => { if (facts.length) controls.search.select(); });
    byId("browser").querySelector("form").addEventListener("submit", (event) => event.preventDefault());
    byId("browser").querySelector(".list").addEventListener("keydown", moveInList);
    controls.search.addEventListener("keydown", (event) => { if (event.key === "ArrowDown") moveInList(event); });
    byId("more").addEventListener("click", showMore);
    addEventListener("hashchange", follow);
    fillList();
    await show(first);
    if (addressed(location.hash)) byId("facts").scrollIntoView();
  }

  start();
})();
