"use strict";
/* What the report does beside being read: numbers open where they come from, charts are drawn. */
const $ = (id) => document.getElementById(id);
const make = (tag, text, more) => {
  const one = document.createElement(tag);
  if (text !== undefined && text !== null) one.textContent = String(text);
  return Object.assign(one, more);
};
const unpacked = async (id) => {
  const raw = atob($(id).textContent.trim());
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
};
const content = unpacked("data").then(JSON.parse);
const drawings = unpacked("charts").then(JSON.parse);
let library = null;
const plotly = () => (library ??= unpacked("library").then((code) => {
  document.head.append(make("script", code));
  return window.Plotly;
}));

/* -- theme ---------------------------------------------------------------------------------- */

const root = document.documentElement;
const kept = { get: () => { try { return localStorage.getItem("theme"); } catch { return null; } },
  set: (value) => { try { localStorage.setItem("theme", value); } catch { /* a file may keep nothing */ } } };
const themed = (value) => { root.dataset.theme = value; $("theme").value = value; };
themed(kept.get() || "auto");
$("theme").addEventListener("change", (event) => { themed(event.target.value); kept.set(event.target.value); redraw(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw());

const PALETTE = { light: ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B27D00", "#3A9BD6", "#444444"],
  dark: ["#5AB4F0", "#FF8A3D", "#2CC79A", "#E39CC4", "#F0B840", "#8FD0FA", "#D0D0D0"] };
const isDark = () => { const chosen = root.dataset.theme;
  return chosen === "dark" || (chosen !== "light" && matchMedia("(prefers-color-scheme: dark)").matches); };
const css = (name) => { const probe = make("i"); probe.style.color = `var(--${name})`; document.body.append(probe);
  const found = getComputedStyle(probe).color; probe.remove(); return found; };
const colour = (name) => {
  const [word, alpha] = name.slice(1).split("/");
  if (!/^\d+$/.test(word)) return css(word);
  const hue = PALETTE[isDark() ? "dark" : "light"][Number(word) % 7];
  if (!alpha) return hue;
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(hue.slice(at, at + 2), 16));
  return `rgba(${r},${g},${b},${alpha})`;
};
const coloured = (value) => {
  if (typeof value === "string") return /^@(\d+|ink|muted|band|margin|page|rule)(\/[\d.]+)?$/.test(value) ? colour(value) : value;
  if (Array.isArray(value)) return value.map(coloured);
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, coloured(v)]));
  return value;
};
/* Plotly reads some tags in words: a stranger's stay words. */
const words = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

/* -- where a number comes from ---------------------------------------------------------------- */

const addressOf = (button) => {
  if (button.dataset.cell) return button.dataset.cell;
  const td = button.closest("td"), tr = td.parentElement, table = tr.closest("table");
  const head = table.tHead.rows[0].cells[td.cellIndex];
  return `${table.dataset.view}/${tr.dataset.row}/${head.dataset.column}`;
};
for (const table of document.querySelectorAll("table[data-view]")) {
  const heads = [...table.tHead.rows[0].cells];
  [...table.tBodies[0].rows].forEach((tr, row) => [...tr.cells].forEach((td, column) => {
    const button = td.firstElementChild;
    if (!column || button?.tagName !== "BUTTON") return;
    button.dataset.head = heads[column].textContent;
    button.dataset.cell = `${table.dataset.view}/${tr.dataset.row}/${heads[column].dataset.column}`;
    if (!row && column === 1) button.tabIndex = 0;
  }));
}
const dialog = $("where"), body = $("where-body");
let asked = null;
const row = (list, name, value) => { if (value !== "" && value !== null && value !== undefined) list.append(make("dt", name), value instanceof Node ? value : make("dd", value)); };
const open = async (address, text) => {
  const data = await content, found = data.cells[address];
  if (!found) return;
  const [metric, how, n, interval, set] = found, paths = data.sets[set].map((place) => data.files[place]);
  $("where-title").textContent = text ?? address;
  body.replaceChildren();
  const facts = make("dl");
  row(facts, "cell", address);
  row(facts, "what", data.words[metric]);
  row(facts, "aggregation", data.words[how]);
  row(facts, "n", n);
  if (interval) row(facts, "interval", `${interval[0].toPrecision(6)} to ${interval[1].toPrecision(6)}`);
  body.append(facts);
  const diffs = [...new Set(paths.filter((one) => one.length > 5 && one[4] >= 0).map((one) => one[4]))].map((at) => data.diffs[at]);
  if (diffs.length) body.append(make("h3", "How the arms differ from the recipe's base"));
  for (const [arm, fields] of diffs.slice(0, 24)) {
    const list = make("dl");
    row(list, arm, fields.length ? fields.map(([name, value]) => `${name} = ${value}`).join(", ") : "no difference");
    body.append(list);
  }
  if (diffs.length > 24) body.append(make("p", `and ${diffs.length - 24} arms more`));
  const view = address.split("/")[0];
  const commands = [...new Set(paths.filter((one) => one.length > 5).map((one) => data.commands[one[5]]))];
  if (!commands.length && data.views[view]) commands.push(data.views[view]);
  if (commands.length) body.append(make("h3", "Reproduce"));
  for (const command of commands) { const pre = make("pre"); pre.append(make("code", command)); body.append(pre); }
  body.append(make("h3", paths.length === 1 ? "1 file behind it" : `${paths.length} files behind it`));
  const list = make("ol", null, { className: "records" });
  for (const [path, status, name, created] of paths) {
    const item = make("li");
    item.dataset.record = path;
    const linked = data.live || data.beside;
    item.append(linked ? make("a", path, { href: (data.live ? "/" : "") + path.split("/").map(encodeURIComponent).join("/") }) : make("code", path));
    if (status) item.append(make("br"), make("small", `${status}, ${name}, ${created}`));
    list.append(item);
  }
  body.append(list);
  asked = document.activeElement;
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  history.replaceState(null, "", `#cell=${encodeURIComponent(address)}`);
};
dialog.addEventListener("close", () => { history.replaceState(null, "", location.pathname + location.search); asked?.focus?.(); });
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
$("where-close").addEventListener("click", () => dialog.close());
document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-cell]");
  if (button) open(addressOf(button), (button.querySelector(".said") ?? button).textContent.trim());
});
/* A table is one stop for the tabulator; arrows move within it. */
document.addEventListener("keydown", (event) => {
  const td = event.target.closest?.("td[role=gridcell]");
  const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  if (!td || !step) return;
  const rows = [...td.closest("tbody").rows], tr = rows[rows.indexOf(td.parentElement) + step[0]];
  const next = tr?.cells[td.cellIndex + step[1]]?.querySelector("button");
  if (!next) return;
  event.preventDefault();
  event.target.tabIndex = -1; next.tabIndex = 0; next.focus();
});
const follow = () => {
  const hash = decodeURIComponent(location.hash.slice(1));
  if (hash.startsWith("cell=")) { open(hash.slice(5)); return; }
  const target = hash ? $(hash) : null, page = target?.closest("details");
  if (page) { page.open = true; target.scrollIntoView(); }
};
addEventListener("hashchange", follow);

/* -- charts ---------------------------------------------------------------------------------- */

const LOOK = { margin: { l: 58, r: 14, t: 14, b: 48 }, hovermode: "closest", legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom" }, dragmode: false };
const CONFIG = { displayModeBar: false, responsive: true, doubleClick: "reset" };
const drawn = new Map();
const merged = (layout) => {
  const axis = { gridcolor: css("rule"), zerolinecolor: css("muted"), linecolor: css("rule"), automargin: true };
  const all = { ...LOOK, ...coloured(layout), paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: css("ink"), family: "system-ui, sans-serif", size: 12 }, hoverlabel: { bgcolor: css("card"), font: { color: css("ink") } } };
  for (const name of new Set(["xaxis", "yaxis", ...Object.keys(layout).filter((key) => /axis/.test(key))])) {
    const own = all[name] ?? {};
    all[name] = { ...axis, ...own, title: typeof own.title === "string" ? { text: own.title } : own.title };
  }
  return all;
};
const draw = async (place, figure) => {
  const lib = await plotly();
  drawn.set(place, figure);
  if (!place.childElementCount) place.replaceChildren();
  await lib.react(place, coloured(figure.data), merged(figure.layout), CONFIG);
};
const redraw = () => { for (const [place, figure] of drawn) if (place.isConnected) draw(place, figure); };
const seen = new IntersectionObserver((entries) => { for (const entry of entries) if (entry.isIntersecting) {
  seen.unobserve(entry.target); drawnIn(entry.target); } }, { rootMargin: "300px" });
const drawnIn = async (place) => {
  const figure = (await drawings)[place.dataset.chart];
  if (place.id === "c-chart") curves();
  else if (figure) await draw(place, figure);
};
document.querySelectorAll(".chart").forEach((place) => seen.observe(place));

const DASHES = { stem: "solid", decay: "dot", train: "solid" };
const AXES = { tokens: "training tokens", flops: "active training FLOPs", seconds: "seconds of updates", dollars: "dollars" };
const NAMES = { loss: "validation loss, nats a token", bits: "bits a byte" };
const curvesOf = (one, x, y, options) => {
  const at = (point) => x === "dollars" ? point.seconds.map((s) => s * one.price) : point[x];
  const traces = [], listed = new Set(), place = (arm) => one.arms.indexOf(arm);
  if (options.training && y === "loss") for (const run of one.training)
    traces.push({ x: at(run), y: run.loss, mode: "lines", line: { color: `@${place(run.arm)}/0.25`, width: 1 }, showlegend: false,
      name: words(run.arm), legendgroup: run.arm, hovertemplate: `${words(run.arm)} seed ${run.seed}, training %{y:.4f}<extra></extra>` });
  for (const line of one.lines) {
    const n = place(line.arm), dash = DASHES[line.stage.split("-")[0]] ?? "solid", values = at(line);
    if (values.length > 1) traces.push({ x: [...values, ...values.slice().reverse()], y: [...line[`${y}_high`], ...line[`${y}_low`].slice().reverse()],
      fill: "toself", fillcolor: `@${n}/0.16`, line: { width: 0 }, mode: "lines", hoverinfo: "skip", showlegend: false, legendgroup: line.arm });
    traces.push({ x: values, y: line[y], mode: "lines+markers", marker: { size: 4 }, line: { color: `@${n}`, width: 2, dash }, name: words(line.arm),
      showlegend: dash === "solid" && !listed.has(line.arm), legendgroup: line.arm, hovertemplate: `${words(line.arm)}, ${words(line.stage)}<br>%{x:.4s}: %{y:.4f}<extra></extra>` });
    if (dash === "solid") listed.add(line.arm);
    if (options.seeds) for (const seed of line.seeds ?? [])
      traces.push({ x: at(seed), y: seed[y], mode: "lines", line: { color: `@${n}/0.6`, width: 1 }, showlegend: false, legendgroup: line.arm,
        hovertemplate: `${words(line.arm)} seed ${seed.seed}: %{y:.4f}<extra></extra>` });
  }
  for (const end of one.ends.filter((end) => end.of === y)) {
    const n = place(end.arm), [low, high] = end.interval ?? [end.y, end.y];
    traces.push({ x: [x === "dollars" ? end.seconds * one.price : end[x]], y: [end.y], mode: "markers", showlegend: false, legendgroup: end.arm,
      marker: { color: `@${n}`, size: 10, symbol: ["circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x"][n % 7] },
      error_y: { type: "data", symmetric: false, array: [high - end.y], arrayminus: [end.y - low], color: `@${n}` },
      customdata: [`${one.id}.loss/${end.arm}/${y === "loss" ? "val_loss" : "bits_per_byte"}@${end.horizon}`],
      hovertemplate: `${words(end.arm)} at ${words(end.horizon)}<br>%{y:.4f} (${end.n} seeds)<extra></extra>` });
  }
  const framed = options.cut && y === "loss" && one.frame;
  return { data: traces, layout: { xaxis: { title: AXES[x], rangemode: "tozero", tickformat: x === "dollars" ? "$.2f" : "~s" },
    yaxis: { title: NAMES[y], ...(framed ? { range: one.frame } : {}) } } };
};
const curves = async () => {
  const chosen = $("c-section");
  if (!chosen) return;
  const one = (await content).curves.find((found) => found.id === chosen.value);
  const dollars = [...$("c-x").options].find((option) => option.value === "dollars");
  dollars.disabled = one.price === null;
  dollars.textContent = one.price === null ? `dollars (${one.price_note})` : "dollars";
  if (dollars.disabled && $("c-x").value === "dollars") $("c-x").value = "tokens";
  const x = $("c-x").value, y = $("c-y").value, cut = $("c-cut").value === "cut";
  const notes = ["Means over seeds, bands from the lowest to the highest seed; dotted: learning rate decaying to a horizon; points: endpoints with their 95 % t interval."];
  if (cut && y === "loss" && one.cut) notes.push(one.cut);
  if (x === "seconds") notes.push(`${one.seconds_note}.`);
  if (x === "dollars") notes.push(`At ${one.price_note}; ${one.seconds_note}.`);
  $("c-note").textContent = notes.join(" ");
  await draw($("c-chart"), curvesOf(one, x, y, { cut, seeds: $("c-seeds").checked, training: $("c-training").checked }));
  const place = $("c-chart");
  if (!place.dataset.heard) { place.dataset.heard = "1";
    place.on("plotly_click", (event) => { const address = event.points[0]?.customdata; if (address) open(address, `${address.split("/")[1]}: ${event.points[0].y.toFixed(4)}`); }); }
};
for (const id of ["c-section", "c-x", "c-y", "c-cut", "c-seeds", "c-training"]) $(id)?.addEventListener("change", curves);
document.querySelectorAll("a[data-curves]").forEach((link) => link.addEventListener("click", () => {
  const chosen = $("c-section"), wanted = link.dataset.curves.replace(/\.curves$/, "");
  if (chosen && [...chosen.options].some((option) => option.value === wanted)) { chosen.value = wanted; curves(); }
}));
document.querySelectorAll("details").forEach((one) => one.addEventListener("toggle", () => one.querySelectorAll(".chart").forEach((place) => { if (one.open && drawn.has(place)) draw(place, drawn.get(place)); })));
follow();
content.then(() => { root.dataset.ready = "1"; });
