"use strict";
// Marks in the contents the section that is read; without this they are plain links.
(() => {
  const nav = document.querySelector("body > nav");
  const links = new Map([...nav.querySelectorAll("a")].map((link) => [link.hash.slice(1), link]));

  function mark(link) {
    nav.querySelector("[aria-current]")?.removeAttribute("aria-current");
    if (!link) return;
    link.setAttribute("aria-current", "true");
    if (nav.matches(":hover")) return; // no link moves away from the pointer
    nav.scrollLeft = link.offsetLeft - (nav.clientWidth - link.offsetWidth) / 2;
  }

  function watch(elements, options, entered) {
    const observer = new IntersectionObserver((entries) => {
      const last = entries.filter((entry) => entry.isIntersecting).pop();
      if (last) entered(last.target);
    }, options);
    for (const element of elements) observer.observe(element);
  }

  const atAFifth = { rootMargin: "-20% 0px -80% 0px" }; // a line in the window
  const sections = [...links.keys()].map((id) => document.getElementById(id));
  watch(sections, atAFifth, (section) => mark(links.get(section.id)));
  watch([document.querySelector("body > header")], {}, () => mark(null)); // at the head of the page
})();
