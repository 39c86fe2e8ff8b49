// What scaling and editing a fact's neurons did.

function effects(data, fact, known, chosen) {
  if (!fact.scored && !fact.neurons.length) return make("div"); // nothing to scale
  const title = "Suppressed and amplified";
  if (!known.own) {
    return part(title, make("p", {}, "Not measured: run 3_run_modify_activation.sh, then stage 8 again."));
  }
  const rows = chosen === null ? known.own : [known.own[chosen]];
  const [before, ...after] = [0, 1, 2].map((column) => mean(rows.map((row) => row[column])));
  const box = part(title, note("Probability of the right answer"), bars([
    ["as it is", before, chance(before), "before"],
    ...["neurons × 0", "neurons × 2"].map((name, place) =>
      [name, after[place], `${chance(after[place])} (${percent(after[place] / before - 1)})`, "after"]),
  ]));
  if (known.nats) {
    const [off, doubled] = known.nats.map((value) => signed(value, 2));
    box.append(make("p", {}, `In log-odds, mean over all its prompts: ×\u00a00: ${off} nats, ×\u00a02: ${doubled} nats.`));
  }
  if (known.other) box.append(otherAsked(data, known.other));
  return box;
}

function otherAsked(data, [id, number, before, off, doubled]) {
  const relation = data.relations.find((one) => one.id === id);
  const asked = relation ? factLink(data, data.facts[relation.start + number]) : `${id} fact ${number}`;
  return make("p", {}, "The same neurons, another fact asked: ", asked,
    `: ${chance(before)}; neurons ×\u00a00: ${chance(off)} (${percent(off / before - 1)}), ` +
      `×\u00a02: ${chance(doubled)} (${percent(doubled / before - 1)}).`);
}

// --- dose and response ---

const CURVES = { neurons: "knowledge neurons", baseline: "the baseline's" };

// The mean probability at every factor that stage 3 tried; nothing where it was not asked to.
function doseResponse(known) {
  if (!known.doses) return "";
  const { factors } = known.doses;
  const kinds = Object.keys(CURVES).filter((kind) => known.doses[kind]);
  const [width, height, left, foot] = [380, 160, 40, 26];
  const most = Math.max(...kinds.flatMap((kind) => known.doses[kind]));
  const [least, last] = [factors[0], factors[factors.length - 1]];
  const x = (factor) => left + ((width - left - 12) * (factor - least)) / (last - least || 1);
  const y = (p) => height - foot - ((height - foot - 12) * p) / (most || 1);
  const told = kinds.map((kind) => `${CURVES[kind]}: ` +
    factors.map((factor, place) => `${chance(known.doses[kind][place])} at × ${factor}`).join(", ")).join("; ");
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": told });
  const text = (at, where, anchor, said) => svg.append(draw("text", { x: at, y: where, "text-anchor": anchor }, said));
  svg.append(draw("line", { class: "row", x1: left, x2: width, y1: y(0), y2: y(0) }));
  for (const p of [0, most]) text(left - 8, y(p) + 4, "end", p ? chance(p) : "0");
  const named = factors.filter((_, place) => factors.length < 6 || place % 2 === 0); // as many as there is room for
  for (const factor of named) text(x(factor), height - 6, "middle", `× ${factor}`);
  for (const kind of kinds) {
    const points = factors.map((factor, place) => `${x(factor)},${y(known.doses[kind][place])}`);
    svg.append(draw("polyline", { class: kind, points: points.join(" ") }));
  }
  return part("Dose and response", note(`Mean probability of the right answer by the factor. Solid: ${
    kinds.map((kind) => CURVES[kind]).join("; dashed: ")}.`), make("div", { className: "dose" }, svg));
}

// --- edits ---

function editsOf(known) {
  if (!known.edits.length) return "";
  const change = ([before, after]) => `${chance(before)} → ${chance(after)}`;
  const rows = known.edits.map((one) => [`${one.old} → ${one.new}`, one.lambdas.join(" and "), change(one.p_new),
    change(one.p_old), `${one.first} of ${known.prompts.length}`]);
  return part("Edited", table("Edits of this fact",
    [["Answer", false], ["Lambdas", true], ["P(new)", true], ["P(old)", true], ["New one first in", true]], rows),
  note("Means over its prompts, before and after its neurons' value slots were rewritten."));
}
