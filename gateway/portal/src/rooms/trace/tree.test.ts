import { describe, expect, test } from "vitest";
import type { Span } from "../../api/types";
import { wantedOf } from "./search";
import { failures, foldByService, rowsOf, treeOf } from "./tree";

function span(id: string, parent: string, service: string, name: string, start: number, length = 10, error = false): Span {
  const at = new Date(Date.UTC(2026, 2, 18, 1) + Math.floor(start / 1000)).toISOString().slice(0, -4);
  return {
    spanId: id,
    parentSpanId: parent,
    displayName: name,
    service,
    kind: "internal",
    startTime: `${at}${String(start % 1000).padStart(3, "0").padStart(6, "0").slice(-6)}Z`,
    durationMicros: String(length),
    error,
    statusMessage: "",
    attributes: {},
    links: [],
  };
}

const none = new Set<string>();
const launch = [
  span("r", "", "gateway", "POST launch", 0, 900),
  span("c", "r", "campaign", "Launch", 10, 800),
  span("q", "c", "campaign", "select", 20, 30),
  span("a", "c", "audience", "CreateSnapshot", 60, 300),
  span("b", "a", "audience", "bitmap", 70, 100, true),
  ...Array.from({ length: 5 }, (_, i) => span(`p${i}`, "c", "campaign", "publish page", 400 + i * 20, 10)),
];

describe("the waterfall of a trace", () => {
  test("hangs spans under their parents, by start", () => {
    const tree = treeOf([...launch].reverse());
    expect(tree.roots.map((n) => n.span.spanId)).toEqual(["r"]);
    expect(tree.roots[0]?.children[0]?.children.map((n) => n.span.spanId).slice(0, 2)).toEqual(["q", "a"]);
    expect([tree.duration, tree.partial]).toEqual([900, false]);
  });

  test("puts siblings of one name into one row that opens", () => {
    const { roots } = treeOf(launch);
    const shut = rowsOf(roots, none, none);
    const group = shut.find((row) => row.members.length > 1);
    expect([shut.length, group?.members.length, group?.start, group?.duration]).toEqual([6, 5, 400, 90]);
    const open = rowsOf(roots, none, new Set([group?.key ?? ""]));
    expect(open.length).toBe(11);
  });

  test("shuts what was shut by hand", () => {
    expect(rowsOf(treeOf(launch).roots, new Set(["c"]), none).map((r) => r.key)).toEqual(["r", "c"]);
  });

  test("folds into services, but keeps what failed", () => {
    const rows = rowsOf(foldByService(treeOf(launch).roots), none, none);
    expect(rows.map((r) => [r.key, r.depth])).toEqual([
      ["r", 0],
      ["c", 1],
      ["a", 2],
      ["b", 3],
    ]);
    expect(failures(treeOf(launch).roots[0]!)).toBe(1);
  });

  test("shows a span whose parent was not kept, and survives a circle", () => {
    const tree = treeOf([span("x", "gone", "event", "match", 0), span("y", "z", "event", "a", 1), span("z", "y", "event", "b", 2)]);
    expect(tree.partial).toBe(true);
    expect(tree.roots.length).toBe(3);
  });
});

test("a search tells trace, touch and campaign apart", () => {
  expect(wantedOf(" 4BF92F3577B34DA6A3CE929D0E0E4736 ")).toEqual({ trace: "4bf92f3577b34da6a3ce929d0e0e4736" });
  expect(wantedOf("touches/aaaabbbbccccddddeeeeffff")).toEqual({ touch: "aaaabbbbccccddddeeeeffff" });
  expect(wantedOf("campaigns/feixiang-38/activities/x")).toEqual({ campaign: "feixiang-38" });
  expect(wantedOf("  ")).toBeNull();
});
