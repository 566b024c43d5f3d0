// Spans as a tree, whatever arrived: orphans, cycles, clocks that disagree, a thousand levels. No drawing here.

import { since } from "./format.js";

/** Return how much of [start, end] no interval covers. */
function uncovered(start, end, intervals) {
  let free = 0;
  let reached = start;
  for (const [from, to] of intervals.sort((a, b) => a[0] - b[0])) {
    if (from > reached) free += Math.min(from, end) - reached;
    reached = Math.max(reached, to);
    if (reached >= end) return free;
  }
  return free + Math.max(0, end - reached);
}

/**
 * Return `{roots, nodes, byId, length, depth}` of a trace's answer.
 *
 * A node is `{span, start, end, own, depth, parent, children, below, errorsBelow, orphan}`; times are nanoseconds
 * from the start of the trace, `own` is what no child covers.
 */
export function grow(trace) {
  const nodes = trace.spans.map((span) => {
    const start = since(span.start, trace.start);
    return { span, start, end: start + span.duration, own: 0, depth: 0, parent: null, children: [], below: 0, errorsBelow: 0, orphan: false };
  });
  const byId = new Map(nodes.map((node) => [node.span.span_id, node]));
  const roots = [];
  for (const node of nodes) {
    const parent = node.span.parent_id ? byId.get(node.span.parent_id) : undefined;
    node.orphan = Boolean(node.span.parent_id) && !parent;
    if (parent && parent !== node) {
      node.parent = parent;
      parent.children.push(node);
    } else roots.push(node);
  }
  const order = walk(roots);
  if (order.length < nodes.length) breakCycles(nodes, roots, order);
  for (const node of order.toReversed()) {
    node.own = uncovered(node.start, node.end, node.children.map((child) => [Math.max(child.start, node.start), child.end]));
    for (const child of node.children) {
      node.below += 1 + child.below;
      node.errorsBelow += (child.span.status === "error" ? 1 : 0) + child.errorsBelow;
    }
  }
  const length = nodes.reduce((longest, node) => Math.max(longest, node.end), Math.max(1, trace.duration));
  return { roots, nodes: order, byId, length, depth: order.reduce((deepest, node) => Math.max(deepest, node.depth), 0) };
}

/** Return all nodes below `roots`, parents first, children in order of their start; sets depths. */
function walk(roots) {
  const order = [];
  const left = roots.toReversed();
  while (left.length) {
    const node = left.pop();
    node.depth = node.parent ? node.parent.depth + 1 : 0;
    order.push(node);
    node.children.sort((a, b) => a.start - b.start);
    for (let index = node.children.length - 1; index >= 0; index--) left.push(node.children[index]);
  }
  return order;
}

/** Spans that are each other's ancestors are reached from nowhere: one of each ring becomes a root. */
function breakCycles(nodes, roots, order) {
  const reached = new Set(order);
  for (const node of nodes) {
    if (reached.has(node)) continue;
    const climbed = new Set();
    let top = node;
    for (; !climbed.has(top); top = top.parent) climbed.add(top);
    top.parent.children.splice(top.parent.children.indexOf(top), 1);
    top.parent = null;
    top.orphan = true;
    roots.push(top);
    for (const found of walk([top])) {
      reached.add(found);
      order.push(found);
    }
  }
}

/** Return the nodes that are seen, in order, when those in `closed` (span ids) hide what is below them. */
export function visible(tree, closed) {
  const rows = [];
  for (let index = 0; index < tree.nodes.length; index++) {
    const node = tree.nodes[index];
    rows.push(node);
    if (closed.has(node.span.span_id)) index += node.below;
  }
  return rows;
}
