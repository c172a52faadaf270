// From the spans of a trace to the rows of its waterfall.
import type { Span } from "../../api/types";
import { toNumber } from "../../format/number";
import { microsOf } from "../../format/time";

export interface Node {
  span: Span;
  /** Microseconds since the start of the trace. */
  start: number;
  duration: number;
  children: Node[];
}

export interface Tree {
  roots: Node[];
  /** From first start to last end, microseconds. */
  duration: number;
  /** A parent is missing: it was not kept, or has not arrived yet. */
  partial: boolean;
}

export interface Row {
  key: string;
  depth: number;
  node: Node;
  /** More than one: siblings of the same service and name in one row. */
  members: Node[];
  start: number;
  duration: number;
  errors: number;
  /** Whether it can be opened, and is. */
  inner: number;
  open: boolean;
}

/** Siblings of one name from this number on share a row. */
const GROUP_FROM = 4;

export function treeOf(spans: Span[]): Tree {
  const starts = spans.map((s) => microsOf(s.startTime));
  const first = starts.length > 0 ? Math.min(...starts) : 0;
  const nodes = new Map<string, Node>();
  spans.forEach((span, i) =>
    nodes.set(span.spanId, {
      span,
      start: (starts[i] ?? 0) - first,
      duration: toNumber(span.durationMicros),
      children: [],
    }),
  );
  const roots: Node[] = [];
  let partial = false;
  for (const node of nodes.values()) {
    const parent = nodes.get(node.span.parentSpanId);
    if (parent && !loops(node, nodes)) parent.children.push(node);
    else {
      roots.push(node);
      partial ||= node.span.parentSpanId !== "" && !parent;
    }
  }
  for (const node of nodes.values()) node.children.sort(byStart);
  roots.sort(byStart);
  const duration = Math.max(0, ...[...nodes.values()].map((n) => n.start + n.duration));
  return { roots, duration, partial };
}

const byStart = (a: Node, b: Node): number => a.start - b.start;

/** Whether going up from a span leads back to it: damaged data must not hang the page. */
function loops(node: Node, nodes: Map<string, Node>): boolean {
  const seen = new Set<string>();
  let at: Node | undefined = node;
  while (at) {
    if (seen.has(at.span.spanId)) return true;
    seen.add(at.span.spanId);
    at = nodes.get(at.span.parentSpanId);
  }
  return false;
}

/** Only where a service takes over from another, and what failed; everything else is folded into these. */
export function foldByService(roots: Node[]): Node[] {
  const kept = (node: Node, outer: string): Node[] => {
    const below = node.children.flatMap((child) => kept(child, node.span.service));
    if (node.span.service !== outer || node.span.error) return [{ ...node, children: below.sort(byStart) }];
    return below;
  };
  return roots.map((root) => ({
    ...root,
    children: root.children.flatMap((child) => kept(child, root.span.service)).sort(byStart),
  }));
}

/**
 * The rows on show. `closed` holds keys of rows shut by hand, `opened` those of groups opened by hand:
 * spans are open and groups shut unless said.
 */
export function rowsOf(roots: Node[], closed: Set<string>, opened: Set<string>): Row[] {
  const rows: Row[] = [];
  const walk = (nodes: Node[], depth: number, parent: string) => {
    const families = new Map<string, Node[]>();
    for (const node of nodes) {
      const family = `${node.span.service} ${node.span.displayName}`;
      families.set(family, [...(families.get(family) ?? []), node]);
    }
    const done = new Set<string>();
    for (const node of nodes) {
      const family = `${node.span.service} ${node.span.displayName}`;
      const members = families.get(family) ?? [node];
      if (members.length < GROUP_FROM) {
        one(node, depth);
      } else if (!done.has(family)) {
        done.add(family);
        group(members, depth, `${parent}/${family}`);
      }
    }
  };
  const one = (node: Node, depth: number) => {
    const key = node.span.spanId;
    const open = !closed.has(key);
    rows.push({
      key,
      depth,
      node,
      members: [node],
      start: node.start,
      duration: node.duration,
      errors: node.span.error ? 1 : 0,
      inner: node.children.length,
      open,
    });
    if (open) walk(node.children, depth + 1, key);
  };
  const group = (members: Node[], depth: number, key: string) => {
    const first = members[0];
    if (!first) return;
    const start = Math.min(...members.map((m) => m.start));
    const end = Math.max(...members.map((m) => m.start + m.duration));
    const open = opened.has(key);
    rows.push({
      key,
      depth,
      node: first,
      members,
      start,
      duration: end - start,
      errors: members.reduce((n, m) => n + failures(m), 0),
      inner: members.length,
      open,
    });
    if (open) for (const member of members) one(member, depth + 1);
  };
  walk(roots, 0, "");
  return rows;
}

/** Failed spans of a node and below it. */
export function failures(node: Node): number {
  return (node.span.error ? 1 : 0) + node.children.reduce((n, child) => n + failures(child), 0);
}

/** Keys of everything that can be shut. */
export function openable(roots: Node[]): string[] {
  return roots.flatMap((node) =>
    node.children.length > 0 ? [node.span.spanId, ...openable(node.children)] : [],
  );
}
