"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const canvas = $("canvas"), pen = canvas.getContext("2d"), details = $("details");
  const KINDS = { l: "line", r: "raw", p: "part", c: "control", "?": "unknown" };
  const TRUSTS = { a: "asserted", e: "external", p: "permitted", y: "accepted", n: "rejected", x: "altered", d: "erased", s: "stray", "?": "unknown" };
  const BAD = new Set("xds?"), FOREIGN = new Set("epyn");
  const LANE = 40, AXIS = 26, TOP = 6;

  // -- the entries, as columns over all sessions ------------------------------------
  const total = data.sessions.reduce((sum, session) => sum + session.seq.length, 0);
  const time = new Float64Array(total), writer = new Float64Array(total), home = new Int32Array(total);
  const seq = new Float64Array(total), epoch = new Float64Array(total), size = new Int32Array(total);
  const kind = new Array(total), trust = new Array(total), says = new Array(total);
  // A number is the difference from the last one; text is a number by itself, too large to be exact here.
  const exact = new Map();
  function spread(name, column, from, first) {
    let sum = 0;
    for (let i = 0; i < from.length; i++) {
      if (typeof from[i] === "string") { column[first + i] = Number(from[i]); exact.set(`${name} ${first + i}`, from[i]); }
      else column[first + i] = sum += from[i];
    }
  }
  const numberOf = (name, column, i) => exact.get(`${name} ${i}`) ?? column[i];
  let at = 0;
  data.sessions.forEach((session, number) => {
    spread("time", time, session.time, at); spread("seq", seq, session.seq, at); spread("epoch", epoch, session.epoch, at);
    for (let i = 0; i < session.seq.length; i++, at++) {
      writer[at] = session.writer[i]; size[at] = session.size[i]; home[at] = number;
      kind[at] = session.kind[i]; trust[at] = session.trust[i]; says[at] = session.says ? session.says[i] : null;
    }
  });
  const order = Array.from({ length: total }, (_, i) => i).sort((a, b) => time[a] - time[b] || home[a] - home[b] || seq[a] - seq[b]);
  const sessionOf = new Map(data.sessions.map((session, number) => [session.key, number]));
  const nameOf = (id) => (data.writers[id] ? data.writers[id].name : `writer ${id}`);
  const roleOf = (id) => (data.writers[id] ? data.writers[id].role : "unknown");
  const lanes = [...new Set([...writer, ...data.claims.map((c) => c.writer), ...data.verdicts.map((v) => v.writer)])]
    .filter((id) => id !== null).sort((a, b) => roleOf(a).localeCompare(roleOf(b)) || nameOf(a).localeCompare(nameOf(b)));
  const laneOf = new Map(lanes.map((id, lane) => [id, lane]));

  // A fence is a band from where it was raised to the next entry its writer wrote there.
  const written = new Map();
  for (const i of order) { const own = `${home[i]} ${writer[i]}`; if (written.has(own)) written.get(own).push(i); else written.set(own, [i]); }
  const fences = data.fences.map((fence) => {
    const own = written.get(`${sessionOf.get(fence.session)} ${fence.writer}`) ?? [];
    let next = 0, end = own.length;
    while (next < end) { const middle = (next + end) >> 1; if (time[own[middle]] < fence.at) next = middle + 1; else end = middle; }
    while (next < own.length && seq[own[next]] <= fence.seq) next++;
    return { ...fence, to: next < own.length ? time[own[next]] : fence.at };
  });

  // -- what is shown ------------------------------------------------------------------
  let shown = order, view = [0, 1], selected = -1;
  const bounds = () => {
    let first = Infinity, last = -Infinity; // one by one: there may be more than a call takes arguments
    const see = (t) => { first = Math.min(first, t); last = Math.max(last, t); };
    for (const claim of data.claims) see(claim.from);
    for (const each of [...data.verdicts, ...data.fences]) see(each.at);
    if (shown.length) { see(time[shown[0]]); see(time[shown[shown.length - 1]]); }
    if (first > last) { first = 0; last = 1; }
    const pad = Math.max((last - first) * 0.02, 500);
    return [first - pad, last + pad];
  };
  const fits = (session, id) => ($("session").value === "" || session === Number($("session").value)) && ($("writer").value === "" || id === Number($("writer").value));
  const shownLanes = () => ($("writer").value === "" ? lanes : lanes.filter((id) => id === Number($("writer").value)));
  const moment = (id) => ($(id).value ? Date.parse(`${$(id).value}Z`) : NaN);

  function filter() {
    const from = moment("from"), to = moment("to");
    shown = order.filter((i) => fits(home[i], writer[i]) && !(time[i] < from) && !(time[i] > to));
    view = bounds();
    if (!Number.isNaN(from)) view[0] = from;
    if (!Number.isNaN(to)) view[1] = to;
    draw();
  }

  // -- drawing ------------------------------------------------------------------------
  let width = 0, height = 0, gutter = 0, colour = {};
  const x = (t) => gutter + ((t - view[0]) / (view[1] - view[0])) * (width - gutter - 8);
  const when = (px) => view[0] + ((px - gutter) / (width - gutter - 8)) * (view[1] - view[0]);
  const y = (lane) => TOP + lane * LANE;
  const centre = (lane) => y(lane) + LANE / 2 + (gutter < 100 ? 4 : -3); // below the label, where it stands in the lane
  const iso = (t) => { const date = new Date(t); return Number.isNaN(date.getTime()) ? `${t} ms` : date.toISOString().replace("T", " ").replace(/\.000Z|Z$/, ""); };

  function measure(rows) {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["ground", "ink", "quiet", "line", "panel", "entry", "control", "bad", "fence", "claim"]) colour[name] = style.getPropertyValue(`--${name}`).trim();
    width = $("frame").clientWidth; gutter = width < 600 ? 8 : 150; height = TOP + Math.max(rows, 1) * LANE + AXIS;
    const scale = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * scale); canvas.height = Math.round(height * scale); canvas.style.height = `${height}px`;
    pen.setTransform(scale, 0, 0, scale, 0, 0); pen.clearRect(0, 0, width, height); pen.font = "12px system-ui, sans-serif"; pen.textBaseline = "middle";
  }

  function axis(rows) {
    pen.fillStyle = colour.quiet; pen.strokeStyle = colour.line; pen.lineWidth = 1;
    const steps = Math.max(2, Math.floor((width - gutter) / 150));
    for (let i = 0; i <= steps; i++) {
      const t = view[0] + ((view[1] - view[0]) * i) / steps, px = x(t);
      pen.beginPath(); pen.moveTo(px, TOP); pen.lineTo(px, TOP + rows * LANE); pen.stroke();
      pen.textAlign = i === 0 ? "left" : i === steps ? "right" : "center";
      const text = iso(t), isShort = i > 0 && view[1] - view[0] < 86400000;
      pen.fillText(isShort ? text.slice(11, 19) : text.slice(0, 19), px, TOP + rows * LANE + 14);
    }
  }

  function lane(id, row) {
    const top = y(row);
    pen.strokeStyle = colour.line; pen.beginPath(); pen.moveTo(0, top + LANE); pen.lineTo(width, top + LANE); pen.stroke();
    pen.textAlign = "left"; pen.fillStyle = colour.ink;
    const narrow = gutter < 100, label = narrow ? `${nameOf(id)} (${roleOf(id)})` : nameOf(id);
    pen.fillText(label.length > 22 ? `${label.slice(0, 21)}…` : label, 8, narrow ? top + 8 : top + 14);
    if (!narrow) { pen.fillStyle = colour.quiet; pen.fillText(roleOf(id), 8, top + 28); }
  }

  function band(fence, row) { pen.fillStyle = colour.fence; pen.fillRect(x(fence.at), y(row), Math.max(x(fence.to) - x(fence.at), 2), LANE); }
  function bar(claim, row) {
    pen.fillStyle = claim.outcome === "superseded" ? colour.bad : colour.claim;
    const from = Math.max(x(claim.from), gutter), to = claim.to === null ? width - 8 : Math.min(x(claim.to), width - 8);
    if (to >= from) pen.fillRect(from, y(row) + LANE - 7, Math.max(to - from, 2), 4);
  }
  function flag(verdict, row) {
    const px = x(verdict.at); if (px < gutter || px > width) return;
    pen.strokeStyle = pen.fillStyle = colour.bad; pen.lineWidth = 1.5; pen.beginPath(); pen.moveTo(px, y(row) + 2); pen.lineTo(px, y(row) + LANE - 2); pen.stroke();
    pen.beginPath(); pen.moveTo(px - 5, y(row) + 1); pen.lineTo(px + 5, y(row) + 1); pen.lineTo(px, y(row) + 8); pen.fill();
  }

  function marks(rowOf) {
    const bins = new Map();
    for (const i of shown) {
      const px = x(time[i]), row = rowOf.get(writer[i]);
      if (px < gutter - 2 || px > width || row === undefined) continue;
      const bin = row * 100000 + Math.round(px / 3);
      let mark = bins.get(bin);
      if (!mark) bins.set(bin, (mark = { px, row, count: 0, bad: 0, foreign: 0, control: 0 }));
      mark.count++; mark.bad += BAD.has(trust[i]); mark.foreign += FOREIGN.has(trust[i]); mark.control += kind[i] === "c";
    }
    for (const mark of bins.values()) {
      const middle = centre(mark.row), tall = Math.min(3 + Math.log2(mark.count) * 1.6, LANE / 2 - 7);
      const fill = mark.bad ? colour.bad : mark.control === mark.count ? colour.control : colour.entry;
      pen.lineWidth = 1.5; pen.beginPath();
      if (mark.count === 1) pen.arc(mark.px, middle, 3.5, 0, 7); else pen.rect(mark.px - 1.2, middle - tall, 2.4, tall * 2);
      if (mark.foreign && !mark.bad) { pen.strokeStyle = colour.bad; pen.fillStyle = colour.panel; pen.fill(); pen.stroke(); } else { pen.fillStyle = fill; pen.fill(); }
    }
  }

  function draw() {
    const rows = shownLanes(), rowOf = new Map(rows.map((id, row) => [id, row]));
    measure(rows.length); axis(rows.length); rows.forEach(lane);
    const visible = (each) => fits(sessionOf.get(each.session), each.writer) && rowOf.has(each.writer);
    for (const fence of fences) if (visible(fence)) band(fence, rowOf.get(fence.writer));
    for (const claim of data.claims) if (visible(claim)) bar(claim, rowOf.get(claim.writer));
    marks(rowOf);
    for (const verdict of data.verdicts) if (visible(verdict) && verdict.outcome !== "accepted") flag(verdict, rowOf.get(verdict.writer));
    if (selected >= 0 && rowOf.has(writer[selected])) {
      pen.strokeStyle = colour.ink; pen.lineWidth = 2; pen.beginPath();
      pen.arc(x(time[selected]), centre(rowOf.get(writer[selected])), 7, 0, 7); pen.stroke();
    }
  }

  // -- details: built from text alone -------------------------------------------------
  function tell(title, facts, next) {
    const list = document.createElement("dl"); list.className = "facts";
    const add = (name, node) => { const term = document.createElement("dt"), fact = document.createElement("dd"); term.textContent = name; fact.append(node); list.append(term, fact); };
    for (const [name, value] of facts) if (value !== null && value !== undefined && value !== "") add(name, String(value));
    const code = document.createElement("code"); code.textContent = next; add("next", code);
    const head = document.createElement("h3"); head.textContent = title; details.replaceChildren(head, list);
  }
  const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\"'\"'")}'`);
  // As the commands take them: what begins with "-" is no option.
  const command = (words, ...named) => [data.command, words, ...(named.some((each) => String(each).startsWith("-")) ? ["--"] : []), ...named.map((each) => quoted(String(each)))].join(" ");
  function tellEntry(i) {
    selected = i;
    const key = data.sessions[home[i]].key, number = numberOf("seq", seq, i);
    const verdict = data.verdicts.filter((v) => v.session === key && v.seqs.includes(seq[i])).sort((a, b) => a.at - b.at)[0];
    tell(`${key}, seq ${number}`, [["time", `${iso(time[i])} UTC`], ["writer", `${nameOf(writer[i])} (${roleOf(writer[i])})`], ["trust", TRUSTS[trust[i]]], ["epoch", numberOf("epoch", epoch, i)], ["kind", KINDS[kind[i]]], ["bytes", size[i]], ["begins", says[i]], ["takeover", verdict && verdict.id]],
      verdict ? command("why", verdict.id) : command("show", key, number));
    draw();
  }
  const tellVerdict = (v) => tell(`Verdict: ${v.outcome}`, [["session", v.session], ["time", `${iso(v.at)} UTC`], ["judged by", nameOf(v.writer)], ["policy", v.policy], ["id", v.id]], command("why", v.id));
  const tellClaim = (c) => tell(`Claim ${c.token}: ${c.outcome}`, [["session", c.session], ["writer", nameOf(c.writer)], ["from", `${iso(c.from)} UTC`], ["to", c.to === null ? "stands" : `${iso(c.to)} UTC`], ["reason", c.reason]], command("claim show", c.session));
  const tellFence = (f) => tell("Fence", [["session", f.session], ["writer", nameOf(f.writer)], ["raised", `${iso(f.at)} UTC`], ["at seq", f.seq], ["id", f.id]], command("fence check", f.id));

  function choose(px, py) {
    const rows = shownLanes(), row = Math.floor((py - TOP) / LANE), id = rows[row]; if (id === undefined) return;
    const mine = (each) => each.writer === id && fits(sessionOf.get(each.session), each.writer);
    const verdict = data.verdicts.find((v) => mine(v) && v.outcome !== "accepted" && Math.abs(x(v.at) - px) < 7 && py - y(row) < 14);
    if (verdict) return tellVerdict(verdict);
    const claim = py - y(row) > LANE - 10 && data.claims.find((c) => mine(c) && x(c.from) <= px + 3 && (c.to === null || x(c.to) >= px - 3));
    if (claim) return tellClaim(claim);
    let best = -1, least = 12;
    for (const i of shown) { const distance = writer[i] === id ? Math.abs(x(time[i]) - px) : 99; if (distance < least) { least = distance; best = i; } }
    if (best >= 0) return tellEntry(best);
    const fence = fences.find((f) => mine(f) && x(f.at) <= px + 3 && x(f.to) >= px - 3);
    if (fence) tellFence(fence);
  }

  // -- moving about -------------------------------------------------------------------
  function zoom(factor, centre = (view[0] + view[1]) / 2) {
    const least = 20, span = Math.max((view[1] - view[0]) * factor, least), share = (centre - view[0]) / (view[1] - view[0]);
    view = [centre - span * share, centre + span * (1 - share)]; draw();
  }
  function step(by) {
    if (!shown.length) return;
    const here = shown.indexOf(selected), next = shown[Math.min(Math.max(here < 0 ? (by > 0 ? 0 : shown.length - 1) : here + by, 0), shown.length - 1)];
    const span = view[1] - view[0]; if (time[next] < view[0] || time[next] > view[1]) view = [time[next] - span / 2, time[next] + span / 2];
    tellEntry(next);
  }
  const keys = { ArrowRight: () => step(1), ArrowLeft: () => step(-1), Home: () => { selected = -1; step(1); }, End: () => { selected = -1; step(-1); }, "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), 0: () => { view = bounds(); draw(); } };
  canvas.addEventListener("keydown", (event) => { const act = keys[event.key]; if (act) { event.preventDefault(); act(); } });
  canvas.addEventListener("wheel", (event) => { if (event.ctrlKey || event.metaKey) { event.preventDefault(); zoom(event.deltaY > 0 ? 1.25 : 0.8, when(event.offsetX)); } }, { passive: false });
  let held = null;
  canvas.addEventListener("pointerdown", (event) => { held = { from: event.offsetX, view: [...view], moved: false }; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointermove", (event) => {
    if (!held) return;
    const by = event.offsetX - held.from; if (Math.abs(by) > 4) held.moved = true;
    if (held.moved) { const shift = (by / (width - gutter - 8)) * (held.view[1] - held.view[0]); view = [held.view[0] - shift, held.view[1] - shift]; draw(); }
  });
  canvas.addEventListener("pointerup", (event) => { if (held && !held.moved) choose(event.offsetX, event.offsetY); held = null; });
  canvas.addEventListener("pointercancel", () => { held = null; });
  $("in").addEventListener("click", () => zoom(0.5)); $("out").addEventListener("click", () => zoom(2));
  $("all").addEventListener("click", () => { for (const id of ["session", "writer", "from", "to"]) $(id).value = ""; filter(); });
  for (const id of ["session", "writer", "from", "to"]) $(id).addEventListener("change", filter);
  const option = (select, value, text) => { const made = document.createElement("option"); made.value = value; made.textContent = text; $(select).append(made); };
  data.sessions.forEach((session, number) => option("session", number, session.key));
  for (const id of lanes) option("writer", id, `${nameOf(id)} (${roleOf(id)})`);
  window.addEventListener("resize", draw); window.addEventListener("beforeprint", draw); window.addEventListener("afterprint", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  filter(); document.documentElement.dataset.ready = String(total);
})();
