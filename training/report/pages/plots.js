// Plots: values under the pointer or, by arrow keys, of a frame; lines shown and hidden; frames chosen.
"use strict";
(function () {

  function niceTicks(most, count) {
    if (!(most > 0)) return [0, 1];
    const rough = most / count;
    const power = Math.pow(10, Math.floor(Math.log10(rough)));
    const step = [1, 2, 2.5, 5, 10].find((m) => m * power >= rough * (1 - 1e-9)) * power;
    const ticks = [];
    for (let i = 0; i <= Math.ceil(most / step - 1e-9); i++) ticks.push(step * i);
    return ticks;
  }

  function told(value) {
    if (value === null) return "–";
    return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(value >= 0.1 ? 2 : 3);
  }

  function begin(figure) {
    const data = JSON.parse(figure.dataset.plot);
    const svg = figure.querySelector("svg");
    const values = figure.querySelector(".values");
    const [left, right, top, foot] = data.box;
    const first = data.xs[0];
    const span = Math.max(data.xs[data.xs.length - 1] - first, 1);
    const x = (frame) => left + ((right - left) * (frame - first)) / span;
    const cursor = element("path", { stroke: "#f0f0f0", "stroke-width": "1", display: "none" });
    svg.append(cursor);
    let place = -1;

    function element(name, attributes) {
      const made = document.createElementNS(svg.namespaceURI, name);
      for (const key in attributes) made.setAttribute(key, attributes[key]);
      return made;
    }

    function draw() {
      const shown = data.lines.filter((line) => line.shown);
      const most = Math.max(0, ...shown.flatMap((line) => line.values.filter((v) => v !== null)));
      const ticks = niceTicks(most, 4);
      const y = (value) => foot - ((foot - top) * value) / ticks[ticks.length - 1];
      const grid = svg.querySelector(".grid");
      grid.replaceChildren();
      for (const tick of ticks) {
        grid.append(element("path", { d: `M${left} ${y(tick)}H${right}`, stroke: "#484848" }));
        const text = element("text", {
          x: left - 6, y: y(tick) + 4, fill: "#9a9a9a", "font-family": "sans-serif",
          "font-size": 11, "text-anchor": "end",
        });
        text.textContent = String(Number(tick.toPrecision(6)));
        grid.append(text);
      }
      data.lines.forEach((line, i) => {
        const path = svg.querySelector(`.line[data-line="${i}"]`);
        if (!line.shown) return path.setAttribute("display", "none");
        path.removeAttribute("display");
        let d = "";
        let before = false;
        line.values.forEach((value, at) => {
          if (value !== null) {
            d += `${before ? "L" : "M"}${x(data.xs[at]).toFixed(2)} ${y(value).toFixed(2)}`;
            if (!before && (line.values[at + 1] ?? null) === null) d += "h0.01";
          }
          before = value !== null;
        });
        path.setAttribute("d", d);
      });
    }

    function point(at) {
      place = Math.max(0, Math.min(data.xs.length - 1, at));
      const at_x = x(data.xs[place]);
      cursor.setAttribute("d", `M${at_x} ${top}V${foot}`);
      cursor.removeAttribute("display");
      values.replaceChildren();
      const parts = [`${data.label} ${data.xs[place]}`];
      for (const line of data.lines) if (line.shown) parts.push(`${line.name} ${told(line.values[place])}`);
      for (const part of parts) {
        const span = document.createElement("span");
        span.textContent = part;
        values.append(span);
      }
    }

    function under(event) {
      const box = svg.getBoundingClientRect();
      const at = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
      const frame = first + ((at - left) / (right - left)) * span;
      let best = 0;
      data.xs.forEach((one, i) => {
        if (Math.abs(one - frame) < Math.abs(data.xs[best] - frame)) best = i;
      });
      return best;
    }

    function choose() {
      if (place < 0) return;
      figure.dispatchEvent(new CustomEvent("dvm-frame", { bubbles: true, detail: data.xs[place] }));
    }

    figure.dvmShow = (name, shown) => {
      for (const line of data.lines) if (line.name === name) line.shown = shown;
      draw();
    };
    svg.addEventListener("pointermove", (event) => point(under(event)));
    svg.addEventListener("click", (event) => {
      point(under(event));
      choose();
    });
    figure.addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 };
      if (event.key in steps) point(place < 0 ? 0 : place + steps[event.key]);
      else if (event.key === "Home") point(0);
      else if (event.key === "End") point(data.xs.length - 1);
      else if (event.key === "Enter" && place >= 0) choose();
      else return;
      event.preventDefault();
    });
  }

  for (const figure of document.querySelectorAll(".plot")) begin(figure);
  for (const box of document.querySelectorAll(".legend input")) {
    const apply = () => {
      for (const figure of box.closest(".plots").querySelectorAll(".plot")) {
        figure.dvmShow(box.dataset.name, box.checked);
      }
    };
    box.addEventListener("change", apply);
    if (box.checked !== box.defaultChecked) apply(); // a page that is loaded again keeps its boxes
  }
})();
