// A fact's neuron map: what drives its neurons, from the answer on top down to the lowest layer.
// Rows are layers; a node is chosen by pointer, by touch or by the arrow keys, and says its edges in
// numbers below.  All text is set as text.
//
// drawMap(map, tools): map is what `mapped.py` packs; tools: { stride, answer, neuronLink }.
const drawMap = (() => {
  const WIDTH = 720, LEFT = 64, TOP = 30, FEW_ROWS = 12;
  const ANSWER = "answer";
  const layerOf = (node, stride) => Math.floor(node / stride);

  // Every edge: from a driver to a neuron, as a share of its activation; from a neuron to the answer,
  // in probability.  weight: of the strongest edge to the same end, signed.
  function edgesOf(map) {
    const largest = (values) => Math.max(...values.map(Math.abs)) || 1;
    const most = largest(map.nodes.map((node) => node.score));
    return map.nodes.flatMap((node) => {
      const active = node.active || 1;
      const shares = node.adds.map((score) => score / active);
      const top = largest([0, ...shares]);
      return [
        { from: node.neuron, to: ANSWER, adds: node.score, weight: node.score / most },
        ...node.from.map((from, place) => ({
          from, to: node.neuron, adds: shares[place], weight: shares[place] / top,
          predicted: node.predicted[place] / active, off: node.off[place] / active,
        })),
      ];
    });
  }

  // node -> { x, y }: the answer on top, each layer a row, the neurons of a row by their index.
  function placesOf(map, stride) {
    const all = new Set(map.nodes.flatMap((node) => [node.neuron, ...node.from]));
    const nodes = [...all].sort((a, b) => a - b);
    const rows = new Map();
    for (const node of nodes) {
      const layer = layerOf(node, stride);
      if (!rows.has(layer)) rows.set(layer, []);
      rows.get(layer).push(node);
    }
    const [lowest, highest] = [Math.min(...rows.keys()), Math.max(...rows.keys())];
    const step = highest - lowest < FEW_ROWS ? 52 : 30;
    const level = (layer) => TOP + 14 + step * (highest - layer + 1);
    const places = new Map([[ANSWER, { x: (LEFT + WIDTH) / 2, y: TOP }]]);
    for (const [layer, row] of rows) {
      row.forEach((node, place) => {
        const x = LEFT + ((place + 0.5) * (WIDTH - LEFT)) / row.length;
        places.set(node, { x, y: level(layer) });
      });
    }
    return { places, rows, lowest, highest, level, height: level(lowest) + 26 };
  }

  // The picture; choose(node) is called for every node that is looked at.
  function picture(map, edges, tools, choose) {
    const { places, rows, lowest, highest, level, height } = placesOf(map, tools.stride);
    const own = new Set(map.nodes.map((node) => node.neuron));
    const svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "group",
      "aria-label": "Neuron map, the answer on top; arrow keys move from neuron to neuron" });
    for (let layer = highest; layer >= lowest; layer--) {
      const y = level(layer);
      svg.append(draw("line", { class: "row", x1: LEFT, x2: WIDTH, y1: y, y2: y }),
        draw("text", { class: layer ? "name" : "name words", x: 0, y: y + 4 }, `layer ${layer}`));
    }
    const lines = edges.map((edge) => {
      const [a, b] = [places.get(edge.from), places.get(edge.to)];
      const size = Math.abs(edge.weight);
      return draw("line", { class: edge.weight < 0 ? "edge less" : "edge", x1: a.x, y1: a.y, x2: b.x, y2: b.y,
        "stroke-width": (0.6 + 3.4 * size).toFixed(2), "stroke-opacity": (0.25 + 0.65 * size).toFixed(2) });
    });
    svg.append(...lines);
    const marks = new Map();
    for (const [node, { x, y }] of places) {
      const mark = draw("g", { role: "button", tabindex: node === ANSWER ? 0 : -1, "aria-pressed": "false",
        class: node === ANSWER ? "answer" : own.has(node) ? "own" : "driver",
        "aria-label": spoken(node, own, tools) });
      mark.append(draw("circle", { class: "reach", cx: x, cy: y, r: 15 }), shape(node, x, y, own, tools));
      mark.addEventListener("focus", () => look(node));
      mark.addEventListener("click", () => look(node));
      mark.addEventListener("pointerenter", (event) => { if (event.pointerType === "mouse") look(node); });
      marks.set(node, mark);
      svg.append(mark);
    }

    function look(node) {
      marks.forEach((mark, one) => {
        mark.setAttribute("aria-pressed", String(one === node));
        mark.setAttribute("tabindex", one === node ? 0 : -1);
      });
      lines.forEach((line, place) => {
        const { from, to } = edges[place];
        line.classList.toggle("dim", from !== node && to !== node);
      });
      choose(node);
    }

    svg.addEventListener("keydown", (event) => {
      const here = [...marks].find(([, mark]) => mark === document.activeElement);
      const there = here && moved(here[0], event.key, places, rows, tools.stride);
      if (there === undefined) return;
      event.preventDefault();
      marks.get(there).focus();
    });
    return svg;
  }

  function shape(node, x, y, own, tools) {
    if (node === ANSWER) return draw("text", { x, y: y - 8, "text-anchor": "middle" }, tools.answer);
    const words = layerOf(node, tools.stride) === 0;
    const mark = words ? draw("rect", { x: x - 4.5, y: y - 4.5, width: 9, height: 9 })
      : draw("circle", { cx: x, cy: y, r: own.has(node) ? 6.5 : 4.5 });
    if (!own.has(node)) return mark;
    const label = draw("text", { x, y: y - 10, "text-anchor": "middle" }, String(node % tools.stride));
    return draw("g", {}, mark, label);
  }

  function spoken(node, own, { answer, stride }) {
    if (node === ANSWER) return `the answer, ${answer}`;
    const words = layerOf(node, stride) === 0 ? ", in layer 0" : "";
    return `${own.has(node) ? "knowledge neuron" : "driver"} ${nameOf(node, stride)}${words}`;
  }

  // The node that an arrow key leads to: along its row, or the nearest of the next row.
  function moved(node, key, places, rows, stride) {
    const layers = [...rows.keys()].sort((a, b) => a - b);
    const ordered = [...layers.map((layer) => rows.get(layer)), [ANSWER]]; // lowest first
    const at = node === ANSWER ? layers.length : layers.indexOf(layerOf(node, stride));
    const row = ordered[at], place = row.indexOf(node), last = row.length - 1;
    const along = { ArrowLeft: Math.max(place - 1, 0), ArrowRight: Math.min(place + 1, last), Home: 0, End: last }[key];
    if (along !== undefined) return row[along];
    const next = ordered[at + ({ ArrowUp: 1, ArrowDown: -1 }[key] ?? NaN)];
    const far = (one) => Math.abs(places.get(one).x - places.get(node).x);
    return next?.reduce((best, one) => (far(one) < far(best) ? one : best));
  }

  // What is known of one node, in words and as a table of its edges.
  function said(node, map, edges, tools) {
    if (node === ANSWER) {
      return [make("p", {}, "What the fact's neurons add to its probability."),
        edgeTable("Drivers of the answer", edges.filter((edge) => edge.to === ANSWER), tools)];
    }
    const own = map.nodes.find((one) => one.neuron === node);
    const parts = [make("p", {}, make("strong", {}, spoken(node, new Set(own ? [node] : []), tools)), ": ",
      tools.neuronLink(node))];
    if (own) {
      parts.push(make("p", {}, `Its activation is ${own.active}; it adds ${own.score} to P(answer). `,
        own.from.length ? `These ${counted(own.from.length, "driver")} hold ${(100 * own.share).toFixed(1)} % of all ` +
          `absolute scores below; ${counted(own.half, "driver")} would hold half.` : "Nothing below it was scored."));
      if (own.together) {
        const [predicted, measured] = own.together.map((change) => percent(change / (own.active || 1)));
        const random = own.random === null ? "" : `, as many random neurons ${percent(own.random / (own.active || 1))}`;
        parts.push(make("p", {}, `All that add to it off at once: ${measured} (predicted ${predicted})${random}.`));
      }
      if (own.from.length) parts.push(edgeTable("What drives it", edges.filter((edge) => edge.to === node), tools));
    }
    const driven = edges.filter((edge) => edge.from === node && edge.to !== ANSWER);
    if (driven.length) parts.push(edgeTable("What it drives", driven, tools));
    return parts;
  }

  // Edges with their numbers, each a row.
  function edgeTable(title, edges, { neuronLink }) {
    const heads = ["From", "To", "Adds", "Off: predicted", "Off: measured"].map((text, place) => [text, place > 1]);
    const shared = (share) => (share === undefined ? "–" : percent(share));
    const rows = edges.map((edge) => [neuronLink(edge.from), edge.to === ANSWER ? "P(answer)" : neuronLink(edge.to),
      edge.to === ANSWER ? `${edge.adds < 0 ? "−" : "+"}${Math.abs(edge.adds)}` : percent(edge.adds),
      shared(edge.predicted), shared(edge.off)]);
    return table(title, heads, rows, title);
  }

  return (map, tools) => {
    const edges = edgesOf(map);
    const told = make("div", { className: "told", "aria-live": "polite" },
      make("p", {}, "Choose a neuron: point at it, touch it, or move with the arrow keys."));
    const drawn = picture(map, edges, tools, (node) => told.replaceChildren(...said(node, map, edges, tools)));
    const every = make("details", {}, make("summary", {}, `All ${counted(edges.length, "edge")} as a table`));
    every.addEventListener("toggle", () => {
      if (every.childElementCount === 1) every.append(oneStop(edgeTable("All edges", edges, tools)));
    });
    return make("div", { className: "map" }, make("h4", {}, "What drives these neurons"),
      make("p", {}, make("small", {}, "Strongest neurons of lower layers by what they add to a neuron's " +
        `activation, mean of ${counted(map.wordings, "wording")}. Filled: the fact's own. Width: strength; ` +
        "dashed: takes away. Squares lie in layer 0, which follows words rather than facts. Off: the change " +
        "on the first wording with a driver switched off.")),
      make("div", { className: "inner", tabIndex: 0, role: "region", "aria-label": "Neuron map" }, drawn),
      told, every);
  };
})();
