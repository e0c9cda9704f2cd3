// Tables: sorting by a column, one metric at a time, and which baseline ratios are taken to.
"use strict";
(function () {
  function keyOf(row, column) {
    const cell = row.cells[column];
    return cell.dataset.value === undefined ? cell.textContent.trim() : Number(cell.dataset.value);
  }

  function compare(a, b) {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a === "number") return -1; // what has no figure comes last
    if (typeof b === "number") return 1;
    return a.localeCompare(b, undefined, { numeric: true });
  }

  function sort(header) {
    const table = header.closest("table");
    const column = header.cellIndex;
    const falling = header.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", "none");
    header.setAttribute("aria-sort", falling ? "descending" : "ascending");
    const body = table.tBodies[0];
    const keyed = Array.from(body.rows, (row) => ({ row, key: keyOf(row, column) }));
    keyed.sort((a, b) => {
      const without = (one) => typeof one.key === "string" && one.key === "–";
      if (without(a) !== without(b)) return without(a) ? 1 : -1;
      return falling ? -compare(a.key, b.key) : compare(a.key, b.key);
    });
    for (const one of keyed) body.append(one.row);
  }

  for (const button of document.querySelectorAll("th[aria-sort] button")) {
    button.addEventListener("click", () => sort(button.closest("th")));
  }

  for (const group of document.querySelectorAll(".tabbed")) {
    const buttons = Array.from(group.querySelectorAll(".tabs button"));
    const tabs = Array.from(group.querySelectorAll(".tab"));
    const show = (place) => {
      tabs.forEach((tab, i) => (tab.hidden = i !== place));
      buttons.forEach((one, i) => one.setAttribute("aria-pressed", String(i === place)));
    };
    buttons.forEach((button, place) => button.addEventListener("click", () => show(place)));
    if (!buttons.length) continue;
    group.classList.add("live");
    show(0);
  }

  const baseline = document.getElementById("baseline");
  if (baseline) {
    baseline.addEventListener("change", () => {
      for (const one of document.querySelectorAll("td .ratio")) {
        one.hidden = one.dataset.baseline !== baseline.value;
      }
    });
  }

  // A link to a clip opens it.
  function open() {
    const at = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (at && at.tagName === "DETAILS") {
      at.open = true;
      at.scrollIntoView();
    }
  }
  window.addEventListener("hashchange", open);
  open();
})();
