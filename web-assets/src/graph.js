// <div data-graph="ID-OF-JSON">: draws a flow's steps in layers, groups around their branches.
//
// The JSON is {nodes: [{id, label, type, parent, state, href}], groups: [{id, label, parent}], edges: [[from, to]]}.
import dagre from "@dagrejs/dagre";
import { draw, setStates } from "./graph-draw.js";

const NODE_HEIGHT = 44;
const CHARACTER = 7.1; // of a label
const SMALL = 5.9; // of the line below it
const LONGEST_STATE = " · succeeded".length;

for (const element of document.querySelectorAll("[data-graph]")) {
  const data = JSON.parse(document.getElementById(element.dataset.graph).textContent);
  element.replaceChildren(draw(data, layout(data, element.clientWidth < 640)));
  element.scrollLeft = (element.scrollWidth - element.clientWidth) / 2; // the first steps are in the middle of the top
}
document.addEventListener("htmx:afterSwap", () => {
  const states = document.querySelector("script[data-graph-states]");
  if (states) setStates(document.querySelector("[data-graph]"), JSON.parse(states.textContent));
});

function layout(data, narrow) {
  const graph = new dagre.graphlib.Graph({ compound: true });
  graph.setGraph({ rankdir: narrow ? "TB" : "LR", nodesep: 18, ranksep: narrow ? 34 : 46, marginx: 12, marginy: 12 });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const node of data.nodes) {
    const below = node.type.length + (node.state && node.state !== "none" ? LONGEST_STATE : 0);
    const width = Math.max(96, 40 + Math.max(Math.min(180, CHARACTER * node.label.length), SMALL * below));
    graph.setNode(node.id, { width, height: NODE_HEIGHT });
  }
  for (const group of data.groups) graph.setNode(group.id, {});
  for (const item of [...data.nodes, ...data.groups]) if (item.parent) graph.setParent(item.id, item.parent);
  for (const [from, to] of data.edges) graph.setEdge(from, to);
  dagre.layout(graph);
  return graph;
}
