// The list of what the search finds, by click and by keyboard.  It is one stop of the Tab key: the
// entry that has or had the focus, else the one that is shown, else the first.

const AT_ONCE = 200; // listed at a time

// controls: the elements { relation, search, list, more, count }.
function listOf(data, controls) {
  let entries = [], shown = 0, turn = 0, marked = null;
  const place = () => (controls.relation.value === "" ? null : Number(controls.relation.value));

  async function fill() {
    const mine = ++turn, text = controls.search.value;
    entries = search(data, text, place());
    controls.list.replaceChildren();
    controls.list.scrollTop = 0;
    shown = 0;
    showMore();
    if (text.trim().length < FEWEST_LETTERS) return;
    const known = new Set(entries.map((one) => one.fact));
    for (const one of place() === null ? data.relations.keys() : [place()]) {
      const texts = await data.texts(one);
      if (mine !== turn) return; // something else is asked for by now
      const more = promptsFound(data, text, one, texts, known);
      entries = [...entries, ...more];
      if (more.length && shown < AT_ONCE) showMore(AT_ONCE - shown);
      else tell();
    }
  }

  function showMore(count = AT_ONCE) {
    const next = entries.slice(shown, shown + count);
    shown += next.length;
    controls.list.append(...next.map((one) => make("li", {}, entry(one))));
    tell();
    mark(marked);
  }

  function tell() {
    controls.more.hidden = shown === entries.length;
    controls.count.textContent = tally(entries) + (shown < entries.length ? `, ${shown} listed` : "");
  }

  function entry(one) {
    const href = addressOf(data, one);
    const under = (text, small) => make("a", { href }, text, make("small", {}, small));
    if ("neuron" in one) {
      const facts = data.owners.get(one.neuron)?.length ?? 0;
      return under(`Neuron ${nameOf(one.neuron, data.stride)}`, `of ${counted(facts, "fact")}`);
    }
    const { id, label, names } = data.relations[one.fact ? one.fact.place : one.compared[0]];
    if (one.compared) return under(`${id} ${label}`, `relation of ${counted(names.length, "fact")}`);
    if ("prompt" in one) return under(one.text, `prompt of ${one.fact.name} · ${id}`);
    const relation = place() === null ? ` · ${id} ${label}` : "";
    return under(one.fact.name || "(no prompts)", `${one.fact.answer || "left out"}${relation}`);
  }

  // Mark what is shown; a prompt that is not listed itself by its fact.
  function mark(chosen) {
    marked = chosen;
    controls.list.querySelector("[aria-current]")?.removeAttribute("aria-current");
    const ways = chosen ? [addressOf(data, chosen), ...(chosen.fact ? [addressOf(data, { fact: chosen.fact })] : [])] : [];
    const anchor = ways.map((href) => controls.list.querySelector(`a[href="${CSS.escape(href)}"]`)).find(Boolean);
    stopAt(controls.list, controls.list.querySelector("a:focus") ?? anchor ?? controls.list.querySelector("a"));
    if (!anchor) return;
    anchor.setAttribute("aria-current", "true");
    const { top, bottom } = anchor.getBoundingClientRect();
    const box = controls.list.getBoundingClientRect();
    if (top < box.top || bottom > box.bottom) controls.list.scrollTop += top - box.top - 40;
  }

  function move(event) {
    const anchors = [...controls.list.querySelectorAll("a")];
    const to = ledTo(anchors, event.key);
    if (to === undefined || !anchors.length) return;
    event.preventDefault();
    (to < 0 ? controls.search : anchors[to]).focus();
  }

  // A fact that is not listed takes the list along to its relation.
  function bring(fact) {
    if (entries.some((one) => one.fact === fact)) return;
    controls.relation.value = String(fact.place);
    controls.search.value = "";
    fill();
  }

  // The facts listed before and after one.
  function around(fact) {
    const facts = entries.filter((one) => one.fact && !("prompt" in one)).map((one) => one.fact);
    const here = facts.indexOf(fact);
    return here < 0 ? [] : [facts[here - 1], facts[here + 1]];
  }

  controls.list.addEventListener("focusin", (event) => stopAt(controls.list, event.target));
  return { fill, showMore: () => showMore(), mark, move, bring, around };
}
