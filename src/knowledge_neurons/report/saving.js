"use strict";
// A button for each table that saves it as CSV and one for each figure that saves it as SVG.  Files
// are made here from what the page shows; nothing is asked for.
(() => {
  const INK = "#262626"; // of a figure outside the page, whose ink is the page's text colour

  function save(name, type, content) {
    const address = URL.createObjectURL(new Blob([content], { type }));
    Object.assign(document.createElement("a"), { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  }

  function button(text, of, act) {
    const made = Object.assign(document.createElement("button"), { type: "button", textContent: text });
    made.className = "save";
    made.setAttribute("aria-label", `${text}: ${of}`);
    made.addEventListener("click", act);
    return made;
  }

  // --- tables ---

  // Numbers as programs read them; text that a spreadsheet would take for a formula is none.
  function told(cell, text) {
    const line = text.replace(/\s+/g, " ").trim();
    if (cell.matches(".n")) return line.replaceAll("−", "-").replace(/(\d),(?=\d{3})/g, "$1");
    return line.replace(/^(?=[=+\-@].)/, "'");
  }

  const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

  // Drawn cells are left out, but for squares that stand for numbers.  What a group of rows is about,
  // and what stands small below a number, are columns of their own.
  function csv(table) {
    const rows = [...table.rows].map((row) => [...row.cells].filter((cell) => !cell.matches(".plot, .bar")));
    const small = (cell) => cell.querySelector("small")?.innerText ?? "";
    const doubled = new Set(rows.flatMap((cells) => [...cells.keys()].filter((i) => small(cells[i]))));
    const grouped = table.querySelector("[scope=rowgroup]") !== null;
    let group = "Quantity"; // the head of that column
    const lines = [];
    for (const cells of rows) {
      if (cells[0].scope === "rowgroup") { group = told(cells[0], cells[0].innerText); continue; }
      const values = cells.flatMap((cell, i) => {
        if (cell.matches(".cells")) return [...cell.children].map((one) => one.title.split(":")[0]).join(" ");
        const below = small(cell);
        const value = told(cell, cell.innerText.slice(0, cell.innerText.length - below.length));
        if (!doubled.has(i)) return value;
        return [value, cell.closest("thead") ? `${value}: detail` : told(cell, below)];
      });
      lines.push((grouped ? [group, ...values] : values).map(quoted).join(","));
    }
    return `\ufeff${lines.join("\r\n")}\r\n`; // the mark tells spreadsheets that it is UTF-8
  }

  // of: what the page shows of a fact, neuron or relation, which its tables are of.
  function offer(box, of = "") {
    if (box.nextElementSibling?.matches(".save")) return;
    const label = box.getAttribute("aria-label");
    const name = `${of} ${label}`.toLowerCase().match(/[a-z0-9]+/g).join("_").slice(0, 80);
    box.after(button("CSV", label, () => save(`${name}.csv`, "text/csv", csv(box.querySelector("table")))));
  }

  document.querySelectorAll("main .scroll").forEach((box) => offer(box));
  const shown = document.getElementById("fact"); // filled anew with each fact, neuron, relation
  if (shown) {
    const every = () => shown.querySelectorAll(".inner:has(table)")
      .forEach((box) => offer(box, shown.querySelector("h3")?.textContent ?? ""));
    new MutationObserver(every).observe(shown, { childList: true, subtree: true });
  }

  // --- figures ---

  function svg(drawn) {
    const copy = drawn.cloneNode(true);
    copy.style.color = INK;
    return new XMLSerializer().serializeToString(copy);
  }

  for (const drawing of document.querySelectorAll(".drawing[data-name]")) {
    const drawn = drawing.querySelector("svg");
    const act = () => save(`${drawing.dataset.name}.svg`, "image/svg+xml", svg(drawn));
    drawing.append(button("SVG", drawn.getAttribute("aria-label"), act));
  }
})();
