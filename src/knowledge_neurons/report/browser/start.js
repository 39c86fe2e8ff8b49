// The browser: what an address is of is shown; the list and the search lead there.

async function start() {
  const byId = (id) => document.getElementById(id);
  const controls = Object.fromEntries(["relation", "search", "list", "more", "count"].map((id) => [id, byId(id)]));
  const data = dataOf(await unpack(byId("index")));
  const list = listOf(data, controls), article = byId("fact");
  let current = null;

  function viewOf(shown) {
    if (shown.fact) return factView(data, shown, list.around(shown.fact), chosen);
    if (shown.compared) return relationsView(data, shown.compared, go);
    return neuronView(data, shown.neuron);
  }

  // The prompt that is looked at is part of the address, without a step to go back.
  function chosen(prompt) {
    current = { ...current, prompt };
    history.replaceState(null, "", addressOf(data, current));
  }

  function go(shown) {
    location.hash = addressOf(data, shown);
  }

  async function show(shown) {
    current = shown;
    if (shown.fact) list.bring(shown.fact);
    list.mark(shown);
    const parts = await viewOf(shown);
    if (current === shown) article.replaceChildren(...parts); // else another one was asked for meanwhile
    return current === shown;
  }

  async function follow() {
    const shown = addressed(data, location.hash) || (location.hash === "" && first);
    if (!shown) return; // another part of the page
    const fromPage = document.activeElement?.closest("#fact");
    if (!await show(shown)) return;
    const { top } = article.getBoundingClientRect();
    if (top < 0 || top > 0.6 * innerHeight) article.scrollIntoView();
    if (fromPage) article.querySelector("h3").focus({ preventScroll: true });
    byId("shown").textContent = `Shown: ${article.querySelector("h3").textContent}`;
  }

  const options = data.relations.map(({ id, label, names }, place) =>
    make("option", { value: String(place) }, `${id} ${label} (${names.length})`));
  controls.relation.append(make("option", { value: "" }, `all relations (${data.facts.length})`), ...options);
  const asked = addressed(data, location.hash);
  const first = asked || { fact: data.facts.find((fact) => fact.neurons.length) || data.facts[0], prompt: null };
  controls.relation.value = String(first.fact?.place ?? first.compared?.[0] ?? "");
  byId("browser").hidden = false;
  controls.relation.addEventListener("change", list.fill);
  controls.search.addEventListener("input", list.fill);
  controls.search.addEventListener("focus", () => controls.search.select());
  byId("browser").querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  byId("browser").querySelector(".list").addEventListener("keydown", list.move);
  controls.search.addEventListener("keydown", (event) => { if (event.key === "ArrowDown") list.move(event); });
  controls.more.addEventListener("click", list.showMore);
  addEventListener("hashchange", follow);
  list.fill();
  await show(first);
  if (asked) byId("facts").scrollIntoView();
}

start();
