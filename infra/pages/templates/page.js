"use strict";
// Readers search, sort and group rows, and enlarge pictures. Without scripts, all rows and pictures are there.
const FEW = 12;  // rows that need no tools
const ENGLISH = { group: "Group", ungrouped: "not grouped", certainty: "by certainty", letter: "by first letter", sort: "Sort",
  listed: "as listed", all: "{all} in all", some: "{some} of {all}", enlarge: "Enlarge", close: "Close" };

// The texts for an element: pages in other languages bring their own.
const textsOf = element => {
  const texts = { ...ENGLISH, ...JSON.parse(element.closest("[data-texts]")?.dataset.texts || "{}") };
  return (name, values = {}) => texts[name]?.replace(/\{(\w+)\}/g, (_, key) => values[key]);
};

const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

// The rows of a list or table body, in the order that the page was written in.
function tools(rows) {
  const all = [...rows.children];
  if (all.length <= FEW) return;
  const text = textsOf(rows);
  const search = make("input", { type: "search", autocomplete: "off" });
  const grouping = make("select", {}, make("option", { value: "" }, text("ungrouped")));
  for (const [key, title] of [["group", text("certainty")], ["initial", text("letter")]]) {
    grouping.append(make("option", { value: key }, title));
  }
  const count = make("span", { role: "status" });
  const bar = make("div", { className: "tools" },
    make("label", {}, `${text("find") || `Find ${rows.dataset.rows}`} `, search), make("label", {}, `${text("group")} `, grouping), count);
  let order = all;

  const key = row => grouping.value === "group" ? row.dataset.group
    : row.dataset.name.trim().charAt(0).toLocaleUpperCase() || "#";
  function show() {
    const wanted = search.value.trim().toLocaleLowerCase();
    const shown = order.filter(row => row.dataset.name.toLocaleLowerCase().includes(wanted));
    const groups = new Map();
    for (const row of shown) {
      const title = grouping.value ? key(row) : "";
      groups.set(title, [...(groups.get(title) || []), row]);
    }
    const titles = [...groups.keys()];
    if (grouping.value === "initial") titles.sort((a, b) => a.localeCompare(b));
    rows.replaceChildren(...titles.flatMap(title => [...(title ? [heading(title, groups.get(title).length)] : []),
      ...groups.get(title)]));
    count.textContent = text(shown.length === all.length ? "all" : "some", { some: shown.length, all: all.length });
  }
  function heading(title, members) {
    const text = `${title} (${members})`;
    if (rows.tagName !== "TBODY") return make("li", { className: "group" }, text);
    const cell = make("th", { colSpan: all[0].cells.length, scope: "rowgroup" }, text);
    return make("tr", { className: "group" }, cell);
  }

  const table = rows.closest("table");
  const sort = sorted => { order = sorted(all); show(); };
  if (table) sortable(table, bar, sort);
  else if (rows.dataset.orders) orders(rows, bar, sort);
  (table || rows.closest("figure")).before(bar);
  search.addEventListener("input", show);
  grouping.addEventListener("change", show);
  show();
}

// A list has its orders by name: the first is that of the names, and the others are descending by the values of the rows.
function orders(rows, bar, sort) {
  const value = (row, place) => Number(row.dataset.values.split("|")[place - 1]);
  bar.firstChild.after(make("label", {}, ...choice(rows, rows.dataset.orders.split("|"), place => sort(all => [...all].sort(
    (a, b) => place === 0 ? a.dataset.name.localeCompare(b.dataset.name) : value(b, place) - value(a, place))), sort)));
}

// A list of orders, by place, that begins with the one that the page was written in.
function choice(element, titles, chosen, sort) {
  const text = textsOf(element);
  const list = make("select", {}, make("option", { value: "" }, text("listed")));
  list.append(...titles.map((title, place) => make("option", { value: place }, title)));
  list.addEventListener("change", () => list.value === "" ? sort(all => all) : chosen(Number(list.value)));
  return [`${text("sort")} `, list];
}

// Headers become buttons that sort by their column: numbers descending at first, and names ascending. A narrow page has
// no headers; a list of them takes their place.
function sortable(table, bar, sort) {
  const headers = [...table.tHead.rows[0].cells];
  bar.firstChild.after(make("label", { className: "narrow" }, ...choice(table, headers.map(header => header.textContent), column => {
    headers[column].removeAttribute("aria-sort");
    headers[column].querySelector("button").click();
  }, sort)));
  headers.forEach((header, column) => {
    const button = make("button", { type: "button" }, ...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const before = header.getAttribute("aria-sort");
      const up = before ? before === "descending" : column === 0;
      for (const other of headers) other.removeAttribute("aria-sort");
      header.setAttribute("aria-sort", up ? "ascending" : "descending");
      const value = row => row.cells[column].dataset.value ?? row.dataset.name;
      const compare = column === 0 ? (a, b) => value(a).localeCompare(value(b)) : (a, b) => value(a) - value(b);
      sort(all => [...all].sort((a, b) => up ? compare(a, b) : compare(b, a)));
    });
  });
}

// A picture opens at the largest whole multiple of its own size that fits the window, or at its own size to scroll in.
function opens(image) {
  const text = textsOf(image);
  const button = make("button", { type: "button", className: "opens", title: text("enlarge") });
  image.before(button);
  button.append(image);
  button.addEventListener("click", () => {
    const fits = Math.min(innerWidth * 0.95 / image.naturalWidth, innerHeight * 0.95 / image.naturalHeight);
    const factor = Math.max(1, Math.floor(fits), Math.ceil(2 * image.width / image.naturalWidth));
    const large = make("img", { src: image.src, alt: image.alt, className: "pixels", width: factor * image.naturalWidth });
    const close = make("button", { type: "button" }, text("close"));
    const dialog = make("dialog", { className: "large" }, make("p", {}, close), large);
    dialog.setAttribute("aria-label", image.alt);
    dialog.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
  });
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("[data-rows]").forEach(tools);
  document.querySelectorAll("img[data-opens]").forEach(opens);
});
