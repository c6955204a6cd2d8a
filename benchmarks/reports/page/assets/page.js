"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const find = (name) => document.getElementById(name);
  const make = (name, words, properties) => Object.assign(document.createElement(name), { textContent: words ?? "" }, properties);
  const shown = (value) => (value === null || value === undefined ? "–" : String(value));

  // ---- tables are sorted by their headings; what has no number stays at the foot
  const valueOf = (body, column, kind) => {
    const cell = body.rows[0].cells[column];
    if (kind !== "number") return cell.textContent.trim().toLowerCase();
    const word = cell.dataset.value ?? cell.textContent;
    const number = word.trim() === "" ? NaN : Number(word.replace("−", "-"));
    return number;
  };
  const isNumeric = (table, column) => {
    const cells = [...table.tBodies].map((body) => valueOf(body, column, "number"));
    return cells.some((value) => !Number.isNaN(value));
  };
  const sortBy = (table, head, column) => {
    const kind = head.dataset.sort ?? (isNumeric(table, column) ? "number" : "text");
    const before = head.getAttribute("aria-sort");
    const first = head.dataset.first === "down" ? "descending" : "ascending";
    const other = first === "ascending" ? "descending" : "ascending";
    const order = before === first ? other : first;
    const sign = order === "ascending" ? 1 : -1;
    const bodies = [...table.tBodies].map((body, place) => ({ body, place, value: valueOf(body, column, kind) }));
    const missing = (value) => kind === "number" && Number.isNaN(value);
    bodies.sort((a, b) => {
      if (missing(a.value) || missing(b.value)) return missing(a.value) - missing(b.value) || a.place - b.place;
      return a.value < b.value ? -sign : a.value > b.value ? sign : a.place - b.place;
    });
    table.append(...bodies.map((one) => one.body));
    for (const each of head.closest("thead").querySelectorAll("[aria-sort]")) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order);
  };
  const makeSortable = (table) => {
    const heads = table.tHead.rows[table.tHead.rows.length - 1].cells;
    [...heads].forEach((head, column) => {
      const button = make("button", "", { type: "button", title: "sort by this column" });
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => sortBy(table, head, column));
    });
  };

  // ---- rows of the tables by a word of their names, and by whether they compete
  const filterTables = () => {
    const word = find("filter-text").value.trim().toLowerCase();
    const published = find("show-published").checked;
    const controls = find("show-controls").checked;
    let rows = 0;
    for (const body of document.querySelectorAll("table.numbers > tbody")) {
      const named = !word || body.rows[0].cells[0].textContent.toLowerCase().includes(word);
      for (const row of body.rows) {
        const kind = row.className;
        row.hidden = !named || (!published && (kind === "paper" || kind === "elsewhere")) || (!controls && kind === "control");
        rows += row.hidden ? 0 : 1;
      }
    }
    find("filter-count").textContent = `${rows} lines`;
  };

  // ---- places in a figure
  const plotOf = (name) => document.querySelector(`svg[data-plot="${CSS.escape(name)}"]`);
  const scaleOf = (plot, axis) => {
    const [low, high, log, start, end] = JSON.parse(plot.dataset.scale)[axis];
    const at = (value) => (log ? Math.log10(value) : value);
    return (value) => start + Math.min(1, Math.max(0, (at(value) - at(low)) / (at(high) - at(low)))) * (end - start);
  };
  const near = (value) => Math.round(value * 10) / 10;
  const dots = (places) => places.map(([x, y]) => `M${near(x)} ${near(y)}h0`).join("");
  const scoreOf = (set, name) => set.scores.find((score) => score.name === name) ?? set.scores[0];
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

  // ---- two rows, joined volume by volume
  const drawPair = (set, a, b) => {
    const plot = plotOf(`pair-${set.key}`);
    if (!plot) return "";
    const up = scaleOf(plot, "y");
    const [left, right, most] = data.pair;
    const rows = set.scores[0].rows;
    const all = set.subjects.map((_, n) => [rows[a][n], rows[b][n]]).filter(([x, y]) => x !== null && y !== null);
    const ordered = [...all].sort(([x, y], [u, v]) => x + y - u - v);
    const pairs = all.length <= most ? ordered : Array.from({ length: most }, (_, n) => ordered[Math.floor((n * (all.length - 1)) / (most - 1) + 0.5)]);
    const lines = (chosen) => pairs.filter(chosen).map(([x, y]) => `M${left} ${near(up(x))}L${right} ${near(up(y))}`).join("");
    const put = (style, content) => plot.querySelector(style).setAttribute("d", content);
    put(".pair.up", lines(([x, y]) => y > x));
    put(".pair.down", lines(([x, y]) => y < x));
    put(".pair.tie", lines(([x, y]) => y === x));
    put(".end-a", dots(pairs.map(([x]) => [left, up(x)])));
    put(".end-b", dots(pairs.map(([, y]) => [right, up(y)])));
    if (!all.length) return `${set.title}: no volume in common`;
    const [from, to] = [up(mean(all.map(([x]) => x))), up(mean(all.map(([, y]) => y)))].map(near);
    put(".mean-pair", `M${left - 14} ${from}L${left + 14} ${from}L${right - 14} ${to}L${right + 14} ${to}`);
    plot.querySelector(".name-a").textContent = data.rows[a];
    plot.querySelector(".name-b").textContent = data.rows[b];
    plot.setAttribute("aria-label", `${set.title}: ${data.rows[a]} and ${data.rows[b]}, volume by volume`);
    const wins = all.filter(([x, y]) => y > x).length;
    return `${set.title}: the right row scores higher on ${wins} of ${all.length}`;
  };
  const drawPairs = () => {
    const [a, b] = [Number(find("pair-a").value), Number(find("pair-b").value)];
    find("pair-count").textContent = data.sets.map((set) => drawPair(set, a, b)).filter(Boolean).join("; ");
  };

  // ---- one row's dots against lesion volume
  const drawSizes = () => {
    const row = Number(find("size-row").value);
    for (const set of data.sets) {
      const plot = plotOf(`size-${set.key}`);
      if (!plot) continue;
      const [x, y] = [scaleOf(plot, "x"), scaleOf(plot, "y")];
      const values = set.scores[0].rows[row];
      const places = values.map((value, n) => [set.ml[n], value]).filter(([ml, value]) => ml > 0 && value !== null);
      plot.querySelector(".size-dots").setAttribute("d", dots(places.map(([ml, value]) => [x(ml), y(value)])));
    }
  };

  // ---- one volume, in every strip and in a window of its own
  const svgElement = (name, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  const markVolume = (set, number) => {
    const plot = plotOf(`strip-${set.key}`);
    if (!plot) return;
    plot.querySelectorAll(".of-volume").forEach((old) => old.remove());
    const across = scaleOf(plot, "x");
    const centres = plot.parentElement.dataset.centres.split(" ").map(Number);
    const places = set.scores[0].rows.map((row, place) => [row[number], centres[place]]).filter(([value]) => value !== null);
    const path = places.map(([value, y], place) => `${place ? "L" : "M"}${near(across(value))} ${y}`).join("");
    plot.append(svgElement("path", { d: path, class: "line marked of-volume" }));
    for (const [value, y] of places) plot.append(svgElement("circle", { cx: near(across(value)), cy: y, r: 4, class: "ring of-volume" }));
  };
  const openVolume = (set, number) => {
    markVolume(set, number);
    const body = find("volume-body");
    const title = make("h3", set.subjects[number], { id: "volume-name" });
    const ml = set.ml[number];
    const facts = make("p", `${set.title}${ml === null ? "" : `; lesions: ${ml} ml`}. The mean over folds, per row; the line in the figure above joins them.`);
    const table = make("table", "", { className: "sortable" });
    const head = table.createTHead().insertRow();
    for (const word of ["Method", ...set.scores.map((score) => score.label)]) head.append(make("th", word, { scope: "col" }));
    data.rows.forEach((name, place) => {
      const row = table.createTBody().insertRow();
      row.append(make("th", name, { scope: "row" }));
      for (const score of set.scores) row.insertCell().textContent = shown(score.rows[place][number]);
    });
    makeSortable(table);
    const scroll = make("div", "", { className: "scroll" });
    scroll.append(table);
    body.replaceChildren(title, facts, scroll);
    find("volume").showModal();
  };

  // ---- the list of volumes
  const PAGE = 15;
  const list = { set: data.sets?.[0], order: [], column: 0, sign: 1, page: 0 };
  const columnsOf = (set) => [
    { label: "Scan", of: (n) => set.subjects[n] },
    ...(set.ml.some((value) => value !== null) ? [{ label: "Lesions (ml)", of: (n) => set.ml[n] }] : []),
    { label: `Mean over rows: ${set.scores[0].label}`, of: (n) => averageOf(set, n) },
    { label: "Best row", of: (n) => bestOf(set, n) },
  ];
  const averageOf = (set, n) => {
    const values = set.scores[0].rows.map((row) => row[n]).filter((value) => value !== null);
    return values.length ? Number(mean(values).toPrecision(4)) : null;
  };
  const bestOf = (set, n) => {
    const sign = set.scores[0].label.endsWith("↓") ? -1 : 1;
    let best = null;
    set.scores[0].rows.forEach((row, place) => {
      if (row[n] !== null && (best === null || sign * row[n] > sign * set.scores[0].rows[best][n])) best = place;
    });
    return best === null ? null : data.rows[best];
  };
  const orderList = () => {
    const { set } = list;
    const word = find("list-text").value.trim().toLowerCase();
    const of = columnsOf(set)[list.column].of;
    const numbers = set.subjects.map((_, n) => n).filter((n) => set.subjects[n].toLowerCase().includes(word));
    numbers.sort((a, b) => {
      const [x, y] = [of(a), of(b)];
      if (x === null || y === null) return (x === null) - (y === null);
      return x < y ? -list.sign : x > y ? list.sign : a - b;
    });
    list.order = numbers;
    list.page = Math.min(list.page, Math.max(0, Math.ceil(numbers.length / PAGE) - 1));
  };
  const drawList = () => {
    orderList();
    const columns = columnsOf(list.set);
    const table = make("table", "", { className: "volumes" });
    const head = table.createTHead().insertRow();
    columns.forEach((column, place) => {
      const cell = make("th", "", { scope: "col" });
      const button = make("button", column.label, { type: "button" });
      if (place === list.column) cell.setAttribute("aria-sort", list.sign > 0 ? "ascending" : "descending");
      button.addEventListener("click", () => {
        Object.assign(list, { sign: place === list.column ? -list.sign : 1, column: place, page: 0 });
        drawList();
      });
      cell.append(button);
      head.append(cell);
    });
    for (const n of list.order.slice(list.page * PAGE, (list.page + 1) * PAGE)) {
      const row = table.createTBody().insertRow();
      columns.forEach((column, place) => {
        const cell = place ? row.insertCell() : row.appendChild(make("th", "", { scope: "row" }));
        if (place) { cell.textContent = shown(column.of(n)); return; }
        const button = make("button", column.of(n), { type: "button", className: "plain" });
        button.addEventListener("click", () => openVolume(list.set, n));
        cell.append(button);
      });
    }
    find("list-table").replaceChildren(table);
    const pages = Math.max(1, Math.ceil(list.order.length / PAGE));
    find("list-where").textContent = `${list.order.length} volumes, page ${list.page + 1} of ${pages}`;
    find("list-back").disabled = list.page === 0;
    find("list-on").disabled = list.page + 1 >= pages;
  };
  const csvOf = (set, numbers) => {
    const quoted = (word) => `"${String(word ?? "").replaceAll('"', '""')}"`;
    const heads = ["set", "subject", "lesion_ml", "row", ...set.scores.map((score) => score.label.replace(/ [↑↓]$/, ""))];
    const lines = numbers.flatMap((n) => data.rows.map((name, place) => [set.title, set.subjects[n], set.ml[n], name, ...set.scores.map((score) => score.rows[place][n])]));
    return [heads, ...lines].map((line) => line.map(quoted).join(",")).join("\r\n");
  };
  const saveList = () => {
    const link = make("a", "", { download: `${list.set.key}-volumes.csv`, href: URL.createObjectURL(new Blob([csvOf(list.set, list.order)], { type: "text/csv" })) });
    link.click();
    URL.revokeObjectURL(link.href);
  };
  const nearestIn = (set, plot, event) => {
    const box = plot.getBoundingClientRect();
    const scale = plot.viewBox.baseVal.width / box.width;
    const [x, y] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    const centres = plot.parentElement.dataset.centres.split(" ").map(Number);
    const place = centres.findIndex((centre) => Math.abs(centre - y) < 12);
    if (place < 0) return -1;
    const across = scaleOf(plot, "x");
    let best = -1, least = 6;
    set.scores[0].rows[place].forEach((value, n) => {
      const away = value === null ? Infinity : Math.abs(across(value) - x);
      if (away < least) [best, least] = [n, away];
    });
    return best;
  };

  // ---- begin
  document.querySelectorAll("table.sortable").forEach(makeSortable);
  document.querySelectorAll(".controls").forEach((controls) => { controls.hidden = false; controls.addEventListener("submit", (event) => event.preventDefault()); });
  if (find("filter")) {
    for (const name of ["filter-text", "show-published", "show-controls"]) find(name).addEventListener("input", filterTables);
    filterTables();
  }
  if (find("pair")) {
    const names = [".name-a", ".name-b"].map((style) => document.querySelector(`svg[data-plot^="pair-"] ${style}`)?.textContent);
    ["pair-a", "pair-b"].forEach((name, side) => {
      find(name).value = Math.max(0, data.rows.indexOf(names[side]));
      find(name).addEventListener("change", drawPairs);
    });
  }
  if (find("size")) find("size-row").addEventListener("change", drawSizes);
  if (find("list")) {
    find("list-set").addEventListener("change", () => { Object.assign(list, { set: data.sets.find((set) => set.key === find("list-set").value), column: 0, sign: 1, page: 0 }); drawList(); });
    find("list-text").addEventListener("input", () => { list.page = 0; drawList(); });
    find("list-back").addEventListener("click", () => { list.page -= 1; drawList(); });
    find("list-on").addEventListener("click", () => { list.page += 1; drawList(); });
    find("list-csv").addEventListener("click", saveList);
    drawList();
  }
  for (const set of data.sets ?? []) {
    const plot = plotOf(`strip-${set.key}`);
    plot?.addEventListener("mousemove", (event) => { plot.style.cursor = nearestIn(set, plot, event) < 0 ? "" : "pointer"; });
    plot?.addEventListener("click", (event) => { const n = nearestIn(set, plot, event); if (n >= 0) openVolume(set, n); });
  }
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
})();
