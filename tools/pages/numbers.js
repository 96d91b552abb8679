// The table of all recorded numbers: search, sorting, and what stands behind a row. RECORDED comes from numbers-data.js.
"use strict";

const table = document.getElementById("numbers");
const body = table.tBodies[0];
const words = document.getElementById("numbers-words");
const part = document.getElementById("numbers-part");
const rows = [...body.rows];

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function search() {
  const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const row of rows) {
    const fits = (!part.value || row.cells[0].textContent === part.value) && wanted.every(word => row.searched.includes(word));
    row.hidden = !fits;
    if (row.details) row.details.hidden = !fits || !row.open;
    count += fits;
  }
  document.getElementById("numbers-count").textContent = `${count.toLocaleString("en")} of ${rows.length.toLocaleString("en")} numbers`;
}

function sort(heading, column) {
  const down = heading.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  const value = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
  const compare = (one, other) => {
    const [a, b] = [value(one), value(other)];
    if (a === "" || b === "") return (a === "") - (b === ""); // what is missing comes last
    const order = column > 2 ? a - b : a.localeCompare(b, "en", { numeric: true });
    return down ? -order : order;
  };
  for (const row of rows.sort(compare)) body.append(row, ...(row.details ? [row.details] : []));
}

function definitions(pairs) {
  const list = element("dl", "");
  for (const [name, value] of pairs) {
    if (value === "" || value === undefined) continue;
    list.append(element("dt", name));
    const said = element("dd", "");
    said.append(value);
    list.append(said);
  }
  return list;
}

function runsTable(runs, metric) {
  const inner = element("table", "");
  inner.createTHead().append(element("tr", ""));
  for (const name of ["seed", metric, "commit", "date", "file"]) inner.tHead.rows[0].append(element("th", name, { scope: "col" }));
  for (const run of runs.filter(run => metric in run.metrics)) {
    const line = inner.appendChild(element("tr", ""));
    for (const text of [run.seed, run.metrics[metric], run.commit, run.date]) line.append(element("td", text));
    const cell = line.appendChild(element("td", ""));
    cell.append(element("a", run.file, { href: run.file }));
  }
  return inner;
}

function details(row) {
  const group = RECORDED[row.dataset.group];
  const metric = row.cells[2].textContent;
  const cell = element("td", "", { colspan: row.cells.length });
  const settings = Object.entries(group.settings).map(([name, value]) => `${name}: ${value}`).join("\n");
  cell.append(definitions([
    ["command", element("code", group.command)],
    ["theirs", row.dataset.note],
    ["data and weights", (group.inputs || []).join("; ")],
    ["versions", group.versions],
    ["machine", [...new Set((group.runs || []).map(run => run.device))].join("; ")],
    ["file", group.file ? element("a", group.file, { href: group.file }) : ""],
    [group.runs ? "settings" : "recorded with it", settings ? element("pre", settings) : ""],
    ["link", element("a", "to this number", { href: `#${row.id}` })],
  ]));
  if (group.runs && group.runs.length) cell.append(runsTable(group.runs, metric));
  const line = element("tr", "", { class: "numbers-details" });
  line.append(cell);
  return line;
}

function toggle(row, open = !row.open) {
  row.open = open;
  row.details ??= details(row);
  row.details.hidden = !open;
  row.querySelector("button").setAttribute("aria-expanded", open);
  row.after(row.details);
}

function follow() {
  const row = rows.find(row => row.id === decodeURIComponent(location.hash.slice(1)));
  if (!row) return;
  toggle(row, true);
  row.scrollIntoView({ block: "center" });
}

for (const row of rows) {
  row.searched = row.textContent.toLowerCase();
  row.querySelector("button").addEventListener("click", () => toggle(row));
}
[...table.tHead.rows[0].cells].forEach((heading, column) => heading.firstChild.addEventListener("click", () => sort(heading, column)));
words.addEventListener("input", search);
part.addEventListener("change", search);
addEventListener("hashchange", follow);
search();
follow();
