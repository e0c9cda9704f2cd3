// Pictures of a clip: two of them, one over the other with a wipe between; values under the pointer.
"use strict";
(function () {
  const waiting = {}; // by key: what to do with the values when their script has run
  const stacks = {}; // by key: pixels of all planes, one below the other

  window.dvmValues = function (key, source) {
    const image = new Image();
    image.onload = () => {
      const canvas = document.createElement("canvas");
      canvas.width = image.naturalWidth;
      canvas.height = image.naturalHeight;
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(image, 0, 0);
      stacks[key] = context.getImageData(0, 0, canvas.width, canvas.height);
      (waiting[key] || []).forEach((done) => done());
      delete waiting[key];
    };
    image.src = source;
  };

  function fetchValues(key, path, done) {
    if (stacks[key]) return done();
    if (waiting[key]) return void waiting[key].push(done);
    waiting[key] = [done];
    const script = document.createElement("script");
    script.src = path;
    document.body.append(script);
  }

  function begin(viewer) {
    const told = JSON.parse(viewer.dataset.viewer);
    const find = (what) => viewer.querySelector(what);
    const stage = find(".stage");
    const pictures = find(".pictures");
    const under = find(".under");
    const over = find(".over");
    const left = find(".left");
    const right = find(".right");
    const wipe = find(".wipe");
    const readout = find(".readout");
    const [width, height] = told.size;
    let frame = told.frames.find((one) => one.number === told.start);
    let zoom = told.zoom;
    let sweep = null;
    viewer.classList.add("wiping");

    function showFrame(number) {
      const next = told.frames.reduce((a, b) =>
        Math.abs(b.number - number) < Math.abs(a.number - number) ? b : a);
      frame = next;
      for (const button of viewer.querySelectorAll("[data-frame]")) {
        button.setAttribute("aria-pressed", String(Number(button.dataset.frame) === frame.number));
      }
      show();
      if (next.number !== number) {
        say([`No pictures of frame ${number} are kept; this is frame ${next.number}, the nearest.`]);
      }
    }

    function show() {
      under.src = frame.pictures[left.value];
      over.src = frame.pictures[right.value];
      under.alt = `${left.value}, frame ${frame.number}`;
      over.alt = `${right.value}, frame ${frame.number}`;
      figures();
    }

    function figures() {
      const table = document.createElement("table");
      table.className = "figures";
      const head = table.createTHead().insertRow();
      for (const text of [`frame ${frame.number}`, ...told.metrics]) {
        const cell = document.createElement("th");
        cell.scope = "col";
        cell.textContent = text;
        head.append(cell);
      }
      const body = table.createTBody();
      for (const [method, texts] of frame.figures) {
        const row = body.insertRow();
        const name = document.createElement("th");
        name.scope = "row";
        name.textContent = method;
        row.append(name);
        for (const text of texts) row.insertCell().textContent = text;
      }
      find(".framefigures").replaceChildren(table);
    }

    // One pixel of a picture is `zoom` pixels of the screen, whatever the browser's scale is.
    function size() {
      const scale = zoom / (window.devicePixelRatio || 1);
      for (const image of [under, over]) {
        image.style.width = `${width * scale}px`;
        image.style.height = `${height * scale}px`;
      }
      for (const button of viewer.querySelectorAll("[data-zoom]")) {
        button.setAttribute("aria-pressed", String(Number(button.dataset.zoom) === zoom));
      }
      if (sweep) placeSweep(scale);
      for (const image of viewer.querySelectorAll(".striprow img")) {
        const rows = image.getAttribute("height");
        image.style.width = `${image.getAttribute("width") / (window.devicePixelRatio || 1)}px`;
        image.style.height = `${rows * Math.max(2, Math.min(12, Math.round(160 / rows)))}px`;
      }
    }

    function placeSweep(scale) {
      const at = (told.strips.place + 0.5) * scale - 5;
      sweep.style[told.strips.across ? "top" : "left"] = `${at}px`;
      sweep.style[told.strips.across ? "left" : "top"] = "-11px";
    }

    function setWipe(per_cent) {
      wipe.value = per_cent;
      pictures.style.setProperty("--wipe", `${wipe.value}%`);
    }

    function say(parts) {
      readout.replaceChildren();
      for (const part of parts) {
        const span = document.createElement("span");
        span.textContent = part;
        readout.append(span);
      }
    }

    function read(event) {
      const box = under.getBoundingClientRect();
      const x = Math.floor(((event.clientX - box.left) / box.width) * width);
      const y = Math.floor(((event.clientY - box.top) / box.height) * height);
      if (x < 0 || y < 0 || x >= width || y >= height) return;
      const [now, key] = [frame, `${told.id}/${frame.number}`];
      fetchValues(key, now.values, () => {
        if (now !== frame) return;
        const stack = stacks[key];
        const parts = [`x ${now.origin[0] + x}, y ${now.origin[1] + y}`];
        told.planes.forEach((plane, k) => {
          const value = stack.data[4 * ((y + k * height) * stack.width + x)];
          parts.push(`${plane} ${plane === "trimap" ? value : (value / 255).toFixed(3)}`);
        });
        say(parts);
      });
    }

    function step(by) {
      const at = told.frames.indexOf(frame) + by;
      if (at >= 0 && at < told.frames.length) showFrame(told.frames[at].number);
    }

    function swap() {
      [left.value, right.value] = [right.value, left.value];
      show();
    }

    for (const button of viewer.querySelectorAll("[data-frame]")) {
      button.addEventListener("click", () => showFrame(Number(button.dataset.frame)));
    }
    for (const button of viewer.querySelectorAll("[data-zoom]")) {
      button.addEventListener("click", () => {
        zoom = Number(button.dataset.zoom);
        size();
      });
    }
    left.addEventListener("change", show);
    right.addEventListener("change", show);
    find(".swap").addEventListener("click", swap);
    wipe.addEventListener("input", () => setWipe(wipe.value));
    pictures.addEventListener("pointerdown", (event) => {
      pictures.setPointerCapture(event.pointerId);
      drag(event);
      stage.focus({ preventScroll: true });
    });
    pictures.addEventListener("pointermove", (event) => {
      read(event);
      if (pictures.hasPointerCapture(event.pointerId)) drag(event);
    });
    function drag(event) {
      const box = under.getBoundingClientRect();
      setWipe(Math.max(0, Math.min(100, (100 * (event.clientX - box.left)) / box.width)));
    }
    stage.addEventListener("keydown", (event) => {
      const keys = {
        ArrowLeft: () => step(-1),
        ArrowRight: () => step(1),
        ",": () => setWipe(Number(wipe.value) - 2),
        ".": () => setWipe(Number(wipe.value) + 2),
        x: swap,
        1: () => find('[data-zoom="1"]').click(),
        2: () => find('[data-zoom="2"]').click(),
        4: () => find('[data-zoom="4"]').click(),
      };
      const does = keys[event.key.toLowerCase()] || keys[event.key];
      if (!does || event.ctrlKey || event.metaKey || event.altKey) return;
      does();
      event.preventDefault();
    });
    viewer.closest(".clip").addEventListener("dvm-frame", (event) => {
      showFrame(event.detail);
      stage.scrollIntoView({ block: "nearest" });
    });
    for (const image of viewer.querySelectorAll(".striprow img")) {
      image.addEventListener("click", (event) => {
        const box = image.getBoundingClientRect();
        const rows = told.strips.frames.length;
        const row = Math.floor(((event.clientY - box.top) / box.height) * rows);
        showFrame(told.strips.frames[Math.max(0, Math.min(rows - 1, row))]);
      });
    }
    if (told.strips) {
      sweep = document.createElement("span");
      sweep.className = "sweep";
      sweep.textContent = told.strips.across ? "▶" : "▼";
      pictures.append(sweep);
    }
    window.addEventListener("resize", size); // the browser's scale may have changed
    size();
    setWipe(wipe.value);
    show();
  }

  for (const viewer of document.querySelectorAll(".viewer")) begin(viewer);
})();
