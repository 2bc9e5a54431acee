
/* -- live: what runs now, asked of the server that gave this page -------------------------------- */

const clock = (seconds) => { if (seconds === null || seconds === undefined) return "not known"; const s = Math.round(seconds);
  return s >= 3600 ? `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min` : s >= 60 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${s} s`; };
const giga = (bytes) => bytes === null || bytes === undefined ? "–" : `${(bytes / 1e9).toFixed(2)} GB`;
const fixed = (value, digits = 3) => value === null || value === undefined ? "–" : value.toFixed(digits);
let first = null, before = "";
const tile = (name, value) => { const one = make("div"); one.append(make("span", name), make("b", value)); return one; };
const launchOf = (one) => {
  const place = make("div");
  place.append(make("p", `${one.says}.`, { className: one.status === "running" || one.status === "done" ? "" : "warn" }));
  const bar = make("div", null, { className: "bar" }), filled = make("i");
  filled.style.width = `${100 * one.share}%`; bar.append(filled);
  bar.setAttribute("role", "progressbar"); bar.setAttribute("aria-label", `${one.recipe}: progress`);
  bar.setAttribute("aria-valuenow", Math.round(100 * one.share)); place.append(bar);
  const tiles = make("div", null, { className: "tiles" });
  tiles.append(tile("done", `${one.done} of ${one.of} runs, ${Math.round(100 * one.share)} %`));
  if (one.status === "running") tiles.append(tile("gone", clock(one.seconds_gone)), tile("left", clock(one.seconds_left)));
  tiles.append(tile("money left", one.dollars_left === null ? one.dollars_note ?? "not known" : `$${one.dollars_left.toFixed(2)}`));
  place.append(tiles);
  if (one.running.length) {
    const table = make("table", null, { className: "stack" }), head = make("tr"), heads = ["run", "update", "loss", "val loss", "tokens/s", "memory"];
    heads.forEach((name) => head.append(make("th", name, { scope: "col" })));
    const thead = make("thead"), tbody = make("tbody"); thead.append(head);
    for (const run of one.running) { const tr = make("tr"); tr.append(make("th", `${run.name}${run.quiet > 120 ? `, quiet for ${clock(run.quiet)}` : ""}`, { scope: "row" }));
      [`${run.update ?? 0}/${run.of}`, fixed(run.loss), fixed(run.val_loss), run.tokens_per_second ? Math.round(run.tokens_per_second).toLocaleString("en") : "–", giga(run.memory)]
        .forEach((text, at) => { const td = make("td"), span = make("span", text); span.style.padding = "5px 10px"; span.style.display = "block"; if (innerWidth <= 680) span.textContent = `${heads[at + 1]}: ${text}`; td.append(span); tr.append(td); }); tbody.append(tr); }
    table.append(thead, tbody); place.append(table);
  }
  if (one.status !== "running" && one.status !== "done") { const pre = make("pre"); pre.append(make("code", one.command)); place.append(pre); }
  if (one.next.length) place.append(make("p", `Next: ${one.next.join(", ")}${one.next.length === 12 ? " …" : ""}`, { className: "caption" }));
  for (const run of one.ended) if (run.error) place.append(make("p", `${run.name} ${run.status}: ${run.error}`, { className: "caption" }));
  return place;
};
const liveCurves = (one) => {
  const traces = [], listed = new Set();
  for (const line of one.curves) {
    traces.push({ x: line.tokens, y: line.loss, mode: "lines", line: { color: `@${line.place}/0.55`, width: 1.3 }, name: words(line.arm), legendgroup: line.arm,
      showlegend: !listed.has(line.arm), hovertemplate: `${words(line.arm)} seed ${line.seed} ${words(line.stage)}, training %{y:.4f}<extra></extra>` });
    listed.add(line.arm);
    if (line.val_loss.length) traces.push({ x: line.val_tokens, y: line.val_loss, mode: "markers", marker: { color: `@${line.place}`, size: 8 }, showlegend: false,
      legendgroup: line.arm, hovertemplate: `${words(line.arm)} seed ${line.seed}, validation %{y:.4f}<extra></extra>` });
  }
  return { data: traces, layout: { xaxis: { title: "training tokens", rangemode: "tozero", tickformat: "~s" }, yaxis: { title: "loss, nats a token" } } };
};
const shown = async (state) => {
  const list = $("live"), now = state.launches.find((one) => one.status === "running") ?? state.launches[0];
  const machine = state.machine, gpu = machine.gpu;
  const says = state.launches.length ? state.launches.map((one) => `${one.says}.`).join(" ") : "Nothing has been launched from here.";
  if (says !== before) { $("state").textContent = says; before = says; }
  $("state").hidden = state.launches.length > 0;
  const tiles = make("div", null, { className: "tiles" });
  tiles.append(tile("memory of the machine", `${giga(machine.memory_used)} of ${giga(machine.memory)}`), tile("load", fixed(machine.load, 2)),
    tile("clock", machine.cpu_mhz ? `${Math.round(machine.cpu_mhz)} MHz` : "not told"));
  if (gpu) tiles.append(tile("GPU", `${gpu.sm_mhz} MHz, ${gpu.temperature} °C, ${Math.round(gpu.watts)} W${gpu.throttled.length ? `, throttled: ${gpu.throttled.join(", ")}` : ""}`));
  tiles.append(tile("seen", state.at.slice(11, 19) + " UTC"));
  let chart = $("live-chart");
  if (!chart) { chart = make("div", null, { className: "chart", id: "live-chart" }); chart.style.height = "340px"; chart.setAttribute("role", "img"); chart.setAttribute("aria-label", "Losses of all runs so far"); }
  list.replaceChildren(...state.launches.map(launchOf), ...(now?.curves.length ? [chart] : []), tiles);
  if (first !== null && state.version !== first) { const again = make("button", "New results are there: show them", { className: "plain", id: "again" }); again.addEventListener("click", () => location.reload()); list.prepend(again); }
  first ??= state.version;
  if (now?.curves.length) await draw(chart, liveCurves(now));
};
const look = async () => {
  try {
    const answer = await fetch("/state.json", { cache: "no-store" });
    if (answer.ok) await shown(await answer.json());
    root.dataset.live = "1";
  } catch { $("state").hidden = false; $("state").textContent = "`smol watch` has ended: this page no longer follows. Nothing of the runs is lost; start it again and reload."; before = ""; }
  setTimeout(look, 2000);
};
look();
