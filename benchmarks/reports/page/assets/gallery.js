"use strict";
// The gallery: one slice of every strip at a time, and three planes through a volume.
(() => {
  const find = (name) => document.getElementById(name);
  const make = (name, words, properties) => Object.assign(document.createElement(name), { textContent: words ?? "" }, properties);

  // ---- slices of the gallery
  const scroll = (slider) => {
    const number = Number(slider.value);
    const article = slider.closest(".case");
    article.style.setProperty("--i", number);
    article.querySelector(".slice-number").textContent = slider.dataset.slices.split(" ")[number];
  };

  // ---- three planes through a volume of the gallery
  const picture = (address) => new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = reject;
    image.src = address;
  });
  const lastAddress = (words) => addressOf(words.slice(words.lastIndexOf("url(")));
  const addressOf = (word) => word.trim().replace(/^url\(["']?/, "").replace(/["']?\)$/, "");
  const stripOf = async (address, depth) => {
    const image = await picture(address);
    const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    return { width: image.width, height: image.height / depth, depth, pixels: context.getImageData(0, 0, image.width, image.height).data };
  };
  const axesOf = { axial: (u, v, at) => [u, v, at.z], coronal: (u, v, at) => [u, at.y, v], sagittal: (u, v, at) => [at.x, u, v] };
  const sizeOf = { axial: (s) => [s.width, s.height], coronal: (s) => [s.width, s.depth], sagittal: (s) => [s.height, s.depth] };
  const crossing = (plane, s, at) => ({ axial: [at.x, at.y], coronal: [at.x, s.depth - 1 - at.z], sagittal: [at.y, s.depth - 1 - at.z] })[plane];
  const drawPlane = (canvas, plane, strip, at, spacing) => {
    const [wide, high] = sizeOf[plane](strip);
    const tall = plane === "axial" ? 1 : spacing;
    const small = new ImageData(wide, high);
    for (let v = 0; v < high; v += 1) {
      for (let u = 0; u < wide; u += 1) {
        const row = plane === "axial" ? v : high - 1 - v;
        const [x, y, z] = axesOf[plane](u, row, at);
        const from = 4 * ((z * strip.height + y) * strip.width + x);
        const to = 4 * (v * wide + u);
        for (let band = 0; band < 4; band += 1) small.data[to + band] = strip.pixels[from + band];
      }
    }
    const flat = Object.assign(document.createElement("canvas"), { width: wide, height: high });
    flat.getContext("2d").putImageData(small, 0, 0);
    const scale = 200 / strip.width;
    Object.assign(canvas, { width: Math.round(wide * scale), height: Math.round(high * tall * scale) });
    const context = canvas.getContext("2d");
    context.drawImage(flat, 0, 0, canvas.width, canvas.height);
    const [u, v] = crossing(plane, strip, at);
    context.strokeStyle = "#56b4e9";
    context.lineWidth = 1;
    const [cx, cy] = [Math.round((u + 0.5) * scale) + 0.5, Math.round((v + 0.5) * tall * scale) + 0.5];
    context.beginPath();
    context.moveTo(cx, 0); context.lineTo(cx, canvas.height);
    context.moveTo(0, cy); context.lineTo(canvas.width, cy);
    context.stroke();
  };
  const openPlanes = async (article) => {
    const slices = article.querySelector("input.slice").dataset.slices.split(" ").map(Number);
    const depth = slices.length;
    const spacing = depth > 1 ? (slices[depth - 1] - slices[0]) / (depth - 1) : 1;
    const style = getComputedStyle(article);
    const sources = [["scan", addressOf(style.getPropertyValue("--scan"))]];
    for (const tile of article.querySelectorAll(".tile")) {
      const name = tile.querySelector("h4").textContent;
      for (const view of tile.querySelectorAll(".slice-view[data-strip]")) sources.push([`${name}: ${view.dataset.strip}`, lastAddress(view.style.backgroundImage)]);
    }
    const choice = make("select", "", { id: "planes-of" });
    sources.forEach(([name], place) => choice.append(make("option", name, { value: place })));
    const label = make("label", "Shown ");
    label.append(choice);
    const planes = Object.fromEntries(Object.keys(axesOf).map((plane) => [plane, make("canvas", "", { className: "plane", title: plane, tabIndex: 0 })]));
    let strip = await stripOf(sources[0][1], depth);
    const at = { x: Math.floor(strip.width / 2), y: Math.floor(strip.height / 2), z: Number(article.querySelector("input.slice").value) };
    const draw = () => Object.entries(planes).forEach(([plane, canvas]) => drawPlane(canvas, plane, strip, at, spacing));
    choice.addEventListener("change", async () => { strip = await stripOf(sources[Number(choice.value)][1], depth); draw(); });
    const moveTo = (plane, u, v) => {
      const [wide, high] = sizeOf[plane](strip);
      const [across, down] = [Math.max(0, Math.min(wide - 1, u)), Math.max(0, Math.min(high - 1, v))];
      if (plane === "axial") Object.assign(at, { x: across, y: down });
      if (plane === "coronal") Object.assign(at, { x: across, z: high - 1 - down });
      if (plane === "sagittal") Object.assign(at, { y: across, z: high - 1 - down });
      draw();
    };
    for (const [plane, canvas] of Object.entries(planes)) {
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${plane} plane; arrow keys move the other two`);
      canvas.addEventListener("click", (event) => {
        const box = canvas.getBoundingClientRect();
        const [wide, high] = sizeOf[plane](strip);
        moveTo(plane, Math.floor(((event.clientX - box.left) / box.width) * wide), Math.floor(((event.clientY - box.top) / box.height) * high));
      });
      canvas.addEventListener("keydown", (event) => {
        const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
        if (!step) return;
        event.preventDefault();
        const [u, v] = crossing(plane, strip, at);
        moveTo(plane, u + step[0], v + step[1]);
      });
    }
    const views = make("div", "", { className: "planes-row" });
    views.append(...Object.values(planes));
    const note = make("p", `Click into a plane, or press arrow keys in it, to move the others. Slices ${slices[0]} to ${slices[depth - 1]}${spacing > 1 ? `, each stands for ${spacing.toFixed(1)}` : ""}.`);
    find("volume-body").replaceChildren(make("h3", article.querySelector("h3").textContent, { id: "volume-name" }), label, views, note);
    draw();
    find("volume").showModal();
  };

  // ---- begin
  document.querySelectorAll("button.planes").forEach((button) => button.addEventListener("click", () => openPlanes(button.closest(".case"))));
  document.querySelectorAll("input.slice").forEach((slider) => slider.addEventListener("input", () => scroll(slider)));
})();
