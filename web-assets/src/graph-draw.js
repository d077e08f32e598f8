const SVG = "http://www.w3.org/2000/svg";
const MAX_LABEL = 26;

export function draw(data, graph) {
  const { width, height } = graph.graph();
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, width, height, class: "graph", role: "group" });
  svg.setAttribute("aria-label", "The flow's steps");
  svg.append(arrow());
  for (const group of data.groups) svg.append(drawGroup(group, graph.node(group.id)));
  for (const edge of graph.edges()) svg.append(drawEdge(graph.edge(edge)));
  for (const node of data.nodes) svg.append(drawNode(node, graph.node(node.id)));
  return svg;
}

export function setStates(root, states) {
  for (const node of root?.querySelectorAll("[data-node]") ?? []) {
    const state = states[node.dataset.node] ?? "none";
    node.dataset.state = state;
    node.querySelector("[data-word]").textContent = wordOf(node.dataset.type, state);
  }
}

function wordOf(type, state) {
  return state === "none" ? type : `${type} · ${state.toLowerCase()}`;
}

function drawNode(node, place) {
  const link = make(node.href ? "a" : "g", { class: "node", "data-node": node.id, "data-type": node.type });
  link.dataset.state = node.state ?? "none";
  if (node.href) link.setAttribute("href", node.href);
  const x = place.x - place.width / 2;
  const y = place.y - place.height / 2;
  link.append(
    make("title", {}, node.id),
    make("rect", { x, y, width: place.width, height: place.height, rx: 8 }),
    make("circle", { class: "dot", cx: x + 14, cy: y + 16, r: 4 }),
    make("text", { class: "name", x: x + 25, y: y + 20 }, shorten(node.label)),
  );
  const word = make("text", { class: "type", x: x + 25, y: y + 35, "data-word": "" }, wordOf(node.type, link.dataset.state));
  link.append(word);
  return link;
}

function drawGroup(group, place) {
  const g = make("g", { class: "group" });
  const x = place.x - place.width / 2;
  const y = place.y - place.height / 2;
  g.append(
    make("title", {}, group.id),
    make("rect", { x, y, width: place.width, height: place.height, rx: 10 }),
    make("text", { x: x + 10, y: y + 15 }, shorten(group.label)),
  );
  return g;
}

function drawEdge({ points }) {
  const [first, ...rest] = points;
  let d = `M${first.x},${first.y}`;
  for (let i = 0; i < rest.length - 1; i++) {
    const end = i === rest.length - 2 ? rest[i + 1] : { x: (rest[i].x + rest[i + 1].x) / 2, y: (rest[i].y + rest[i + 1].y) / 2 };
    d += `Q${rest[i].x},${rest[i].y} ${end.x},${end.y}`;
  }
  if (rest.length === 1) d += `L${rest[0].x},${rest[0].y}`;
  return make("path", { class: "edge", d, "marker-end": "url(#graph-arrow)" });
}

function arrow() {
  const defs = make("defs");
  const marker = make("marker", {
    id: "graph-arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto-start-reverse",
  });
  marker.append(make("path", { d: "M0,0.5 L7,4 L0,7.5 z", class: "arrow" }));
  defs.append(marker);
  return defs;
}

function shorten(text) {
  return text.length > MAX_LABEL ? `${text.slice(0, MAX_LABEL - 1)}…` : text;
}

function make(name, attributes = {}, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}
